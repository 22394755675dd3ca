"""tcpserver as a process: calls that fail, its limit, its end, and programs of ours, which are loaded once and never exec'd."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from tests.programs.launch import launch
from tests.ucspi.tcpserver_process import TcpServer, everything, until

import quail
from quail.cli.init_single import init_single

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(quail.__file__)))
DUMP = """#!{python} -IS
import json, os, sys
sys.stdin.buffer.read()
with open({path!r}, "w") as file:
    limits = open("/proc/self/limits").read()
    status = [line for line in open("/proc/self/status") if line.startswith(("Sig", "Uid", "Gid", "Groups", "Umask"))]
    descriptors = sorted(os.listdir("/proc/self/fd"))
    json.dump([dict(os.environ), limits, status, descriptors, os.getcwd()], file)
sys.exit(31)
"""


@pytest.fixture
def home(tmp_path):
    init_single(str(tmp_path / "home"), name="joe")
    return str(tmp_path / "home")


def test_a_wrong_call():
    for words in ((), ("0",), ("0", "0"), ("-Z", "0", "0", "true"), ("-c",)):
        done = launch("tcpserver", *words)
        assert done.returncode == 100
        assert done.stderr.splitlines()[-1].startswith(
            b"tcpserver: usage: tcpserver [ -461UXpPhHrRoOdDqQv ] [ -c limit ]"
        )
    assert launch("tcpserver", "-Z").stderr.startswith(b"tcpserver: illegal option -- Z\n")
    assert launch("tcpserver", "-c").stderr.startswith(b"tcpserver: option requires an argument -- c\n")
    assert launch("tcpserver", "-q", "0").stderr == b""


def test_a_port_that_is_taken():
    with TcpServer(["-HRl0"], ["true"]) as server:
        done = launch("tcpserver", "-HRl0", "127.0.0.1", str(server.port), "true")
    assert (done.returncode, done.stderr) == (111, b"tcpserver: fatal: unable to bind: address already used\n")


@pytest.mark.parametrize("options", [["-v"], [], ["-6"]])
def test_at_an_ipv4_address_programs_get_ipv4_sockets(options):
    """Some ask for their peer's address, and know no other kind."""
    look = "import socket; print(socket.socket(fileno=0).family == socket.AF_INET, flush=True)"
    with TcpServer([*options, "-HRl0"], [sys.executable, "-c", look]) as server, server.connect() as client:
        assert everything(client) == b"True\n"


@pytest.mark.parametrize("options", [["-v"], []])
def test_at_the_limit_clients_wait(options):
    with TcpServer([*options, "-HRl0", "-c", "2"], ["cat"]) as server:
        first, second, third = (server.connect() for _ in range(3))
        with first, second, third:
            for client in (first, second, third):
                client.sendall(b"x")
            assert first.recv(1) == second.recv(1) == b"x"
            assert len(server.children()) == 2
            third.setblocking(False)
            with pytest.raises(BlockingIOError):
                third.recv(1)
            third.settimeout(60)
            os.kill(server.children()[0], signal.SIGKILL)
            assert third.recv(1) == b"x"
            if options:
                assert server.wait_for(r"tcpserver: end \d+ status 9")
                assert [line for line in server.lines if "status: 3" in line] == []


def test_term_leaves_children_running():
    with TcpServer(["-vHRl0"], ["cat"]) as server, server.connect() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        (child,) = server.children()
        server.process.terminate()
        assert server.process.wait(60) == 0
        client.sendall(b"y")
        assert client.recv(1) == b"y"
        os.kill(child, 0)


