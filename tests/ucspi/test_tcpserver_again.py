"""Children of tcpserver that serve again: one process, many sessions, none of which learns of another."""

import contextlib
import os
import resource
import signal
import socket
import struct
import subprocess
import sys

import pytest
from tests.programs.launch import launch
from tests.ucspi.tcpserver_process import TcpServer, everything, until

from quail.cli.init_single import init_single
from quail.services.tcpserver.again import LONGEST_IDLE, MOST_IDLE, MOST_SESSIONS, Idle, Link, pair, serve_on

LIMIT = 40
ENDED = r"tcpserver: end (\d+) status (\d+)"


@pytest.fixture
def home(tmp_path):
    init_single(str(tmp_path / "home"), name="joe")
    return str(tmp_path / "home")


@pytest.fixture
def server(home):
    with TcpServer(["-vHRl0"], [f"{home}/bin/qmail-smtpd"]) as started:
        yield started


def session(server, *commands):
    with server.connect() as client:
        said = client.recv(1000)
        for command in commands:
            client.sendall(command + b"\r\n")
            said += client.recv(1000)
        client.sendall(b"QUIT\r\n")
        return said + everything(client)


def ends(server, count):
    return [(int(match[1]), int(match[2])) for match in server.wait_for(ENDED, count)]


def has_ended(pid):
    """Whether it is gone, or waits for its parent to hear of it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_one_process_serves_one_after_another(server):
    for count in range(1, 4):
        assert session(server).endswith(b"221 2.0.0 localhost\r\n")
        ends(server, count)
    assert len(set(ends(server, 3))) == 1
    assert ends(server, 3)[0][1] == 0
    assert len(server.wait_for(r"tcpserver: pid (\d+) from 127\.0\.0\.1", 3)) == 3
    assert len(server.wait_for(r"tcpserver: ok \d+ 0:::ffff:127\.0\.0\.1:\d+ :::ffff:127\.0\.0\.1::\d+", 3)) == 3
    told = [match[1] for match in server.wait_for(rf"tcpserver: status: (\d+)/{LIMIT}", 7)]
    assert told == ["0", "1", "0", "1", "0", "1", "0"]


@pytest.mark.parametrize("program", ["qmail-lmtpd", "qmail-qmtpd", "qmail-qmqpd"])
def test_other_servers_serve_again_and_leave_no_alarm(home, program):
    with TcpServer(["-vHRl0"], [f"{home}/bin/{program}"]) as server:
        for count in (1, 2):
            server.connect().close()
            ends(server, count)
        assert len({pid for pid, _ in ends(server, 2)}) == 1
    module = program.replace("-", "_")
    code = (
        f"import signal\nfrom quail.programs.qmail.{module} import main\nfrom quail.programs.run import Ended, live_on\n"
        "live_on(True)\ntry: main()\nexcept Ended: print(signal.alarm(0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"", env={"QMAILHOME": home}, capture_output=True, check=True, timeout=60
    )
    assert done.stdout.endswith(b"0\n")  # behind the greeting, if it has one


def test_each_session_has_its_own_exit_status(server):
    session(server)
    (child, _), *_ = ends(server, 1)
    with server.connect() as client:
        client.recv(1000)
    assert ends(server, 2)[1] == (child, 256)
    session(server)
    assert ends(server, 3)[2] == (child, 0)


def test_each_connection_has_its_own_environment(home, tmp_path):
    """What a program in $QMAILQUEUE is told by two sessions of one process."""
    script, seen = tmp_path / "dump", tmp_path / "seen"
    script.write_text(f'#!/bin/sh\ncat >/dev/null\necho "$TCPREMOTEPORT $RELAYCLIENT $(pwd)" >>{seen}\n')
    script.chmod(0o755)
    ports = []
    with TcpServer(["-vHRl0"], [f"{home}/bin/qmail-smtpd"], env={"QMAILQUEUE": str(script)}) as server:
        for count in (1, 2):
            with server.connect() as client:
                ports.append(client.getsockname()[1])
                client.recv(1000)
                client.sendall(b"MAIL FROM:<>\r\nRCPT TO:<joe@localhost>\r\nDATA\r\n")
                until(lambda client=client: b"354" in client.recv(1000))
                client.sendall(b"x\r\n.\r\n")
                assert client.recv(1000).startswith(b"250 ")
                client.sendall(b"QUIT\r\n")
                everything(client)
            ends(server, count)
        assert len({pid for pid, _ in ends(server, 2)}) == 1
    assert seen.read_text() == "".join(f"{port}  {home}\n" for port in ports)


def test_the_rules_are_asked_for_each_connection(home, tmp_path):
    """A child that has served goes by the rules as they are now."""

    def compile_rules(text):
        done = launch("tcprules", "rules.cdb", "rules.tmp", stdin=text, cwd=tmp_path)
        assert done.returncode == 0

    compile_rules(b":allow\n")
    with TcpServer(["-vHRl0", "-x", str(tmp_path / "rules.cdb")], [f"{home}/bin/qmail-smtpd"]) as server:
        assert session(server).startswith(b"220 ")
        compile_rules(b"127.:deny\n")
        with server.connect() as client:
            assert everything(client) == b""
        assert ends(server, 2)[1][1] == 100 << 8
        compile_rules(b":allow\n")
        assert session(server).startswith(b"220 ")
        assert len({pid for pid, _ in ends(server, 3)}) == 1


def test_what_a_rule_sets_is_gone_after_the_session(home, tmp_path):
    """$PATH, by which programs are found, among it: the next client has that of the server again."""
    rules = f'127.0.0.1:allow,PATH="{tmp_path}",ONLY_ONE="x"\n:allow\n'.encode()
    assert launch("tcprules", "rules.cdb", "rules.tmp", stdin=rules, cwd=tmp_path).returncode == 0
    before = {"PATH": f"{home}/bin:/usr/bin:/bin"}
    words = ["rblsmtpd", "qmail-smtpd"]  # the second is looked for in the session's own environment
    (tmp_path / "qmail-smtpd").symlink_to(f"{home}/bin/qmail-smtpd")
    with TcpServer(["-vHRl0", "-x", str(tmp_path / "rules.cdb")], words, env=before) as server:
        assert session(server).startswith(b"220 ")
        (tmp_path / "qmail-smtpd").unlink()
        ends(server, 1)
        with server.connect(("127.0.0.2", 0)) as client:
            client.sendall(b"QUIT\r\n")
            assert everything(client).startswith(b"220 ")
        assert len({pid for pid, _ in ends(server, 2)}) == 1


@pytest.mark.parametrize("rules", [b"127.:deny\n", None], ids=["denied", "dropped: the rules can't be read"])
def test_who_is_not_served_hears_the_end_at_once(home, tmp_path, rules):
    """The first client of a child, too: it is not kept while the child waits for the next."""
    if rules is None:
        (tmp_path / "rules.cdb").write_bytes(b"rubbish")
    else:
        assert launch("tcprules", "rules.cdb", "rules.tmp", stdin=rules, cwd=tmp_path).returncode == 0
    with TcpServer(["-vHRl0", "-x", str(tmp_path / "rules.cdb")], [f"{home}/bin/qmail-smtpd"]) as server:
        for count in (1, 2):
            with server.connect() as client:
                client.settimeout(LONGEST_IDLE / 2)
                assert everything(client) == b""
            ends(server, count)
        assert len({pid for pid, _ in ends(server, 2)}) == 1


def test_a_child_that_can_not_come_back_to_its_folder_serves_once(tmp_path):
    """The user of tcpserver -u need not be able to enter the folder where it was started."""
    folder = tmp_path / "closed"
    folder.mkdir()
    own, its = pair()
    pid = os.fork()
    if pid == 0:
        os.chdir(folder)
        folder.chmod(0)
        if os.getuid() == 0:
            os.setuid(65534)
        with contextlib.suppress(BaseException):
            serve_on(Served(), Served(), its, None)
        os._exit(1)
    its.close()
    with contextlib.closing(own):
        assert own.recv(10) == b""  # the parent hears of the session's end by the child's
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == Served.CODE


class Served:
    """A child that has served, and its visit."""

    CODE = 17

    def __init__(self):
        self.connection = self

    def serve(self, _):
        return self.CODE

    def close(self):
        pass


def test_a_child_that_is_killed_is_replaced(server):
    session(server)
    (child, _), *_ = ends(server, 1)
    os.kill(child, signal.SIGKILL)  # between two connections: nobody's status
    until(lambda: child not in server.children())
    assert session(server).startswith(b"220 ")
    (again, status) = ends(server, 2)[1]
    assert again != child
    assert status == 0
    with server.connect() as client:
        client.recv(1000)
        os.kill(again, signal.SIGKILL)
        assert everything(client) == b""
    assert ends(server, 3)[2] == (again, 9)
    assert session(server).startswith(b"220 ")


def test_a_client_that_has_gone_at_once_is_logged_as_any_other(server):
    """Load balancers see so whether the service is there."""
    session(server)
    [(pid, _)] = ends(server, 1)
    os.kill(pid, signal.SIGSTOP)  # so that the kernel knows of no client when the child looks
    with server.connect() as client:
        port = client.getsockname()[1]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.wait_for("tcpserver: status: 1/40", 2)
    os.kill(pid, signal.SIGCONT)
    assert ends(server, 2)[-1] == (pid, 256)
    assert server.wait_for(rf"tcpserver: ok {pid} .*:{port}")
    assert not [line for line in server.lines if "warning" in line]


def test_more_children_than_descriptors(home):
    """A child takes none of its parent's with the original."""
    with TcpServer(["-vHRl0"], [f"{home}/bin/qmail-smtpd"]) as server, contextlib.ExitStack() as clients:
        limit = len(server.descriptors()) + 6
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, limit))
        for _ in range(2 * limit):
            client = clients.enter_context(server.connect())
            assert client.recv(3) == b"220"
        assert len(server.descriptors()) < limit


