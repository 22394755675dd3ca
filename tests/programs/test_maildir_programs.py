"""maildirmake, maildir2mbox with the readers that begin with it, and maildirwatch, as processes."""

import fcntl
import os
import signal
import stat
import subprocess
import sys

import pytest
from tests.programs.launch import launch, module

DAY = 86_400
WHEN = 1_793_615_263  # Mon Nov 02 10:27:43 2026


def said(done):
    return done.returncode, done.stdout, done.stderr


# maildirmake


def test_maildirmake(tmp_path):
    assert said(launch("maildirmake", "Maildir", "more", cwd=tmp_path)) == (0, b"", b"")
    assert sorted(os.listdir(tmp_path)) == ["Maildir"]
    assert sorted(os.listdir(tmp_path / "Maildir")) == ["cur", "new", "tmp"]
    for folder in ("", "cur", "new", "tmp"):
        assert stat.S_IMODE((tmp_path / "Maildir" / folder).stat().st_mode) == 0o700


def test_maildirmake_of_what_is_there(tmp_path):
    (tmp_path / "box").mkdir()
    (tmp_path / "box/file").write_text("x")
    error = b"maildirmake: fatal: unable to make box: file already exists\n"
    assert said(launch("maildirmake", "box", cwd=tmp_path)) == (111, b"", error)
    assert os.listdir(tmp_path / "box") == ["file"]


def test_maildirmake_called_wrongly_or_in_vain(tmp_path):
    assert said(launch("maildirmake")) == (100, b"", b"maildirmake: usage: maildirmake dir\n")
    error = b"maildirmake: fatal: unable to make none/box: file does not exist\n"
    assert said(launch("maildirmake", "none/box", cwd=tmp_path)) == (111, b"", error)


# maildir2mbox


class Reader:
    """A Maildir and an mbox."""

    def __init__(self, path):
        self.path = path
        self.maildir = path / "Maildir"
        self.mbox = path / "mbox"
        for folder in ("tmp", "new", "cur"):
            (self.maildir / folder).mkdir(parents=True)
        self.environment = {
            "PATH": f"{path}/bin:/usr/bin:/bin", "MAIL": str(self.mbox), "MAILTMP": f"{path}/mbox.tmp",
            "MAILDIR": str(self.maildir),
        }  # fmt: skip

    def put(self, name, data, *, age=0, folder="new"):
        file = self.maildir / folder / name
        file.write_bytes(data)
        os.utime(file, (WHEN - age, WHEN - age))
        return file

    def run(self, name="maildir2mbox", *args, **environment):
        env = {key: value for key, value in (self.environment | environment).items() if value is not None}
        return said(launch(name, *args, env=env, cwd=self.path))

    def left(self):
        return sorted(f"{folder}/{name}" for folder in ("new", "cur") for name in os.listdir(self.maildir / folder))


@pytest.fixture
def reader(tmp_path):
    return Reader(tmp_path)


def line(sender, second=43):
    return f"From {sender} Mon Nov 02 10:27:{second:02d} 2026\n".encode()


def test_messages_are_moved_the_oldest_first(reader):
    reader.mbox.write_bytes(b"From x\n\nold\n\n")
    reader.put("b", b"Return-Path: <s@x.y>\nSubject: 2\n\nFrom here\n>From there\n", age=1)
    reader.put("a", b"Return-Path: <>\n\n3\n")
    reader.put("c:2,S", b"Return-Path: <t@x.y>\n\n1\n", age=2, folder="cur")
    assert reader.run() == (0, b"", b"")
    assert reader.mbox.read_bytes() == (
        b"From x\n\nold\n\n"
        + line("t@x.y", 41) + b"Return-Path: <t@x.y>\n\n1\n\n"
        + line("s@x.y", 42) + b"Return-Path: <s@x.y>\nSubject: 2\n\n>From here\n>>From there\n\n"
        + line("MAILER-DAEMON") + b"Return-Path: <>\n\n3\n\n"
    )  # fmt: skip
    assert reader.left() == []
    assert sorted(os.listdir(reader.path)) == ["Maildir", "mbox"]


@pytest.mark.parametrize(
    ("message", "sender"),
    [
        (b"Return-Path: <s@x>\n\n", "s@x"),
        (b'Return-Path: <"s p"@x>\n\n', '"s-p"@x'),
        (b"return-path:<s@x>\r\n\n", "s@x"),
        (b"Return-Path: s@x\n\n", "s@x"),
        (b"Subject: x\nReturn-Path: <s@x>\n\n", "XXX"),
        (b"", "XXX"),
        (b"no field", "XXX"),
    ],
    ids=str,
)
def test_whom_a_message_is_from(reader, message, sender):
    reader.put("a", message)
    assert reader.run()[0] == 0
    assert reader.mbox.read_bytes().partition(b"\n")[0] == line(sender).rstrip()