def test_signals_that_were_blocked_are_heard():
    numbers = {signal.SIGTERM, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        server = TcpServer(["-vHRl0"], ["true"])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with server:
        server.connect().close()
        server.wait_for(r"tcpserver: end \d+ status 0")
        server.process.terminate()
        assert server.process.wait(60) == 0


def quit_at_once(server):
    with server.connect() as client:
        greeting = client.recv(1000)
        client.sendall(b"QUIT\r\n")
        return greeting + everything(client)


def cmdline(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


@pytest.mark.parametrize("chain", [[], ["argv0", "{home}/bin/qmail-smtpd"], ["rblsmtpd"]])
def test_a_program_of_ours_is_not_executed(home, chain):
    program = [f"{home}/bin/{chain[0]}", *(word.format(home=home) for word in chain[1:])] if chain else []
    with TcpServer(["-vHRl0"], [*program, f"{home}/bin/qmail-smtpd"]) as server:
        with server.connect() as client:
            assert client.recv(1000) == b"220 localhost ESMTP\r\n"
            (child,) = server.children()
            assert cmdline(child) == cmdline(server.pid)
            with open(f"/proc/{child}/comm", encoding="ascii") as file:
                assert file.read() == "qmail-smtpd\n"
        server.wait_for(rf"tcpserver: end {child} status 256")  # the session ended without QUIT
        assert quit_at_once(server).endswith(b"221 2.0.0 localhost\r\n")
        server.wait_for(r"tcpserver: end \d+ status 0")


def test_it_finds_all_as_if_executed(home, tmp_path):
    """What a program in $QMAILQUEUE sees, run by a qmail-smtpd that was, and by one that was not executed."""
    said = []
    for number, words in enumerate((["qmail-smtpd"], ["nice", "-n", "0", "qmail-smtpd"])):
        path, script = str(tmp_path / f"seen{number}"), str(tmp_path / "dump")
        with open(script, "w", encoding="utf-8") as file:
            file.write(DUMP.format(python=sys.executable, path=path))
        os.chmod(script, 0o755)
        given = {
            "PATH": f"{home}/bin:/usr/bin:/bin",
            "QMAILQUEUE": script,
            "TCPREMOTEHOST": "old",
            "LC_CTYPE": "C.UTF-8",
        }
        with TcpServer(["-vHRl0"], words, env=given) as server, server.connect() as client:
            client.recv(1000)
            client.sendall(b"MAIL FROM:<>\r\nRCPT TO:<joe@localhost>\r\nDATA\r\n")
            until(lambda: b"354" in client.recv(1000))
            client.sendall(b"x\r\n.\r\n")
            assert client.recv(1000).startswith(b"554 ")
            own = client.getsockname()[1]
        with open(path, encoding="utf-8") as file:
            environ, limits, status, descriptors, folder = json.load(file)
        environ = {
            name: re.sub(f"{own}|{server.port}", "PORT", value) for name, value in environ.items() if name != "_"
        }
        said.append((environ, limits, status, descriptors, folder))
    assert said[0] == said[1]
    assert said[0][0]["LC_CTYPE"] == "C.UTF-8"
    assert "TCPREMOTEHOST" not in said[0][0]


def test_a_launcher_that_has_changed_is_run_as_it_is(home):
    with TcpServer(["-HRl0"], [f"{home}/bin/qmail-smtpd"]) as server:
        assert quit_at_once(server).startswith(b"220 ")
        with open(f"{home}/bin/new", "w", encoding="ascii") as file:
            file.write("#!/bin/sh\necho another\n")
        os.chmod(f"{home}/bin/new", 0o755)
        os.rename(f"{home}/bin/new", f"{home}/bin/qmail-smtpd")
        with server.connect() as client:
            assert everything(client) == b"another\n"
        os.unlink(f"{home}/bin/qmail-smtpd")
        with server.connect() as client:
            assert everything(client) == b""
        server.wait_for(r"tcpserver: warning: dropping connection, unable to run \S+: file does not exist")


def test_a_script_around_our_code_is_not_taken_for_a_launcher(home, tmp_path):
    with open(f"{home}/bin/qmail-smtpd", encoding="ascii") as file:
        text = file.read()
    wrapper = str(tmp_path / "wrapper")
    with open(wrapper, "w", encoding="ascii") as file:
        file.write(text.replace("import sys;", "print('mine',flush=True)\nimport sys;", 1))
    os.chmod(wrapper, 0o755)
    with TcpServer(["-HRl0"], [wrapper]) as server:
        assert quit_at_once(server).startswith(b"mine\n220 ")


def test_no_event_loop_is_loaded_where_no_name_is_wanted():
    code = f"import sys; sys.path.append({SOURCE!r}); from quail.programs.ucspi.tcpserver import main; main()"
    words = [sys.executable, "-IS", "-X", "importtime", "-c", code, "-1HRl0", "127.0.0.1", "0", "true"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert int(server.stdout.readline()) > 0
        server.terminate()
        told = server.communicate(timeout=60)[1].decode()
    loaded = {line.rpartition("|")[2].strip() for line in told.splitlines()}
    assert "quail.services.tcpserver.parent" in loaded
    assert loaded & {"asyncio", "dns.name", "socket", "signal", "enum", "re", "typing", "collections"} == set()
