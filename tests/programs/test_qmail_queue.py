"""qmail-queue as a process: what it hands over, its exit codes, and what it leaves in queue/drop when nobody answers."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from quail.net.frames import Splitter, frame
from quail.queue.handover import MAX_ADDRESS, MAX_ENVELOPE, MAX_RECIPIENTS, decode_envelope

PATIENCE = 60
PROGRAM = (sys.executable, "-m", "quail.programs.qmail.qmail_queue")
MESSAGE = b"Subject: hello\n\nhello\n"
ENVELOPE = b"Fs@example.org\0Tjoe@localhost\0T\0\0"


class Home:
    """As much of a home as the program sees; queue() stands for the queue service."""

    def __init__(self, path):
        self.path = path
        (path / "run").mkdir()
        (path / "queue/drop").mkdir(parents=True)

    def env(self, **more):
        return {"PATH": "/usr/bin:/bin", "QMAILHOME": str(self.path), **more}

    def run(self, message=MESSAGE, envelope=ENVELOPE, *, before=(), **env):
        """Exit code; the descriptors are files."""
        (self.path / "message").write_bytes(message)
        (self.path / "envelope").write_bytes(envelope)
        with (self.path / "message").open("rb") as zero, (self.path / "envelope").open("rb") as one:
            done = subprocess.run(
                [*before, *PROGRAM],
                stdin=zero,
                stdout=one,
                stderr=subprocess.PIPE,
                env=self.env(**env),
                timeout=PATIENCE,
                check=False,
            )
        assert done.stderr == b""
        return done.returncode

    def dropped(self):
        """(envelope, message) of each file in the drop; there is nothing else in it."""
        found = []
        for path in (self.path / "queue/drop").iterdir():
            assert path.name.startswith("new.")
            assert path.stat().st_mode & 0o777 == 0o640
            data = path.read_bytes()
            size = int.from_bytes(data[:4], "big")
            found.append((decode_envelope(data[4 : 4 + size]), data[4 + size :]))
        return found

    @contextlib.contextmanager
    def queue(self, answer):
        """Takes one message and answers so; None hangs up instead. Yields [envelope, body] once the program has ended."""
        got = []

        def serve(listener):
            connection, _ = listener.accept()
            with connection:
                splitter, frames = Splitter(1 << 24), []
                while not frames or frames[-1]:
                    data = connection.recv(1 << 16)
                    if not data:
                        return
                    frames += splitter.feed(data)
                got.extend([decode_envelope(frames[0]), b"".join(frames[1:])])
                if answer is not None:
                    connection.sendall(frame(answer))

        folder = os.open(self.path / "run", os.O_PATH)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{folder}/queue.sock")
            listener.listen()
            listener.settimeout(PATIENCE)
            thread = threading.Thread(target=serve, args=(listener,))
            thread.start()
            yield got
            thread.join(PATIENCE)
        os.close(folder)
        (self.path / "run/queue.sock").unlink()


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def started(home):
    """The program with pipes as descriptors; closed and ended with the test."""
    read_message, message = os.pipe()
    read_envelope, envelope = os.pipe()
    process = subprocess.Popen([*PROGRAM], stdin=read_message, stdout=read_envelope, env=home.env())
    os.close(read_message)
    os.close(read_envelope)
    with open(message, "wb", buffering=0) as zero, open(envelope, "wb", buffering=0) as one:
        yield process, zero, one
    process.kill()
    process.wait(PATIENCE)


def test_handed_over(home):
    with home.queue(b"K17") as got:
        assert home.run() == 0
    envelope, body = got
    assert (envelope.sender, envelope.recipients) == (b"s@example.org", [b"joe@localhost", b""])
    assert body == MESSAGE
    assert home.dropped() == []


@pytest.mark.parametrize("message", [b"", b"\0\r\n\xff no line end", b"0123456789abcde\n" * 300_000])
def test_any_message(home, message):
    """It is not looked at; what does not fit into memory waits in a file."""
    with home.queue(b"K1") as got:
        assert home.run(message, b"F\0\0") == 0
    assert (got[0].sender, got[0].recipients) == (b"", [])
    assert got[1] == message


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"Denvelope address too long for qq (#5.1.3)", 11),
        (b"Dno (#5.3.0)", 31),
        (b"Dtoo many recipients (#5.5.3)", 31),
        (b"Dqq internal bug (#4.3.0)", 31),
        (b"Zqueue disk is nearly full, try again later (#4.3.1)", 53),
        (b"Zqq write error or disk full (#4.3.0)", 53),
        (b"Zmail system is stopping, try again later (#4.3.2)", 71),
        (b"Ztoo much mail from you at once, try again later (#4.3.2)", 71),
    ],
)
def test_what_the_queue_says(home, answer, code):
    with home.queue(answer):
        assert home.run() == code
    assert home.dropped() == []


@pytest.mark.parametrize(
    "how", [lambda home: home.queue(None), lambda home: home.queue(b"?"), lambda _: contextlib.nullcontext()]
)
def test_without_an_answer_it_is_dropped(home, how):
    """The queue went away in the middle, talks nonsense, or was never there."""
    with how(home):
        assert home.run() == 0
    ((envelope, body),) = home.dropped()
    assert (envelope.sender, envelope.recipients) == (b"s@example.org", [b"joe@localhost", b""])
    assert body == MESSAGE


def test_a_large_message_is_dropped_whole(home):
    message = b"0123456789abcde\n" * 300_000
    assert home.run(message) == 0
    assert home.dropped()[0][1] == message


def test_no_home(home):
    assert home.run(QMAILHOME=str(home.path / "nowhere")) == 61


def test_no_queue(home):
    (home.path / "queue/drop").rmdir()
    assert home.run() == 62


LONGEST = b"x" * (MAX_ADDRESS - 10) + b"@localhost"


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (b"F" + LONGEST + b"\0T" + LONGEST + b"\0\0", 0),
        (b"F" + LONGEST + b"x\0Tjoe@localhost\0\0", 11),
        (b"F\0T" + LONGEST + b"x\0\0", 11),
        (b"F\0T" + LONGEST + b"xxx", 11),  # without its end
        (b"F\0\0garbage behind the end", 0),
        (b"", 54),
        (b"F", 54),
        (b"F\0", 54),
        (b"F\0Tjoe@localhost", 54),
        (b"F\0Tjoe@localhost\0", 54),
        (b"\0", 91),
        (b"\0\0", 91),
        (b"T\0\0", 91),
        (b"f\0\0", 91),
        (b"x", 91),
        (b"F\0F\0\0", 91),
        (b"F\0joe@localhost\0\0", 91),
        (b"F\0Tjoe\0x", 91),
    ],
)
def test_envelopes(home, envelope, code):
    assert home.run(envelope=envelope) == code
    assert len(home.dropped()) == (code == 0)


def test_an_envelope_that_no_queue_would_take(home):
    """Better refused than left in the drop for ever."""
    recipient = b"T%b\0" % (b"x" * 990 + b"@localhost")
    fits = b"F\0" + recipient * ((MAX_ENVELOPE - 3) // len(recipient)) + b"\0"
    assert home.run(envelope=fits) == 0
    assert len(home.dropped()[0][0].recipients) == (MAX_ENVELOPE - 3) // len(recipient)
    assert home.run(envelope=fits[:-1] + recipient * 2 + b"\0") == 31
    assert len(home.dropped()) == 1


def test_many_short_recipients(home):
    """No more are left in the drop than the queue would take."""
    assert home.run(envelope=b"F\0" + b"Ta@b\0" * MAX_RECIPIENTS + b"\0") == 0
    assert home.dropped()[0][0].recipients == [b"a@b"] * MAX_RECIPIENTS
    assert home.run(envelope=b"F\0" + b"Ta@b\0" * (MAX_RECIPIENTS + 1) + b"\0") == 31
    assert len(home.dropped()) == 1


@pytest.mark.parametrize("redirection", ["0<&-", "0>/dev/null", "1<&-", "1>/dev/null"])
def test_descriptors_that_cannot_be_read(home, redirection):
    (home.path / "message").write_bytes(MESSAGE)
    (home.path / "envelope").write_bytes(ENVELOPE)
    script = f'exec "$@" 0<message 1<envelope {redirection}'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *PROGRAM], cwd=home.path, env=home.env(), timeout=PATIENCE, check=False
    )
    assert done.returncode == 54
    assert home.dropped() == []


@pytest.mark.parametrize("message", [MESSAGE, b"0123456789abcde\n" * 300_000])
def test_no_room_for_the_drop(home, message):
    """Files may have no bytes here: in the drop, nor before it. Nothing is left behind."""
    assert home.run(message, before=("sh", "-c", 'ulimit -f 0; exec "$@"', "sh")) == 53
    assert home.dropped() == []


def test_nowhere_to_keep_a_large_message(home):
    assert home.run(b"0123456789abcde\n" * 300_000, TMPDIR=str(home.path / "nowhere")) == 53


@pytest.mark.parametrize(
    ("trouble", "code"), [("MemoryError", 51), ("KeyError", 81), ("AssertionError", 81), ("OSError", 81)]
)
@pytest.mark.parametrize("where", ["enqueue", "read_envelope", "read_message"])
def test_out_of_memory_and_bugs(home, trouble, code, where):
    """What can't be brought about from outside."""
    fail = f"def fail(*_, **__): raise {trouble}"
    script = f"from quail.programs.qmail import qmail_queue as it\n{fail}\nit.{where}\nit.{where} = fail\nit.main()"
    (home.path / "envelope").write_bytes(ENVELOPE)
    with (home.path / "envelope").open("rb") as one:
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdin=subprocess.DEVNULL, stdout=one, stderr=subprocess.PIPE, env=home.env(), timeout=PATIENCE, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, b"")
    assert home.dropped() == []


