"""Signals, starting and stopping: what an operator, a terminal or a service manager does to `quail serve`."""

import json
import os
import re
import signal
import socket
import subprocess

import pytest
from tests.system.harness import PATIENCE, QUAIL, Ends, Log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_with_exit_code_0(server, number):
    pids = server.every_pid()
    assert len(pids) >= 6
    ends = Ends(pids)
    assert server.stop(number) == 0
    ends.wait()
    assert server.log.lines[-1] == "stopped"
    assert "status: exiting" in server.log.lines
    left = set(os.listdir(server.path / "run"))
    assert not left & {"pids.json", "ports.json"}


def test_started_without_input_and_output(make_server):
    """As by `setsid quail serve <&- >&-`: what is opened first must not be taken for them."""
    server = make_server()
    command = [*QUAIL, "serve", "--home", str(server.path)]
    server.spawn = lambda *_: subprocess.Popen(
        ["sh", "-c", 'exec "$@" <&- >&-', "sh", *command], stderr=subprocess.PIPE, start_new_session=True
    )
    server.start()
    for pid in server.every_pid():
        assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1)] == ["/dev/null"] * 2


def test_ctrl_c_reaches_the_whole_group_and_acts_once(server):
    """The terminal sends INT to all processes: only serve obeys, and mail on its way arrives."""
    server.end(server.send("joe@localhost"))
    workers = server.workers()
    assert workers
    ends = Ends([*server.every_pid()])
    os.killpg(server.process.pid, signal.SIGINT)
    assert server.ended() == 0
    ends.wait()
    assert not [line for line in server.log.lines if "killed" in line or "starting it again" in line or "fatal" in line]


def test_term_waits_for_the_delivery_at_hand(server):
    os.kill(server.pid("lspawn"), signal.SIGSTOP)
    number = server.send("joe@localhost")
    server.line(rf"^starting delivery 1: msg {number} ")
    lspawn = server.pid("lspawn")
    server.process.terminate()
    server.line(r"^status: local 1/100 remote 0/0 exitasap$")
    os.kill(lspawn, signal.SIGCONT)
    assert server.ended() == 0
    assert server.log.lines.index(f"end msg {number}") < server.log.lines.index("status: exiting")
    assert len(server.mail()) == 1
    server.start()
    assert server.ask({"do": "status"})["messages"] == 0


def test_what_was_in_flight_is_tried_again(server):
    """A second TERM leaves no grace; the next start finds the message."""
    os.kill(server.pid("lspawn"), signal.SIGSTOP)
    number = server.send("joe@localhost")
    server.line(rf"^starting delivery 1: msg {number} ")
    server.process.terminate()
    server.line(r"exitasap$")
    server.process.terminate()
    assert server.ended() == 0
    assert server.mail() == []
    server.start()
    server.end(number)
    assert len(server.mail()) == 1


def test_term_takes_the_message_that_a_client_is_sending(server):
    with server.smtp() as client, server.smtp() as idle:
        client.envelope("s@example.org", "joe@localhost")
        client.ok("DATA")
        client.write(b"Subject: last\r\n")
        client.write(b"\r\n")
        server.process.terminate()
        assert idle.reply().startswith(b"421 4.3.2 ")
        client.write(b"text\r\n.\r\n")
        assert client.reply().startswith(b"250 ")
        assert client.reply().startswith(b"421 4.3.2 ")
        assert client.hung_up()
    assert server.ended() == 0
    server.start()
    server.until(lambda: len(server.mail()) == 1, "the message")


def test_alarm_tries_deferred_mail_now(server):
    with server.closed_mailbox():
        numbers = [server.send("joe@localhost") for _ in range(3)]
        server.line(r"deferral: Home_directory_is_sticky", count=3)
        pids = server.pids
    server.alarm()
    for number in numbers:
        server.end(number)
    assert len(server.mail()) == 3
    assert server.pids == pids  # nobody minds the signal