def test_a_client_that_reads_nothing_holds_up_nobody_else(home):
    """fixcrio's copier outlives the program then, and has what its parent had: also the link to tcpserver."""
    flood = ["sh", "-c", "yes & sleep 0.5; kill $!"]
    with TcpServer(["-vHRl0"], [f"{home}/bin/fixcrio", *flood]) as server, server.connect() as deaf:
        ends(server, 1)
        with server.connect() as other:
            assert other.recv(3) == b"y\r\n"
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends the copier


def test_nothing_leaks_in_a_child(server):
    session(server)
    (child, _), *_ = ends(server, 1)
    before = sorted(os.listdir(f"/proc/{child}/fd"))
    for count in range(2, 30):
        session(server, b"EHLO x", b"MAIL FROM:<a@b>", b"RCPT TO:<joe@localhost>")
        ends(server, count)
    assert sorted(os.listdir(f"/proc/{child}/fd")) == before


def test_a_child_serves_so_often_and_no_more(server):
    for count in range(1, MOST_SESSIONS + 2):
        session(server)
        ends(server, count)
    pids = [pid for pid, _ in ends(server, MOST_SESSIONS + 1)]
    assert len(set(pids[:MOST_SESSIONS])) == 1
    assert pids[MOST_SESSIONS] != pids[0]
    until(lambda: server.children() == [pids[MOST_SESSIONS]])


