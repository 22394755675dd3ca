"""tcpserver under load: nothing leaks, and the count is right, whatever becomes of clients and children."""

import os
import re
import resource
import selectors
import signal
import socket

import pytest
from tests.ucspi.tcpserver_process import PATIENCE, TcpServer, everything, until

LIMIT = 100


def counts(server):
    return [int(match[1]) for match in server.wait_for(rf"tcpserver: status: (\d+)/{LIMIT}")]


def rest(server):
    """Descriptors and anonymous memory when no connection is open."""
    until(lambda: not server.children())
    return server.descriptors(), server.memory()


@pytest.mark.parametrize("options", [["-v"], []], ids=["forked", "spawned"])
def test_a_thousand_clients_at_once(options):
    """All connect before any is served to its end; each gets its own words back."""
    clients = 1000
    with TcpServer([*options, "-HRl0", "-c", str(LIMIT), "-b", str(clients)], ["cat"]) as server:
        for _ in range(5):  # what grows once does so now
            with server.connect() as client:
                client.shutdown(socket.SHUT_WR)
                everything(client)
        descriptors, memory = rest(server)
        most = 0
        with selectors.DefaultSelector() as selector:
            for number in range(clients):
                client = server.connect()
                client.sendall(b"%d\n" % number)
                selector.register(client, selectors.EVENT_READ, b"%d\n" % number)
            until(lambda: len(server.children()) == LIMIT)
            left = clients
            while left:
                ready = selector.select(PATIENCE)
                assert ready, f"{left} clients got no answer"
                most = max(most, len(server.children()))
                for key, _ in ready:
                    assert key.fileobj.recv(100) == key.data
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    left -= 1
        if options:
            server.wait_for(r"tcpserver: end \d+ status 0", clients + 5)
            until(lambda: counts(server)[-1] == 0)
            assert max(counts(server)) == LIMIT
        assert most <= LIMIT
        after, grown = rest(server)
    assert after == descriptors
    assert grown - memory < 1024


def test_a_flood_of_clients_that_do_not_stay():
    with TcpServer(["-vHRl0", "-c", str(LIMIT), "-b", "1000"], ["true"]) as server:
        server.connect().close()
        server.wait_for(r"tcpserver: end \d+ status 0")
        descriptors, memory = rest(server)
        for _ in range(500):
            with server.connect() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        with server.connect() as client:
            assert everything(client) == b""
        after, grown = rest(server)
        started = len(server.wait_for(r"tcpserver: pid (\d+) from .*"))
        server.wait_for(r"tcpserver: end \d+ status \d+", started)
        until(lambda: counts(server)[-1] == 0)
    assert after == descriptors
    assert grown - memory < 1024


def test_children_that_hang_and_are_killed():
    with TcpServer(["-vHRl0", "-c", "20", "-b", "100"], ["sh", "-c", "kill -STOP $$"]) as server:
        descriptors, _ = rest(server)
        clients = [server.connect() for _ in range(50)]
        for served in (20, 40, 50):
            server.wait_for(r"tcpserver: ok \d+ .*", served)
            for child in server.children():
                os.kill(child, signal.SIGKILL)
        server.wait_for(r"tcpserver: end \d+ status 9", 50)
        server.wait_for("tcpserver: status: 0/20", 2)
        for client in clients:
            client.close()
        assert rest(server)[0] == descriptors
        ended = [match[1] for match in server.wait_for(r"tcpserver: end (\d+) status 9", 50)]
        assert sorted(ended) == sorted(re.findall(r"pid (\d+) from", "\n".join(server.lines)))


def test_it_goes_on_after_it_has_run_out_of_descriptors():
    with TcpServer(["-HRl0"], ["echo", "here"]) as server:
        usual = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        used = server.descriptors()
        free = next(number for number in range(len(used) + 1) if number not in used)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (free, usual[1]))
        with server.connect() as client:
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, usual)
            assert everything(client) == b"here\n"