def test_it_never_runs_a_queue_program(home):
    """It is one: QMAILQUEUE is for those who give it mail."""
    assert home.run(QMAILQUEUE="/bin/false") == 0
    assert len(home.dropped()) == 1


def test_a_drop_or_a_home_that_is_a_file(home):
    (home.path / "queue/drop").rmdir()
    (home.path / "queue/drop").write_text("")
    assert home.run() == 62
    assert home.run(QMAILHOME=str(home.path / "queue/drop")) == 61


def test_the_message_is_read_first_and_whole(home, started):
    """A caller may write one pipe after the other, as much as it likes."""
    process, zero, one = started
    zero.write(MESSAGE)
    zero.write(b"x" * 200_000)  # more than a pipe holds: it is being read
    one.write(ENVELOPE[:-1])
    zero.close()
    assert process.poll() is None
    one.write(ENVELOPE[-1:])
    assert process.wait(PATIENCE) == 0
    ((envelope, body),) = home.dropped()
    assert envelope.sender == b"s@example.org"
    assert body == MESSAGE + b"x" * 200_000


def test_a_caller_that_gives_up(home, started):
    """It closes the envelope without the last NUL."""
    process, zero, one = started
    zero.write(MESSAGE)
    zero.close()
    one.write(ENVELOPE[:-1])
    one.close()
    assert process.wait(PATIENCE) == 54
    assert home.dropped() == []


def test_signals_that_it_ignores(home, started):
    process, zero, one = started
    zero.write(b"x" * 300_000)  # does not return before it is being read
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ):
        process.send_signal(number)
    zero.close()
    one.write(ENVELOPE)
    assert process.wait(PATIENCE) == 0
    assert len(home.dropped()) == 1


def test_a_day_is_too_long(home, started):
    """The alarm of 24 hours."""
    process, zero, _ = started
    zero.write(b"x" * 300_000)
    process.send_signal(signal.SIGALRM)
    assert process.wait(PATIENCE) == 52
    assert home.dropped() == []
