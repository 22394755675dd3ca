"""tcpclient and the clients made of it as processes, against hosts of the test's own; as observed with Debian's."""

import os
import socket
import threading

import pytest
from launch import launch


class Host:
    """Takes one connection, reads until `expects` bytes have come, sends, and reads to the end."""

    def __init__(self, says=b"", expects=0, family=socket.AF_INET):
        self.says, self.expects, self.heard = says, expects, b""
        self.listener = socket.socket(family)
        self.listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        self.listener.listen()
        self.port = str(self.listener.getsockname()[1])
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(60)
            while len(self.heard) < self.expects:
                data = connection.recv(1000)
                assert data
                self.heard += data
            connection.sendall(self.says)
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(1000):
                self.heard += data

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(60)
        self.listener.close()


def said(done):
    return done.returncode, done.stdout, done.stderr


def closed_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return str(sock.getsockname()[1])


def test_tcpclient():
    script = "echo to $PROTO $TCPREMOTEIP $TCPLOCALHOST >&7; cat <&6; exit 7"
    with Host(b"from", 9) as host:
        done = launch("tcpclient", "-vRHl0", "127.0.0.1", host.port, "sh", "-c", script, env={"TCPREMOTEHOST": "x"})
    assert said(done) == (7, b"from", f"tcpclient: connected to 127.0.0.1 port {host.port}\n".encode())
    assert host.heard == b"to TCP 127.0.0.1 0\n"


def test_tcpclient_on_the_descriptors_themselves():
    """Whatever descriptors are free: the program has 6 and 7, and no other of the connection."""
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    try:
        with Host(b"x") as host:
            done = launch("tcpclient", "-RHl0", "127.0.0.1", host.port, "sh", "-c", "cat <&6; ls -l /proc/$$/fd >&2")
        assert done.stdout == b"x"
        sockets = [line.split() for line in done.stderr.decode().splitlines() if "socket:" in line]
        assert [line[-3] for line in sockets] == ["6", "7"]
    finally:
        for fd in held:
            os.close(fd)


def test_tcpclient_and_ipv6():
    with Host(b"x", family=socket.AF_INET6) as host:
        done = launch("tcpclient", "-RHl0", "::1", host.port, "sh", "-c", "echo $PROTO $TCPREMOTEIP; exec cat <&6")
    assert said(done) == (0, b"TCP6 ::1\nx", b"")
    with Host(b"x") as host:
        done = launch(
            "tcpclient", "-6RHl0", "127.0.0.1", host.port, "sh", "-c", "echo $PROTO $TCPREMOTEIP; exec cat <&6"
        )
    assert said(done) == (0, b"TCP6 ::ffff:127.0.0.1\nx", b"")


def test_no_connection():
    port = closed_port()
    complaint = f"tcpclient: unable to connect to 127.0.0.1 port {port}: connection refused\n".encode()
    assert said(launch("tcpclient", "-RHl0", "0", port, "true")) == (111, b"", complaint)
    assert said(launch("tcpclient", "-qRHl0", "0", port, "true")) == (111, b"", b"")
    assert said(launch("tcpcat", "0", port)) == (111, b"", complaint)
    assert said(launch("mconnect", "0", port)) == (111, b"", complaint)
    assert said(launch("http@", "127.0.0.1", "x", port)) == (0, b"", complaint)
    unknown = b"tcpclient: fatal: unable to figure out port number for nosuch\n"
    assert said(launch("tcpclient", "0", "nosuch", "true")) == (111, b"", unknown)
    assert said(launch("tcpcat", "0", "nosuch")) == (111, b"", unknown)


@pytest.mark.parametrize("args", [(), ("0", "25"), ("-z",), ("-i", "junk", "0", "25", "true")])
def test_wrong_calls(args):
    done = launch("tcpclient", *args)
    assert (done.returncode, done.stdout) == (100, b"")
    assert done.stderr.splitlines()[-1].startswith(b"tcpclient: usage: tcpclient [ -46hHrRdDqQv ] [ -i localip ]")


def test_texts():
    with Host(b"a\r\nb\0\xff") as host:
        assert said(launch("tcpcat", "127.0.0.1", host.port)) == (0, b"a\r\nb\0\xff", b"")
    with Host(b"H\r\nF: x\r\n\r\na\r\n\r\nb", 40) as host:
        assert said(launch("http@", "127.0.0.1", "p", host.port)) == (0, b"a\nb\n", b"")
    assert host.heard == f"GET /p HTTP/1.0\r\nHost: 127.0.0.1:{host.port}\r\n\r\n".encode()
    with Host(b"221 bye\r\n", 6) as host:
        assert said(launch("mconnect", "127.0.0.1", host.port, stdin=b"quit\n")) == (0, b"221 bye\r\n", b"")
    assert host.heard == b"quit\r\n"


def test_small_services():
    """What is at these ports of this machine is not known; most likely nothing."""
    for done in (launch("who@", "127.0.0.1"), launch("date@", "127.0.0.1"), launch("finger@", "127.0.0.1", "nobody")):
        assert done.returncode == 0