def test_a_last_line_without_its_end_is_kept(reader):
    reader.put("a", b"Return-Path: <s@x>\n\nthe last line")
    assert reader.run() == (0, b"", b"")
    assert reader.mbox.read_bytes() == line("s@x") + b"Return-Path: <s@x>\n\nthe last line\n\n"
    assert stat.S_IMODE(reader.mbox.stat().st_mode) == 0o600


def test_a_large_message(reader):
    text = b"Return-Path: <s@x>\n\n" + b"From me\n" * 300_000
    reader.put("a", text)
    assert reader.run()[0] == 0
    assert reader.mbox.read_bytes() == line("s@x") + text.replace(b"From me", b">From me") + b"\n"


def test_what_is_no_message_stays(reader):
    reader.put(".hidden", b"x")
    (reader.maildir / "new/folder").mkdir()
    os.mkfifo(reader.maildir / "new/fifo")
    assert reader.run() == (0, b"", b"")
    assert reader.left() == ["new/.hidden", "new/fifo", "new/folder"]
    assert not reader.mbox.exists()


def test_nothing_new_touches_nothing(reader):
    reader.mbox.mkdir()  # which could not be written to
    assert reader.run() == (0, b"", b"")


def test_tmp_is_cleaned_after_36_hours(reader):
    now = subprocess.run(["date", "+%s"], capture_output=True, check=True, text=True).stdout
    for name, age in (("old", DAY * 3 // 2 + 60), ("young", DAY * 3 // 2 - 600)):
        file = reader.put(name, b"x", folder="tmp")
        os.utime(file, (int(now) - age, int(now) - age))
    assert reader.run() == (0, b"", b"")
    assert os.listdir(reader.maildir / "tmp") == ["young"]


@pytest.mark.parametrize("missing", ["MAIL", "MAILTMP", "MAILDIR"])
def test_without_a_variable(reader, missing):
    reader.put("a", b"x\n")
    assert reader.run(**{missing: None}) == (111, b"", f"maildir2mbox: fatal: {missing} not set\n".encode())
    assert reader.left() == ["new/a"]
    assert said(launch("maildir2mbox")) == (111, b"", b"maildir2mbox: fatal: MAIL not set\n")


def test_what_cannot_be_written_or_read_moves_nothing(reader):
    reader.put("a", b"x\n")
    path = f"{reader.path}/none/mbox"
    error = f"maildir2mbox: fatal: unable to open {path}: file does not exist\n".encode()
    assert reader.run(MAIL=path) == (111, b"", error)
    error = f"maildir2mbox: fatal: {reader.path} is not a file\n".encode()
    assert reader.run(MAIL=str(reader.path)) == (111, b"", error)
    assert reader.run(MAIL="/dev/null") == (111, b"", b"maildir2mbox: fatal: /dev/null is not a file\n")
    error = f"maildir2mbox: fatal: unable to read {reader.path}/none: file does not exist\n".encode()
    assert reader.run(MAILDIR=f"{reader.path}/none") == (111, b"", error)
    assert reader.left() == ["new/a"]


def test_a_full_disk_moves_nothing(reader):
    reader.mbox.write_bytes(b"old\n\n")
    reader.put("a", b"x\n", age=1)
    reader.put("b", b"y\n" * 1_000_000)
    command = f"ulimit -f 100; trap '' XFSZ; exec {sys.executable} -m {module('maildir2mbox')}"
    done = subprocess.run(["bash", "-c", command], env=reader.environment, capture_output=True, timeout=60, check=False)
    assert said(done) == (111, b"", f"maildir2mbox: fatal: unable to write {reader.mbox}: file too big\n".encode())
    assert (reader.mbox.read_bytes(), reader.left()) == (b"old\n\n", ["new/a", "new/b"])


def waits_for_a_lock(pid):
    with open("/proc/locks", encoding="ascii") as file:
        return any("-> FLOCK " in text and f" WRITE {pid} " in text for text in file)


def test_it_waits_for_whoever_has_the_mbox_locked_and_looks_at_the_maildir_then(reader):
    """Another maildir2mbox, for one: each message is moved once."""
    first = reader.put("a", b"x\n")
    reader.mbox.write_bytes(b"")
    with reader.mbox.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen([sys.executable, "-m", module("maildir2mbox")], env=reader.environment)
        while not waits_for_a_lock(process.pid):
            assert process.poll() is None
        first.unlink()
        reader.put("b", b"y\n")
    assert process.wait(60) == 0
    assert reader.mbox.read_bytes() == line("XXX") + b"y\n\n"
    assert reader.left() == []


# elq, pinq, qail


@pytest.mark.parametrize(
    ("name", "readers"), [("elq", ["elm"]), ("pinq", ["pine", "alpine"]), ("qail", ["Mail", "mail"])]
)
def test_mail_is_moved_before_the_reader_starts(reader, name, readers):
    (reader.path / "bin").mkdir()
    for each in reversed(readers):  # the first of them, if it is there
        reader.put("a", b"x\n")
        script = reader.path / "bin" / each
        script.write_text('#!/bin/sh\necho "${0##*/}" "$@" $(grep -c ^From $MAIL) $(ls $MAILDIR/new); exit 7\n')
        script.chmod(0o755)
        assert reader.run(name, "-f", "a b", PATH=f"{reader.path}/bin:/usr/bin:/bin") == (
            7, f"{each} -f a b 1\n".encode(), b"",
        )  # fmt: skip
        reader.mbox.unlink()


@pytest.mark.parametrize(("name", "first"), [("elq", "elm"), ("pinq", "pine"), ("qail", "Mail")])
def test_without_mail_or_without_a_reader(reader, name, first):
    error = f"{name}: fatal: unable to run {first}: file does not exist\n".encode()
    assert reader.run(name, PATH=f"{reader.path}/none") == (111, b"", error)
    reader.put("a", b"x\n")
    error = f"{name}: fatal: MAILTMP not set\n".encode()
    assert reader.run(name, MAILTMP=None) == (111, b"", error)
    (reader.path / "bin").mkdir()
    (reader.path / "bin" / first).write_text("#!/bin/sh\nexit 0\n")
    error = f"{name}: fatal: unable to run {first}: access denied\n".encode()
    if name == "elq":
        assert reader.run(name, PATH=f"{reader.path}/bin") == (111, b"", error)


def test_the_readers_as_programs():
    for name in ("elq", "pinq", "qail"):
        done = launch(name)
        assert said(done) == (111, b"", f"{name}: fatal: MAIL not set\n".encode())
    assert launch("elq").stdout == launch("pinq").stdout == launch("qail").stdout == b""


# maildirwatch

WATCH = """
import sys
from quail.programs.qmail import maildirwatch
maildirwatch._PAUSE = 0.01
maildirwatch.main()
"""
CLEAR = b"\033[H\033[J"


class Watch:
    """A maildirwatch that does not wait half a minute."""

    def __init__(self, reader):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WATCH], env=reader.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._seen = b""

    def until(self, wanted):
        """Screens until there is this one."""
        while wanted not in self._seen.split(CLEAR)[1:-1]:
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data
            self._seen = self._seen[-1_000_000:] + data

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def test_maildirwatch(reader):
    with Watch(reader) as watch:
        watch.until(b"")
        reader.put("a", b"Return-Path: <s@x>\nDelivered-To: joe@y\nSubject: hello\n\nfirst\n\033[2J\n", age=2)
        one = b"*** TO <joe@y> FROM <s@x>\r\n    hello//first/_[2J/\r\n"
        watch.until(one)
        reader.put("b", b"Subject: " + b"x" * 200)
        reader.put("c", b"seen", folder="cur")
        watch.until(one + b"*** TO <> FROM <>\r\n    " + b"x" * 74 + b"\r\n")
        (reader.maildir / "new/a").unlink()
        watch.until(b"*** TO <> FROM <>\r\n    " + b"x" * 74 + b"\r\n")


def test_maildirwatch_shows_the_newest_that_there_is_room_for(reader):
    for number in range(20):
        reader.put(f"m{number}", b"Subject: %d\n\n" % number, age=20 - number)
    with Watch(reader) as watch:
        shown = b"".join(b"*** TO <> FROM <>\r\n    %d//\r\n" % number for number in range(9, 20))
        watch.until(b"(9 more)\r\n" + shown)


def test_maildirwatch_ends_when_its_maildir_does(reader):
    with Watch(reader) as watch:
        watch.until(b"")
        (reader.maildir / "new").rmdir()
        _, error = watch.process.communicate(timeout=60)
        assert (watch.process.returncode, error) == (
            111, f"maildirwatch: fatal: unable to read {reader.maildir}: file does not exist\n".encode(),
        )  # fmt: skip


def test_maildirwatch_ends_when_nobody_looks_or_somebody_interrupts(reader):
    for number in (signal.SIGPIPE, signal.SIGINT):
        with Watch(reader) as watch:
            watch.until(b"")
            if number == signal.SIGINT:
                watch.process.send_signal(number)
            else:
                watch.process.stdout.close()
                watch.process.stdout = None
            assert watch.process.wait(60) == -number


def test_maildirwatch_called_wrongly():
    assert said(launch("maildirwatch")) == (111, b"", b"maildirwatch: fatal: MAILDIR not set\n")
    assert said(launch("maildirwatch", "x")) == (100, b"", b"maildirwatch: usage: maildirwatch\n")