def test_few_wait_after_a_crowd(server):
    clients = [server.connect() for _ in range(MOST_IDLE + 5)]
    for client in clients:
        assert client.recv(1000).startswith(b"220 ")
    for client in clients:
        client.sendall(b"QUIT\r\n")
        everything(client)
        client.close()
    ends(server, len(clients))
    until(lambda: len(server.children()) == MOST_IDLE)


def test_term_ends_those_that_wait_and_leaves_those_that_serve(server):
    with server.connect() as client:
        client.recv(1000)
        session(server)
        (idle, _), *_ = ends(server, 1)
        (busy,) = set(server.children()) - {idle}
        server.process.terminate()
        assert server.process.wait(60) == 0
        until(lambda: has_ended(idle))
        client.sendall(b"NOOP\r\n")
        assert client.recv(1000).startswith(b"250 ")
        os.kill(busy, 0)
        client.sendall(b"QUIT\r\n")
        everything(client)
    until(lambda: has_ended(busy))


@pytest.mark.parametrize(
    ("chain", "again"),
    [
        (["rblsmtpd"], True),
        (["rblsmtpd", "rblsmtpd"], True),
        (["argv0", "{home}/bin/qmail-smtpd"], False),
        (["softlimit", "-o", "50"], False),
        (["envdir", "{home}/control"], False),
    ],
)
def test_chains(home, chain, again):
    """What changes its process for good is not used again, nor is what comes behind it."""
    words = [
        f"{home}/bin/{word}" if word.isalnum() and not word.isdigit() else word.format(home=home) for word in chain
    ]
    with TcpServer(["-vHRl0"], [*words, f"{home}/bin/qmail-smtpd"]) as server:
        for count in (1, 2):
            assert session(server).startswith(b"220 ")
            ends(server, count)
        assert len({pid for pid, _ in ends(server, 2)}) == (1 if again else 2)
        if not again:
            until(lambda: not server.children())


def test_a_client_turned_away_by_rblsmtpd_leaves_no_alarm(home):
    with TcpServer(["-vHRl0"], [f"{home}/bin/rblsmtpd", f"{home}/bin/qmail-smtpd"], env={"RBLSMTPD": "no"}) as server:
        for count in (1, 2):
            assert session(server).startswith(b"220 rblsmtpd.local\r\n")
            ends(server, count)
        assert len({pid for pid, _ in ends(server, 2)}) == 2


# The parent's account of those that wait, with a clock of the test's own.


@pytest.fixture
def links():
    """Makes links whose other ends are there."""
    with contextlib.ExitStack() as opened:

        def make(count):
            pairs = [pair() for _ in range(count)]
            for each in (end for both in pairs for end in both):
                opened.callback(each.close)
            return [Link(own) for own, _ in pairs]

        yield make


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_last_one_is_the_next_and_the_first_one_is_overdue_first(links):
    clock, (a, b) = Clock(), links(2)
    idle = Idle(clock)
    assert idle.patience() is None
    assert idle.put(a)
    clock.now = 1.0
    assert idle.put(b)
    assert idle.patience() == (LONGEST_IDLE - 1) * 1000
    assert idle.overdue() == []
    clock.now = LONGEST_IDLE
    assert idle.overdue() == [a]
    assert idle.take() is b
    assert idle.take() is None


def test_no_more_than_so_many_wait(links):
    idle, first, *others = Idle(Clock()), *links(MOST_IDLE + 1)
    assert [idle.put(link) for link in (first, *others)] == [True] * MOST_IDLE + [False]
    idle.forget(first)
    assert len(idle) == MOST_IDLE - 1
    first.sessions = MOST_SESSIONS
    assert not idle.put(first)


def test_a_link_whose_other_end_has_gone():
    own, other = pair()
    link = Link(own)
    other.close()
    with socket.socket() as connection:
        assert not link.give(connection, ("127.0.0.1", 4321))
    assert link.status() is None
    assert link.sessions == 1
    own.close()