def test_alarm_tries_each_once(server):
    """However often it was tried by hand before: one try more for each signal, and none in between."""
    with server.closed_mailbox():
        number = server.send("joe@localhost")
        for tries in range(1, 4):
            server.line(r"deferral: Home_directory_is_sticky", count=tries)
            assert server.quail("queue", "retry", str(number)).stdout == "1 to be tried now\n"
        server.line(r"deferral: Home_directory_is_sticky", count=4)
        server.alarm()
        server.line(r"deferral: Home_directory_is_sticky", count=5)
        # A message taken later has been dealt with: what the signal started has been started.
        other = server.queue(b"", b"postmaster@localhost")
        server.end(other)
        assert sum(line.startswith("starting delivery") for line in server.story(number)) == 5


def test_hup_reaches_every_service(server):
    """virtualdomains: users and queue; databytes: smtpd, all its workers; defaultdelivery: lspawn."""
    pids = server.pids
    server.dot_qmail("default", "./Maildir/\n")
    server.control("virtualdomains", "virtual.example:joe")
    server.control("rcpthosts", "localhost\nvirtual.example")
    server.control("databytes", "12345")
    server.control("concurrencylocal", "7")
    server.control("defaultdelivery", "./Other/")
    server.hup()
    for _ in range(8):  # a worker takes a connection or the other

        def size():
            with server.smtp() as client:
                return b"250-SIZE 12345\n" in client.say("EHLO x")

        server.until(size, "the new databytes")
    number = server.send("anybody@virtual.example")
    server.end(number)
    assert f"msg {number} to local joe-anybody@virtual.example" in server.story(number)[2]
    assert "status: local 1/7 remote 0/0" in server.log.lines
    server.end(server.send("joe@localhost"))
    assert len(server.mail("Other")) == 1
    assert server.pids == pids


@pytest.mark.parametrize(
    ("file", "service"),
    [
        ("databytes", "smtpd: alert"),
        ("concurrencylocal", "alert"),
        ("locals", "users: "),
        ("defaultdelivery", "lspawn: "),
    ],
)
def test_hup_with_a_malformed_file(make_server, file, service):
    """Services go on with what they had, and name the file, the line and the remedy."""
    server = make_server(smtpdworkers="1").start()
    server.end(server.send("joe@localhost"))  # every service has read its files
    server.control(file, "nonsense\r")
    server.hup()
    line = server.line(rf"^{service}.*control/{file} line 1: ").string
    assert re.search(r"(remove|write|save)", line), line
    server.end(server.send("joe@localhost"))
    assert len(server.mail()) == 2


def test_a_malformed_file_stops_the_start(make_server):
    server = make_server(locals="local host\tx\r").start(wait=False)
    assert server.ended() == 100
    assert re.match(r"control/locals line 1: error: ", server.log.lines[0])
    assert server.log.lines[-1].startswith("quail: not started: correct the files below ")
    assert not (server.path / "run/pids.json").exists()


@pytest.mark.parametrize("fixed_port", [False, True])
def test_a_second_serve_of_the_same_home(server, fixed_port):
    if fixed_port:
        server.control("listen", f"smtp 127.0.0.1:{server.port}")
    before = server.pids, server.port
    second = server.quail("serve")
    assert second.returncode == 111
    assert second.stderr.splitlines()[-1] == (
        f"quail: {server.path} is being served already (run/pids.json says by whom); stop that first"
    )
    assert (server.pids, server.port) == before
    server.end(server.send("joe@localhost"))


def test_a_busy_port_names_its_owner(make_server):
    first = make_server("first").start()
    second = make_server("second", listen=f"smtp 127.0.0.1:{first.port}").start(wait=False)
    assert second.ended() == 111
    pid = first.process.pid
    assert second.log.lines[-1] == (
        f"quail: port {first.port} on 127.0.0.1, wanted for smtp, is in use by quail-serve (pid {pid}); stop that, or choose"
        f" another: make run SMTP_PORT={first.port + 101 if first.port < 65000 else 2626}, or the line in control/listen"
    )
    second.start("--smtp-port", "0")  # the way round it
    assert second.port != first.port
    second.end(second.send("joe@localhost"))


