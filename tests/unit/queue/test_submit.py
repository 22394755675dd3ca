"""submit(): $QMAILQUEUE, the queue service, the drop, and what each trouble on these ways is called.

It runs in a process of its own, as it does in programs: it forks, and must survive pipes that break.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading

import pytest
from tests import signals

from quail.net.frames import Splitter, frame
from quail.queue.handover import MAX_ADDRESS, MAX_ENVELOPE, MAX_RECIPIENTS, decode_envelope

PATIENCE = 60
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))) + "/src"
LARGE = 3_000_000  # bytes; more than a spool keeps in memory, and than any pipe holds

# One process: submits as it is told on its command line, and says what it heard and what has become of itself.
DRIVER = f"""
import json, os, signal, sys
sys.path.insert(0, {SOURCE!r})
from quail.queue.submit import submit
told = json.loads(sys.argv[1])
if "default" in told:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
if "childless" in told:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if "limit" in told:
    from quail.queue import program
    program.TIME_LIMIT = told["limit"]
def refuse(*_):
    raise {{"OSError": OSError, "ChildProcessError": ChildProcessError}}[told["refuses"][1]]
if "refuses" in told:
    setattr(os, told["refuses"][0], refuse)
class Gone(Exception):
    pass
def chunks():
    left = told["size"]
    while left:
        piece = min(left, 65536)
        left -= piece
        yield b"0123456789abcde\\n" * (piece // 16) + b"x" * (piece % 16)
    if "error" in told:
        raise {{"gone": Gone("gone"), "os": OSError("no more"), "missing": FileNotFoundError(2, "gone")}}[told["error"]]
os.umask(0o077)
heard = []
for _ in range(told["times"]):
    try:
        reply = submit(*(os.fsencode(told["sender"]), [os.fsencode(r) for r in told["recipients"]]), chunks(),
                       home=told["home"])
        heard.append([reply.letter.decode(), os.fsdecode(reply.text)])
    except Exception as error:
        heard.append([type(error).__name__, str(error)])
if "refuses" in told:
    from posix import waitpid
    os.waitpid = waitpid
try:
    os.waitpid(-1, os.WNOHANG)
    children = "left"
except ChildProcessError:
    children = "none"
print(json.dumps({{
    "heard": heard, "pid": os.getpid(), "children": children, "umask": os.umask(0),
    "files": len(os.listdir("/proc/self/fd")),
    "pipe": signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL,
    "slow": sorted(set(sys.modules) & {{"quail.queue.program", "select", "ctypes"}}),
}}))
"""


class Home:
    """A home with what submit() sees of it."""

    children = "none"  # of the driver, when it has finished

    def __init__(self, path):
        self.path = path
        (path / "run").mkdir(parents=True)
        (path / "queue/drop").mkdir(parents=True)
        (path / "bin").mkdir()

    def program(self, body, name="bin/queue-program"):
        """A shell script in the home; its name, as $QMAILQUEUE has it."""
        path = self.path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return name

    def run(self, command=None, *, size=20, sender="s@x", recipients=("a@b", "c@d"), times=1, stdin=None, **more):
        """All that the driver says; `command` is $QMAILQUEUE."""
        env = {"PATH": "/usr/bin:/bin", **more.pop("env", {})}
        if command is not None:
            env["QMAILQUEUE"] = command
        told = {
            "home": str(self.path), "size": size, "sender": sender, "recipients": recipients, "times": times, **more,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", DRIVER, json.dumps(told)],
            stdin=stdin, capture_output=True, env=env, cwd="/", timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.stderr == b"", done.stderr.decode()
        said = json.loads(done.stdout)
        assert said["children"] == self.children
        assert said["umask"] == 0o077
        return said

    def hear(self, command=None, **more):
        """The one reply, as `LETTER text`."""
        ((letter, text),) = self.run(command, **more)["heard"]
        return f"{letter} {text}"

    def dropped(self):
        found = []
        for path in (self.path / "queue/drop").iterdir():
            assert path.name.startswith("new.")
            assert path.stat().st_mode & 0o777 == 0o640  # whatever the umask: the queue service has to read it
            data = path.read_bytes()
            size = int.from_bytes(data[:4], "big")
            envelope = decode_envelope(data[4 : 4 + size])
            found.append((envelope.sender, envelope.recipients, data[4 + size :]))
        return found

    @contextlib.contextmanager
    def queue(self, answer, *, read=1 << 30):
        """Stands for the queue service: takes messages and answers so; None hangs up, after so many bytes."""
        got = []

        def serve(connection):
            splitter, frames, size = Splitter(1 << 24), [], 0
            while not frames or frames[-1]:
                data = connection.recv(1 << 16)
                size += len(data)
                if not data or size > read:
                    return
                frames += splitter.feed(data)
            envelope = decode_envelope(frames[0])
            got.append((envelope.sender, envelope.recipients, b"".join(frames[1:])))
            if answer is not None:
                connection.sendall(frame(answer))

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    serve(connection)

        folder = os.open(self.path / "run", os.O_PATH)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{folder}/queue.sock")
            listener.listen()
            thread = threading.Thread(target=accept)
            thread.start()
            try:
                yield got
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join(PATIENCE)
        os.close(folder)


def message(size):
    return (b"0123456789abcde\n" * (size // 16 + 1))[: size - size % 16] + b"x" * (size % 16)


ENVELOPE = b"Fs@x\0Ta@b\0Tc@d\0\0"
KEEP = "cat > message; cat <&1 > envelope"


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


# Through the queue service and the drop.


@pytest.mark.parametrize("size", [0, 20, LARGE])
def test_to_the_queue_service(home, size):
    with home.queue(b"K17") as got:
        said = home.run(size=size)
    assert said["heard"] == [["K", "17"]]
    assert got == [(b"s@x", [b"a@b", b"c@d"], message(size))]
    assert home.dropped() == []
    assert said["slow"] == []


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        (b"Denvelope address too long for qq (#5.1.3)", "D envelope address too long for qq (#5.1.3)"),
        (
            b"Zqueue disk is nearly full, try again later (#4.3.1)",
            "Z queue disk is nearly full, try again later (#4.3.1)",
        ),
        (b"Zmail system is stopping, try again later (#4.3.2)", "Z mail system is stopping, try again later (#4.3.2)"),
    ],
)
def test_what_the_queue_says_is_final(home, answer, heard):
    with home.queue(answer):
        assert home.hear() == heard
    assert home.dropped() == []


def test_a_home_with_a_long_path(tmp_path):
    """The address of a socket has at most 107 bytes."""
    home = Home(tmp_path / ("x" * 100) / "home")
    with home.queue(b"K1") as got:
        assert home.hear() == "K 1"
    assert len(got) == 1


@pytest.mark.parametrize("size", [0, 20, LARGE])
@pytest.mark.parametrize(
    "how",
    [
        lambda _: contextlib.nullcontext(),
        lambda home: home.queue(None),
        lambda home: home.queue(b"nonsense"),
        lambda home: home.queue(None, read=0),
        lambda home: home.queue(None, read=LARGE // 2),
    ],
    ids=["not there", "no answer", "nonsense", "hangs up at once", "hangs up midway"],
)
def test_a_queue_that_fails_leaves_it_to_the_drop(home, how, size):
    """The message whole, though a part of it had been sent; SIGPIPE, which programs let kill them, does not."""
    with how(home):
        said = home.run(size=size, default=True)
    assert said["heard"] == [["K", str(said["pid"])]]
    assert home.dropped() == [(b"s@x", [b"a@b", b"c@d"], message(size))]
    assert said["pipe"]


def test_a_large_message_is_not_written_twice(home):
    """Nobody was there to take a part of it: it goes straight into the drop, and needs no room elsewhere."""
    assert home.hear(size=LARGE, env={"TMPDIR": "/nonexistent"})[0] == "K"
    assert home.dropped()[0][2] == message(LARGE)


def test_a_large_message_that_could_not_be_kept(home):
    with home.queue(None):
        assert home.hear(size=LARGE, env={"TMPDIR": "/nonexistent"}) == "Z qq trouble creating files in queue (#4.3.0)"
    assert home.dropped() == []


@pytest.mark.parametrize("size", [20, LARGE])
@pytest.mark.parametrize("error", ["gone", "os", "missing"])
@pytest.mark.parametrize("served", [True, False])
def test_a_message_whose_source_fails(home, error, size, served):
    with home.queue(b"K1") if served else contextlib.nullcontext([]) as got:
        ((kind, _),) = home.run(size=size, error=error)["heard"]
    assert kind == {"gone": "Gone", "os": "OSError", "missing": "FileNotFoundError"}[error]
    assert got == []
    assert home.dropped() == []


LONGEST = "x" * (MAX_ADDRESS - 2) + "@b"


@pytest.mark.parametrize("served", [True, False])
@pytest.mark.parametrize(
    ("sender", "recipients", "heard"),
    [
        (LONGEST, [LONGEST], "K"),
        ("", [], "K"),
        (LONGEST + "b", [], "D envelope address too long for qq (#5.1.3)"),
        ("", ["a@b", LONGEST + "b"], "D envelope address too long for qq (#5.1.3)"),
        ("a\0b", [], "D qq permanent problem (#5.3.0)"),
        ("", ["a\0Tb"], "D qq permanent problem (#5.3.0)"),
    ],
)
def test_addresses(home, served, sender, recipients, heard):
    """Nothing may wait in the drop that the queue would not take."""
    with home.queue(b"K1") if served else contextlib.nullcontext([]) as got:
        told = home.hear(sender=sender, recipients=recipients)
    taken = got or home.dropped()
    if heard == "K":
        assert told[0] == "K"
        assert [entry[:2] for entry in taken] == [(sender.encode(), [r.encode() for r in recipients])]
    else:
        assert told == heard
        assert taken == []


def test_an_envelope_that_no_queue_would_take(home):
    from quail.queue.submit import submit

    many = [b"x" * 990 + b"@localhost"] * (MAX_ENVELOPE // 1002 + 1)
    reply = submit(b"", many, [], home=str(home.path))
    assert (reply.letter, reply.text) == (b"D", b"mail server permanently rejected message (#5.3.0)")
    assert home.dropped() == []


def test_neither_queue_nor_drop(home):
    (home.path / "queue/drop").rmdir()
    assert home.hear() == "Z qq trouble creating files in queue (#4.3.0)"
    (home.path / "queue").rmdir()
    (home.path / "queue").write_text("")
    assert home.hear() == "Z qq trouble creating files in queue (#4.3.0)"


def test_no_home(tmp_path):
    home = Home(tmp_path / "home")
    (tmp_path / "home").rename(tmp_path / "moved")
    assert home.hear() == "Z qq trouble in home directory (#4.3.0)"
    assert home.hear("bin/queue-program") == "Z qq trouble in home directory (#4.3.0)"


def test_no_room_in_the_drop(home):
    """Files may have no bytes: for want of a full disk."""
    told = {"home": str(home.path), "size": 20, "sender": "", "recipients": [], "times": 1}
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", sys.executable, "-I", "-S", "-c", DRIVER, json.dumps(told)],
        capture_output=True, env={}, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout)["heard"] == [["Z", "qq write error or disk full (#4.3.0)"]]
    assert home.dropped() == []


# Through a program.


@pytest.mark.parametrize("size", [0, 20, LARGE])
def test_to_a_program(home, size):
    command = home.program(f"{KEEP}; echo $$ > pid; pwd > cwd; echo $# > arguments; echo $QMAILHOME > told")
    with home.queue(b"K1") as got:
        said = home.run(command, size=size)
    read = {path.name: path.read_bytes() for path in home.path.iterdir() if path.is_file()}
    assert said["heard"] == [["K", read["pid"].decode().strip()]]
    assert read["message"] == message(size)
    assert read["envelope"] == ENVELOPE
    assert read["arguments"] == b"0\n"
    assert read["cwd"] == read["told"] == f"{home.path}\n".encode()
    assert got == home.dropped() == []


def test_signals_are_as_programs_expect_them(home):
    """SIGPIPE and SIGXFSZ, which Python ignores, end it; else a shell's pipelines hang."""
    command = home.program(f"{KEEP}; grep SigIgn /proc/self/status > signals")
    assert home.hear(command)[0] == "K"
    assert not signals.of_mask((home.path / "signals").read_text().split()[1])


def test_a_path_that_is_not_relative(home):
    home.program(KEEP)
    assert home.hear(f"{home.path}/bin/queue-program")[0] == "K"


@pytest.mark.parametrize("command", ["", "queue-program", "bin", "bin/none", "bin/text", "bin/nonsense", "cat"])
def test_a_program_that_cannot_be_run(home, command):
    """PATH is not searched, and no shell tries what the system will not run."""
    home.program("exit 0")
    (home.path / "bin/text").write_text("exit 0\n")
    (home.path / "bin/nonsense").write_text("exit 0\n")
    (home.path / "bin/nonsense").chmod(0o755)
    assert home.hear(command, env={"PATH": f"{home.path}/bin:/usr/bin:/bin"}) == "Z unable to exec qq (#4.3.0)"
    assert home.dropped() == []


@pytest.mark.parametrize("size", [20, LARGE])
@pytest.mark.parametrize("reads", [KEEP, "head -c 10 > message", ":", "exec 0<&- 1<&-"])
def test_every_exit_code_whatever_it_has_read(home, reads, size):
    from quail.queue import exits

    command = home.program(f'{reads}\ncode=$(cat count); echo $((code + 1)) > count; exit "$code"')
    (home.path / "count").write_text("1\n")
    said = home.run(command, size=size, times=255, default=True)
    expected = [exits.reply(code) for code in range(1, 256)]
    assert said["heard"] == [[reply.letter.decode(), reply.text.decode()] for reply in expected]
    assert said["pipe"]
    assert said["files"] == home.run(home.program("exit 1"))["files"]  # none is left open by any of them


def test_exit_zero_without_having_read_the_message(home):
    """What it did not read can't have been queued."""
    for reads in ("exec 0<&-; cat <&1 > envelope", "head -c 10 > message; exec 0<&-; cat <&1 > envelope"):
        assert home.hear(home.program(reads), size=LARGE) == "Z qq read error (#4.3.0)"
        assert (home.path / "envelope").read_bytes() == b""


def test_exit_zero_without_having_read_the_envelope(home):
    """It is longer than a pipe holds; who has read a shorter one can't be told from who has not."""
    many = ["r" * 80 + "@x"] * 1000
    command = home.program("cat > message; head -c 10 <&1 > envelope")
    assert home.hear(command, recipients=many) == "Z qq read error (#4.3.0)"
    assert (home.path / "envelope").read_bytes() == b"Fs@x\0Trrrr"


@pytest.mark.parametrize("body", ["read line < wait", "cat > message; read line < wait", "exec 0<&-; read line < wait"])
def test_a_program_that_never_comes_to_an_end(home, body):
    """It has a day, which is shortened here."""
    os.mkfifo(home.path / "wait")
    assert home.hear(home.program(body), size=LARGE, limit=0.3) == "Z qq timeout (#4.3.0)"


@pytest.mark.parametrize("size", [20, LARGE])
@pytest.mark.parametrize("number", ["TERM", "KILL", "SEGV", "PIPE"])
def test_killed(home, number, size):
    assert home.hear(home.program(f"ulimit -c 0; kill -{number} $$"), size=size) == "Z qq crashed (#4.3.0)"


@pytest.mark.parametrize(
    ("body", "heard"),
    [
        (f"{KEEP}; printf 'Dvirus found (#5.7.1)\\n' >&6; exit 82", "D virus found (#5.7.1)"),
        ("printf 'Zlater (#4.7.1)' >&6; exit 82", "Z later (#4.7.1)"),
        (f"printf 'Dno ' >&6; {KEEP}; printf 'thanks' >&6; exit 82", "D no thanks"),
        (f"{KEEP}; printf 'Dhear me' >&6; exit 31", "D mail server permanently rejected message (#5.3.0)"),
        (f"{KEEP}; exec 6>&-; exit 82", "Z qq temporary problem (#4.3.0)"),
        (f"exec 6>&-; {KEEP}; exit 82", "Z qq temporary problem (#4.3.0)"),
        ("head -c 1000000 /dev/zero | tr '\\0' D >&6; exit 82", "D " + "D" * 254),
        (f"head -c 1000000 /dev/zero | tr '\\0' D >&6; {KEEP}; exit 82", "D " + "D" * 254),
    ],
)
@pytest.mark.parametrize("size", [20, LARGE])
def test_words_of_its_own(home, body, heard, size):
    """It may say more than a pipe holds, before, while and after it reads."""
    assert home.hear(home.program(body), size=size) == heard


def test_who_it_leaves_behind_does_not_hold_us_up(home):
    """A process in the background has its descriptors, reads nothing and ends when the pipe that it waits at is closed."""
    os.mkfifo(home.path / "wait")
    command = home.program("(read line < wait) <&0 2> errors & printf 'Dno' >&6; exit 82")
    try:
        assert home.hear(command, size=LARGE) == "D no"
    finally:
        os.close(os.open(home.path / "wait", os.O_RDWR))


@pytest.mark.parametrize("error", ["gone", "os"])
def test_an_abandoned_message_has_no_envelope(home, error):
    """Which is how qmail-queue knows that it is none."""
    ((kind, _),) = home.run(home.program(KEEP), size=70_000, error=error)["heard"]
    assert kind == {"gone": "Gone", "os": "OSError"}[error]
    assert (home.path / "message").read_bytes() == message(70_000)
    assert (home.path / "envelope").read_bytes() == b""


def test_a_parent_that_ignores_its_children(home):
    """As some servers do that start mail programs: the exit code is there all the same."""
    assert home.hear(home.program("exit 31"), childless=True)[0] == "D"


def test_descriptors_of_ours_are_not_the_programs(home):
    """0, 1, 4 and 6 are; 2 is inherited."""
    home.hear(home.program(f"{KEEP}; exec ls /proc/self/fd > descriptors"))
    assert (home.path / "descriptors").read_text().split() == ["0", "1", "2", "3", "4", "6"]  # 3 is the folder itself


def test_no_process_can_be_had(home):
    told = {"home": str(home.path), "size": 20, "sender": "", "recipients": [], "times": 1}
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 6; exec "$@"', "sh", sys.executable, "-I", "-S", "-c", DRIVER, json.dumps(told)],
        capture_output=True, env={"QMAILQUEUE": "bin/x"}, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout)["heard"] == [["Z", "unable to run qmail-queue (#4.3.0)"]]


def test_a_process_that_cannot_be_watched(home):
    """It is left to end without an envelope."""
    heard = home.hear(home.program(KEEP), refuses=("pidfd_open", "OSError"))
    assert heard == "Z unable to run qmail-queue (#4.3.0)"
    assert (home.path / "envelope").read_bytes() == b""


def test_an_exit_code_that_is_lost(home):
    """Somebody else has waited for the process."""
    home.children = "left"
    assert home.hear(home.program(KEEP), refuses=("waitpid", "ChildProcessError")) == "Z qq waitpid surprise (#4.3.0)"


def test_addresses_that_would_be_several(home):
    assert home.hear(home.program(KEEP), recipients=["a\0Tb"]) == "D qq permanent problem (#5.3.0)"
    assert not (home.path / "envelope").exists()


def test_more_recipients_than_a_queue_would_take(home):
    from quail.queue.submit import submit

    reply = submit(b"", [b"a@b"] * (MAX_RECIPIENTS + 1), [], home=str(home.path))
    assert (reply.letter, reply.text) == (b"D", b"too many recipients (#5.5.3)")
    assert home.dropped() == []
