"""rblsmtpd under tcpserver with many clients at once and a slow list: nothing is left of them."""

import socket
import sys

import pytest
from tests.remote.dnsserver import DnsServer
from tests.ucspi import tcpserver_process
from tests.ucspi.tcpserver_process import TcpServer, everything, until
from tests.ucspi.test_tcpserver_load import rest

from quail.cli.init_single import init_single

CLIENTS, WAVES = 40, 3
LISTED = "1.0.0.127.list.test"
# Name servers of $DNSCACHEIP have port 53, which belongs to others.
ON_A_PORT = "import quail.net.lookup as l; l.DNS_PORT = {port}; from quail.programs.ucspi.tcpserver import main; main()"


@pytest.fixture
def launcher(tmp_path):
    home = str(tmp_path / "home")
    init_single(home, name="joe")
    return f"{home}/bin/rblsmtpd"


@pytest.mark.parametrize(
    ("records", "reply"),
    [
        ((f"{LISTED} A 127.0.0.2", f"{LISTED} TXT no-thanks"), b"451 no-thanks"),
        (("other.list.test A 127.0.0.2",), None),
    ],
    ids=["listed", "not listed"],
)
def test_many_clients_and_a_slow_list(monkeypatch, launcher, records, reply):
    with DnsServer(*records) as dns:
        words = (sys.executable, "-c", ON_A_PORT.format(port=dns.place[1]))
        monkeypatch.setattr(tcpserver_process, "WORDS", words)
        options = ["-vHRl0", "-c", str(CLIENTS), "-b", str(CLIENTS)]
        program = [launcher, "-r", "list.test", "echo", "220", "welcome"]
        with TcpServer(options, program, env={"DNSCACHEIP": "127.0.0.1"}) as server:
            figures = []
            for _ in range(1 + WAVES):  # what grows once does so in the first
                asked = dns.count(LISTED)
                dns.behave(LISTED, "hold")
                clients = [server.connect() for _ in range(CLIENTS)]
                until(lambda asked=asked: dns.count(LISTED) >= asked + CLIENTS)
                assert len(server.children()) == CLIENTS
                dns.release()
                for client in clients:
                    with client:
                        if reply is None:
                            assert everything(client) == b"220 welcome\n"
                            continue
                        assert client.recv(100) == b"220 rblsmtpd.local\r\n"
                        client.sendall(b"RCPT TO:<a@b>\r\nQUIT\r\n")
                        client.shutdown(socket.SHUT_WR)
                        assert reply in everything(client)
                figures.append(rest(server))
            server.wait_for(r"tcpserver: end \d+ status 0", CLIENTS * (1 + WAVES))
        assert {tuple(descriptors) for descriptors, _ in figures[1:]} == {tuple(figures[0][0])}
        assert figures[-1][1] - figures[0][1] < 1024
