"""Chains of daemontools' programs under tcpserver to a server of ours: environment, what execs and what does not, the log.

Accounts and limits: test_root_chains.py.
"""

import os

import pytest
from tests.ucspi.tcpserver_process import TcpServer, everything

from quail.cli.init_single import init_single


@pytest.fixture
def home(tmp_path):
    init_single(f"{tmp_path}/home", name="joe")
    return f"{tmp_path}/home"


@pytest.fixture
def variables(home):
    """A folder for envdir: anybody may relay, as long as PATH and the rest stay."""
    folder = f"{home}/variables"
    os.mkdir(folder, 0o755)
    for name, value in (("RELAYCLIENT", ""), ("GONE", ""), ("TCPREMOTEINFO", "somebody")):
        with open(f"{folder}/{name}", "w", encoding="ascii") as file:
            file.write(f"{value}\n" if name != "GONE" else "")
    return folder


def served(server):
    """A client, and what /proc says of the process that serves it, which waits for a command."""
    client = server.connect()
    greeting = client.recv(1000)
    assert greeting.startswith(b"220 ")
    (pid,) = server.children()

    def of(name):
        with open(f"/proc/{pid}/{name}", encoding="utf-8") as file:
            return file.read()

    return client, of


def talk(client, *commands):
    """The codes of the replies."""
    codes = []
    for command in commands:
        client.sendall(command + b"\r\n")
        reply = client.recv(1000)
        codes.append(reply[:3])
    client.close()
    return codes


FOREIGN = (b"HELO x", b"MAIL FROM:<a@b>", b"RCPT TO:<c@elsewhere.example>", b"QUIT")


def serving(home, *chain):
    folder = f"{home}/bin"
    program = [f"{folder}/{chain[0]}", *chain[1:]]
    return TcpServer(["-vHRl0"], program, env={"PATH": f"{folder}:/usr/bin:/bin", "GONE": "x"})


def words_of(of):
    return of("cmdline").split("\0")


def test_envdir_execs_nothing(home, variables):
    with serving(home, "envdir", variables, "qmail-smtpd") as server:
        client, of = served(server)
        assert of("comm") == "qmail-smtpd\n"
        assert "quail.programs.ucspi.tcpserver" in words_of(of)
        assert talk(client, *FOREIGN) == [b"250", b"250", b"250", b"221"]
        server.wait_for(r"tcpserver: end \d+ status 0")
        server.wait_for("tcpserver: status: 0/40", 2)
    with serving(home, "qmail-smtpd") as server:  # without RELAYCLIENT
        client, _ = served(server)
        assert talk(client, *FOREIGN) == [b"250", b"250", b"553", b"221"]


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        (
            ("envdir", "/nowhere", "qmail-smtpd"),
            "envdir: fatal: unable to switch to directory /nowhere: file does not exist",
        ),
        (("setuidgid", "nobody-of-this-name", "true"), "setuidgid: fatal: unknown account nobody-of-this-name"),
        (("softlimit", "-o", "50", "not-there"), "softlimit: fatal: unable to run not-there: file does not exist"),
        (("envdir", "{}", "setuidgid", "no-one-else", "true"), "setuidgid: fatal: unknown account no-one-else"),
    ],
    ids=["envdir", "setuidgid", "softlimit", "two"],
)
def test_what_stops_a_chain_is_the_status_in_the_log(home, variables, chain, said):
    with serving(home, *[variables if word == "{}" else word for word in chain]) as server:
        with server.connect() as client:
            assert everything(client) == b""
        server.wait_for(said)
        server.wait_for(rf"tcpserver: end \d+ status {111 << 8}")
        server.wait_for("tcpserver: status: 0/40", 2)