def test_ports_and_pids_are_told(make_server):
    """Two listeners, IPv6 among them where there is one; ports.json says what port 0 has become."""
    listen = "smtp 127.0.0.1:0\nsmtp 127.0.0.2:0"
    server = make_server(listen=listen, smtpdworkers="3").start()
    ports = json.loads((server.path / "run/ports.json").read_text())
    (first, second) = ports["smtp"].split()
    assert first.startswith("127.0.0.1:")
    assert second.startswith("127.0.0.2:")
    host, _, port = second.rpartition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as sock:
        assert sock.recv(100).startswith(b"220 localhost ESMTP")
    assert {name: len(pids) for name, pids in server.pids.items()} == {
        "serve": 1, "queue": 1, "users": 1, "lspawn": 1, "rspawn": 1, "smtpd": 3,
    }  # fmt: skip
    for name, pids in server.pids.items():
        for pid in pids:
            with open(f"/proc/{pid}/comm") as comm:
                assert comm.read() == f"quail-{name}\n"


def test_descriptors_up_to_the_hard_limit(make_server):
    """Thousands of clients need thousands of descriptors; the usual soft limit is 1024."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        server = make_server().start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for pid in server.every_pid():
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (min(hard, 1 << 20), hard)


class Run:
    """`quail run`, as `make run` calls it; its screen goes to a file."""

    def __init__(self, folder, *options):
        self.screen_path = folder / "screen"
        with self.screen_path.open("wb") as screen:
            self.process = subprocess.Popen(
                [*QUAIL, "run", "--home", "./var", *options],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=screen, stderr=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        self.log = Log(self.process.stderr)

    def screen(self):
        """Once it is complete."""
        return self.log.until(
            lambda: (text := self.screen_path.read_text()) and "Ctrl-C stops it." in text and text, "the screen"
        )

    def stop(self):
        os.killpg(self.process.pid, signal.SIGINT)
        code = self.process.wait(PATIENCE)
        self.log.close()
        return code


@pytest.fixture
def run(tmp_path):
    started = []

    def start(*options):
        started.append(Run(tmp_path, *options))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.stop()


def test_run_twice(run, tmp_path):
    """The first makes a home, and a message arrives in it; the second sends none. Both end with Ctrl-C, exit 0."""
    first = run("--smtp-port", "0", "--pop3-port", "0")
    screen = first.screen()
    assert 10 <= len(screen.splitlines()) <= 18
    path = re.search(r"The first message is delivered: (\S+)", screen)[1]
    mail = (tmp_path / path).read_bytes()
    assert b"Subject: Welcome to Quail\n" in mail
    port = re.search(r"SMTP on 127\.0\.0\.1:(\d+)", screen)[1]
    assert f"--port {port}" in screen
    # The Python one-liner does what it says.
    code = re.search(r'python3 -c "(.*)"', screen)[1].replace("\\\\", "\\")
    subprocess.run(["python3", "-c", code], check=True, timeout=PATIENCE)
    new = tmp_path / os.path.dirname(path)
    first.log.until(lambda: len(list(new.iterdir())) == 2, "the one-liner's message")
    assert first.stop() == 0
    second = run("--smtp-port", "0", "--pop3-port", "0")
    screen = second.screen()
    assert "first message" not in screen
    assert f"Mail is kept in {os.path.dirname(os.path.dirname(path))}\n" in screen
    assert second.stop() == 0
    assert len(list(new.iterdir())) == 2


def test_run_with_a_busy_port(run):
    with socket.create_server(("127.0.0.1", 0)) as owner:
        port = owner.getsockname()[1]
        refused = run("--smtp-port", str(port), "--pop3-port", "0")
        assert refused.process.wait(PATIENCE) == 111
        refused.log.close()
        assert f"port {port} on 127.0.0.1, wanted for smtp, is in use by " in refused.log.lines[-1]
        assert f"(pid {os.getpid()})" in refused.log.lines[-1]


def test_make_run_passes_the_port_on():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    shown = subprocess.run(
        ["make", "-n", "run", "SMTP_PORT=2626"], cwd=root, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert re.search(r"quail run --home \./var --smtp-port 2626\n", shown.stdout)
