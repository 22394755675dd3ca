"""tcp-env as a process, on sockets of the test: what the program is told, and what is no connection."""

import os
import socket
import subprocess
import sys

import pytest
from tests.programs.launch import launch, module

NO_SERVER = "127.255.255.1"  # of names
SHOW = ("env",)
STALE = {"TCPREMOTEHOST": "stale", "TCP6REMOTEINFO": "stale", "TCPREMOTEINFO": "stale", "PROTO": "X", "OTHER": "kept"}
USAGE = b"tcp-env: fatal: usage: tcp-env [ -rR ] [ -t timeout ] program [ arg ... ]\n"


def pair(address, family=socket.AF_INET):
    """Both ends of a connection to the address: the server's, the client's."""
    mapped = address.startswith("::ffff:")
    with socket.create_server(("" if mapped else address, 0), family=family, dualstack_ipv6=mapped) as listener:
        client = socket.socket(family)
        client.connect((address, listener.getsockname()[1]))
        return listener.accept()[0], client


def run(stdin, *args, stderr=subprocess.PIPE, **environment):
    env = {"PATH": "/usr/bin:/bin", "DNSCACHEIP": NO_SERVER, **environment}
    return subprocess.run(
        [sys.executable, "-m", module("tcp-env"), *args],
        stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=env, timeout=60, check=False,
    )  # fmt: skip


def told(done):
    assert (done.returncode, done.stderr) == (0, b"")
    found = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    return {name: value for name, value in found.items() if name.startswith(("TCP", "PROTO", "OTHER"))}


@pytest.mark.parametrize(
    ("address", "family", "protocol", "plain", "wide"),
    [
        ("127.0.0.1", socket.AF_INET, "TCP", "127.0.0.1", "::ffff:127.0.0.1"),
        ("::1", socket.AF_INET6, "TCP6", "::1", "::1"),
        ("::ffff:127.0.0.1", socket.AF_INET6, "TCP", "127.0.0.1", "::ffff:127.0.0.1"),
    ],
    ids=["IPv4", "IPv6", "IPv4 on a socket of IPv6"],
)
def test_a_connection(address, family, protocol, plain, wide):
    """Name servers that can't be asked are told of, as by the original; what is left of another connection is not."""
    server, client = pair(address, family)
    with server, client:
        here, there = str(server.getsockname()[1]), str(server.getpeername()[1])
        expected = {"PROTO": protocol, "OTHER": "kept"}
        for number, ip in (("", plain), ("6", wide)):
            expected |= {
                f"TCP{number}LOCALIP": ip, f"TCP{number}LOCALPORT": here, f"TCP{number}LOCALHOST": "softdnserror",
                f"TCP{number}REMOTEIP": ip, f"TCP{number}REMOTEPORT": there, f"TCP{number}REMOTEHOST": "softdnserror",
            }  # fmt: skip
        assert told(run(server, "-R", *SHOW, **STALE)) == expected
        assert told(run(server, "-rR", "--", *SHOW, **STALE)) == expected


@pytest.mark.parametrize("protocol", ["TCP", "TCP6"])
def test_what_is_known_already_is_passed_on(protocol):
    environment = STALE | {"PROTO": protocol}
    assert told(run(subprocess.DEVNULL, *SHOW, **environment)) == environment


def test_the_program_has_the_connection_and_ends_as_it_ends():
    server, client = pair("127.0.0.1")
    with server, client:
        client.sendall(b"hello\n")
        done = run(server, "-R", "sh", "-c", 'read x; echo "got $x"; echo said >&2; exit 7')
        assert (done.returncode, done.stdout, done.stderr) == (7, b"got hello\n", b"said\n")


def test_what_is_no_tcp_connection():
    one, other = socket.socketpair()
    with one, other, socket.socket() as lonely, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.connect(("127.0.0.1", 9))
        no_ends = b"tcp-env: fatal: unable to get the ends of the connection: "
        for stdin, words in (
            (subprocess.DEVNULL, no_ends + b"not a socket\n"),
            (lonely, no_ends + b"not connected\n"),
            (one, b"tcp-env: fatal: descriptor 0 is not a TCP connection\n"),
            (udp, b"tcp-env: fatal: descriptor 0 is not a TCP connection\n"),
        ):
            done = run(stdin, *SHOW, PROTO="UNIX")
            assert (done.returncode, done.stdout, done.stderr) == (111, b"", words)


def test_a_peer_that_has_gone():
    server, client = pair("127.0.0.1")
    with server:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        done = run(server, *SHOW)
        assert (done.returncode, done.stdout) == (111, b"")


@pytest.mark.parametrize("args", [[], ["-R"], ["-z", "env"], ["-t"]], ids=str)
def test_called_wrongly(args):
    done = launch("tcp-env", *args)
    assert (done.returncode, done.stdout) == (111, b"")
    assert done.stderr.endswith(USAGE)


def test_a_program_that_is_not_there():
    done = launch("tcp-env", "none", env={"PROTO": "TCP"})
    assert (done.returncode, done.stderr) == (111, b"tcp-env: fatal: unable to run none: file does not exist\n")


def test_inetds_client_hears_nothing_of_it():
    """inetd's third descriptor is the connection too."""
    server, client = pair("127.0.0.1")
    with server, client:
        assert run(server, "-R", "/nonexistent", stderr=server).returncode == 111
        server.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""


def test_descriptors_are_not_left_open():
    server, client = pair("127.0.0.1")
    with server, client:
        done = run(server, "-R", "sh", "-c", "ls -l /proc/$$/fd")
        assert done.stdout.count(b"socket:") == 1
        assert os.fstat(server.fileno())
