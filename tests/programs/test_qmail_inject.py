"""qmail-inject as a process: what a program in the queue's place gets from it, what it prints, and how it ends."""

import os
import re
import subprocess
import sys
import time

import pytest
from launch import launch

from quail.queue.handover import decode_envelope

PATIENCE = 60
CONTROL = {"me": "mx.example.com", "defaultdomain": "example.com", "plusdomain": "corp.net"}
GIVEN = b"Date: d\nMessage-ID: <i@x>\nFrom: f@g.h\n"


class Home:
    """A home with control files, and a program that stands for the queue: it keeps what it gets."""

    def __init__(self, path):
        self.path = path
        for folder in ("control", "run", "queue/drop"):
            (path / folder).mkdir(parents=True)
        for name, value in CONTROL.items():
            (path / "control" / name).write_text(value + "\n")
        self.queue_program("")

    def queue_program(self, then):
        """`then` is what it does, as shell commands, after it has taken everything."""
        program = self.path / "keep"
        program.write_text(f"#!/bin/sh\ncat > {self.path}/message\ncat <&1 > {self.path}/envelope\n{then}\n")
        program.chmod(0o755)

    def env(self, **more):
        return {"QMAILHOME": str(self.path), "QMAILQUEUE": str(self.path / "keep"), "USER": "joe", **more}

    def run(self, message, *args, **env):
        return launch("qmail-inject", *args, stdin=message, env=self.env(**env), cwd=self.path, timeout=PATIENCE)

    def queued(self):
        """(message, sender, recipients), once."""
        message, envelope = self.path / "message", self.path / "envelope"
        data = envelope.read_bytes()
        assert data.endswith(b"\0\0")
        sender, *recipients = data[:-2].split(b"\0")
        assert sender[:1] == b"F"
        assert all(recipient[:1] == b"T" for recipient in recipients)
        found = message.read_bytes(), sender[1:], [recipient[1:] for recipient in recipients]
        message.unlink()
        envelope.unlink()
        return found

    def sends(self, message, *args, **env):
        """What the queue gets of a message that is taken."""
        done = self.run(message, *args, **env)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        return self.queued()

    def prints(self, message, *args, **env):
        """What it prints with -n; nothing is queued."""
        done = self.run(message, "-n", *args, **env)
        assert (done.returncode, done.stderr) == (0, b"")
        assert not (self.path / "envelope").exists()
        return done.stdout

    def fails(self, message, *args, **env):
        """Exit code and what it says. Nothing is queued."""
        done = self.run(message, *args, **env)
        assert done.stdout == b""
        assert not (self.path / "envelope").exists()
        return done.returncode, done.stderr


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def field(message, name):
    """The one field of this name."""
    (found,) = re.findall(rb"^%b: (.*(?:\n[ \t].*)*)$" % name, message.split(b"\n\n")[0], flags=re.MULTILINE)
    return found


# The vectors of the facts, section 15.1


@pytest.mark.parametrize(
    ("message", "env", "name", "expected"),
    [
        (b"", {"NAME": 'Joe "X" Blow'}, b"From", rb'"Joe \"X\" Blow" <joe@mx.example.com>'),
        (b"", {"NAME": "Joe Blow", "QMAILINJECT": "c"}, b"From", b"joe@mx.example.com (Joe Blow)"),
        (b"To: a, b@c, d@e.f, g@h+\n", {}, b"To", b"a@mx.example.com, b@c.example.com, d@e.f, g@h.corp.net"),
        (
            b'To: a@., b@, c@[1.2.3.4], "d e"@x, <>, <@r:>\n',
            {},
            b"To",
            b'a@mx.example.com, b@mx.example.com, c@[1.2.3.4], "d e"@x.example.com, <>,\n  <>',
        ),
        (b"To: John Q. Public <@route:jq@x.y> (hey)\n", {}, b"To", b"John Q.Public <jq@x.y>(hey)"),
        (b"To: Group: g1@x, g2;\n", {}, b"To", b"Group: g1@x.example.com, g2@mx.example.com;"),
        (b"Return-Path: <rp@x>\n", {"QMAILINJECT": "r"}, b"Return-Path", b"<rp@x.example.com-@[]>"),
    ],
)
def test_fields_of_the_worked_vectors(home, message, env, name, expected):
    printed = home.prints(message, "-h", **env)
    if name == b"Return-Path":
        expected = b'<"rp@x.example.com-"@[]>'
        assert home.sends(message, **env)[1] == b"rp@x.example.com-@[]"
    assert field(printed, name) == expected


def test_senders_of_the_worked_vectors(home):
    before = int(time.time())
    _, sender, _ = home.sends(b"", QMAILINJECT="rm")
    assert (found := re.fullmatch(rb"joe-(\d+)\.\d+-@mx\.example\.com-@\[\]", sender))
    assert before <= int(found[1]) <= time.time()
    assert re.match(rb'Return-Path: <"joe-\d+\.\d+-@mx\.example\.com-"@\[\]>\n', home.prints(b"", QMAILINJECT="rm"))
    assert home.sends(b"", "-f", "ff", QMAILINJECT="r")[1] == b"ff@mx.example.com"
    _, sender, _ = home.sends(b"", QMAILSUSER="su", QMAILSHOST="sh.x", QMAILINJECT="m")
    assert re.fullmatch(rb"su-\d+\.\d+@sh\.x", sender)


def test_messages_of_the_worked_vectors(home):
    message, sender, recipients = home.sends(b"Resent-To: zz\nBcc: q\n\n")
    names = [line.partition(b":")[0] for line in message.splitlines()]
    assert names == [b"Resent-Date", b"Resent-Message-ID", b"Resent-From", b"Resent-To", b""]
    assert (sender, recipients) == (b"joe@mx.example.com", [b"zz@mx.example.com"])
    message, _, _ = home.sends(b"From me Sat\nX: 1\njunk line\n")
    assert message.endswith(b"\nMBOX-Line: From me Sat\nX: 1\n\njunk line\n")


# What it makes itself


def test_the_time_and_the_process_are_its_own(home):
    before = int(time.time())
    with subprocess.Popen(
        [sys.executable, "-m", "quail.programs.qmail.qmail_inject", "-n"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=home.env(),
    ) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        assert process.wait(PATIENCE) == 0
    seconds = range(before, int(time.time()) + 1)
    dates = {time.strftime("%-d %b %Y %H:%M:%S -0000", time.gmtime(second)).encode() for second in seconds}
    stamps = {time.strftime("%Y%m%d%H%M%S", time.gmtime(second)).encode() for second in seconds}
    assert field(printed, b"Date") in dates
    assert field(printed, b"Message-ID") in {b"<%b.%d.qmail@mx.example.com>" % (stamp, process.pid) for stamp in stamps}


# Arguments


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], [b"a", b"b"]),
        (["x"], [b"x"]),
        (["-A", "x"], [b"x"]),
        (["-a"], []),
        (["-a", "x", "y"], [b"x", b"y"]),
        (["-h", "x"], [b"a", b"b"]),
        (["-H", "x"], [b"x", b"a", b"b"]),
        (["-aNh", "x"], [b"a", b"b"]),
        (["-nN", "x"], [b"x"]),
        (["x", "-h"], [b"x", b"-h"]),
        (["--", "-h"], [b"-h"]),
    ],
)
def test_recipients(home, args, expected):
    _, sender, recipients = home.sends(GIVEN + b"To: a\nBcc: b\n\n", *args)
    assert sender == b"joe@mx.example.com"
    assert recipients == [name + b"@mx.example.com" for name in expected]


@pytest.mark.parametrize(
    ("args", "sender"),
    [
        (["-f", "s@x.y"], b"s@x.y"),
        (["-fs"], b"s@mx.example.com"),
        (["-hfs"], b"s@mx.example.com"),
        (["-f", ""], b""),
        (["-f", "<>"], b""),
        (["-f", b"s\xff@x.y"], b"s\xff@x.y"),
    ],
)
def test_sender(home, args, sender):
    assert home.sends(b"To: a\n\n", *args)[1] == sender


@pytest.mark.parametrize("args", [["-z"], ["-f"], ["-af"], ["-a-"], ["-n\xe9"]])
def test_wrong_calls(home, args):
    code, said = home.fails(b"To: a\n\n", *args)
    assert code == 100
    assert said == b"qmail-inject: usage: qmail-inject [ -nNaAhH ] [ -fsender ] [ recip ... ]\n"


# The message


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"\nhello\n", b"\n\0\r\n\xff\n.\nFrom x\n", b"\n" + b"0123456789abcde\n" * 300_000]
)
def test_the_body_is_passed_on_as_it_is(home, body):
    message, _, _ = home.sends(GIVEN + b"To: a@b.c\n" + body)
    assert message == GIVEN + b"To: a@b.c\n" + body


@pytest.mark.parametrize("size", [1, 65_535 - len(GIVEN), 65_536 - len(GIVEN), 200_000])
def test_a_last_line_gets_its_end(home, size):
    head = GIVEN + b"To: a@b.c\n\n"
    message, _, _ = home.sends(head + b"x" * size)
    assert message == head + b"x" * size + b"\n"
    assert home.prints(head + b"x" * size).endswith(b"xx\n" if size > 1 else b"\n\nx\n")


def test_the_body_is_not_waited_for(home):
    """The queue has the header, and what there is of the body, while more is to come."""
    os.mkfifo(home.path / "first")
    head = GIVEN + b"To: a@b.c\n\n"
    (home.path / "keep").write_text(
        f"#!/bin/sh\nhead -c {len(head) + 5} > {home.path}/first\ncat > {home.path}/message\ncat <&1 > {home.path}/envelope\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "quail.programs.qmail.qmail_inject"],
        stdin=subprocess.PIPE,
        env=home.env(PATH="/usr/bin:/bin"),
    ) as process:
        assert process.stdin is not None
        process.stdin.write(head + b"hello")
        process.stdin.flush()
        first = subprocess.run(["cat", home.path / "first"], capture_output=True, check=True, timeout=PATIENCE)
        assert first.stdout == head + b"hello"
        process.stdin.write(b", world\n")
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    assert home.queued() == (b", world\n", b"joe@mx.example.com", [b"a@b.c"])


def test_without_a_queue_program_it_goes_to_the_queue(home):
    """Whose service does not run here: the drop has it."""
    env = home.env()
    del env["QMAILQUEUE"]
    done = launch("qmail-inject", "b@c.d", stdin=GIVEN + b"To: a\n\nhello", env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    (dropped,) = (home.path / "queue/drop").iterdir()
    data = dropped.read_bytes()
    size = int.from_bytes(data[:4], "big")
    envelope = decode_envelope(data[4 : 4 + size])
    assert (envelope.sender, envelope.recipients) == (b"joe@mx.example.com", [b"b@c.d"])
    assert data[4 + size :] == GIVEN + b"To: a@mx.example.com\n\nhello\n"


# The environment


def test_every_variable_of_the_author(home):
    for variables, user in (
        ({"LOGNAME": "l"}, b"l"),
        ({"LOGNAME": "l", "USER": "u"}, b"u"),
        ({"USER": "u", "MAILUSER": "m"}, b"m"),
        ({"USER": "u", "MAILUSER": "m", "QMAILUSER": "q"}, b"q"),
        ({}, b"anonymous"),
    ):
        env = home.env(**variables)
        if "USER" not in variables:
            del env["USER"]
        done = launch("qmail-inject", "-n", env=env)
        assert field(done.stdout, b"From") == user + b"@mx.example.com"
    assert field(home.prints(b"", MAILHOST="m"), b"From") == b"joe@m.example.com"
    assert field(home.prints(b"", MAILHOST="m", QMAILHOST="q.x"), b"From") == b"joe@q.x"
    names = {"NAME": "A", "MAILNAME": "B", "QMAILNAME": "Jo\udcffe"}
    assert field(home.prints(b"", **names), b"From") == b'"Jo\xffe" <joe@mx.example.com>'
    del names["QMAILNAME"]
    assert field(home.prints(b"", **names), b"From") == b'"B" <joe@mx.example.com>'
    assert field(home.prints(b"", NAME="A"), b"From") == b'"A" <joe@mx.example.com>'


def test_variables_of_the_sender(home):
    assert home.sends(b"", QMAILSUSER="s")[1] == b"s@mx.example.com"
    assert home.sends(b"", QMAILSHOST="h.x")[1] == b"joe@h.x"
    assert home.sends(b"Return-Path: <r@x.y>\n", QMAILSUSER="s")[1] == b"r@x.y"
    assert home.sends(b"Return-Path: <r@x.y>\n", QMAILSUSER="s", QMAILINJECT="s")[1] == b"s@mx.example.com"


def test_letters_that_replace_fields(home):
    printed = home.prints(GIVEN, QMAILINJECT="fi")
    assert field(printed, b"From") == b"joe@mx.example.com"
    assert field(printed, b"Message-ID").endswith(b".qmail@mx.example.com>")
    assert field(printed, b"Date") == b"d"


def test_hosts_from_the_environment_go_before_the_files(home):
    hosts = {"DEFAULTHOST": "dh", "DEFAULTDOMAIN": "dd.x", "PLUSDOMAIN": "pd.x", "IDHOST": "id.x"}
    printed = home.prints(b"To: a, b@c, d@e+\n", **{f"QMAIL{name}": value for name, value in hosts.items()})
    assert field(printed, b"To") == b"a@dh.dd.x, b@c.dd.x, d@e.pd.x"
    assert field(printed, b"Message-ID").endswith(b".qmail@id.x>")


def test_mail_followup_to(home):
    (home.path / "lists").write_bytes(b"# mine\nlist@x.y  \n\nTeam@MX.example.com\n")
    both = field(home.prints(b"To: list@x.y, me\n", QMAILMFTFILE="lists"), b"Mail-Followup-To")
    assert both == b"list@x.y,\n  me@mx.example.com"
    assert b"Mail-Followup-To: team@mx.example.com\n" in home.prints(
        b"Cc: team\n", QMAILMFTFILE=str(home.path / "lists")
    )
    assert b"Mail-Followup-To" not in home.prints(b"To: mine@x.y\n", QMAILMFTFILE="lists")
    assert b"Mail-Followup-To" not in home.prints(b"To: list@x.y\n", QMAILMFTFILE="no-such-file")
    assert b"Mail-Followup-To" not in home.prints(b"To: list@x.y\n", QMAILMFTFILE="")
    code, said = home.fails(b"To: list@x.y\n", QMAILMFTFILE="control")
    assert (code, said) == (111, b"qmail-inject: fatal: control: cannot be read: Is a directory\n")


# Control files


def test_each_control_file(home):
    for name in ("defaulthost", "idhost"):
        (home.path / "control" / name).write_text(f"{name}.x\n")
    printed = home.prints(b"To: a, b@c, d@e+\n")
    assert field(printed, b"To") == b"a@defaulthost.x, b@c.example.com, d@e.corp.net"
    assert field(printed, b"Message-ID").endswith(b".qmail@idhost.x>")


def test_me_stands_for_all_of_them(home):
    for name in ("defaultdomain", "plusdomain"):
        (home.path / "control" / name).unlink()
    printed = home.prints(b"To: a, b@c, d@e+\n")
    assert field(printed, b"To") == b"a@mx.example.com, b@c.mx.example.com, d@e.mx.example.com"
    assert field(printed, b"Message-ID").endswith(b".qmail@mx.example.com>")


def test_without_any_they_stand_for_themselves(home):
    for name in CONTROL:
        (home.path / "control" / name).unlink()
    printed = home.prints(b"To: a, b@c, d@e+\n")
    assert field(printed, b"To") == b"a@defaulthost.defaultdomain, b@c.defaultdomain, d@e.plusdomain"
    assert field(printed, b"Message-ID").endswith(b".qmail@idhost>")


def test_a_file_that_cannot_be_meant_stops_the_mail_that_needs_it(home):
    (home.path / "control/plusdomain").write_bytes(b"corp.net\r\n")
    assert home.sends(b"To: a, b@c\n")[2] == [b"b@c.example.com", b"a@mx.example.com"]
    code, said = home.fails(b"To: a@b+\n")
    assert code == 111
    assert said.startswith(
        b"qmail-inject: fatal: %b/control/plusdomain line 1: ends in a carriage return" % bytes(home.path)
    )
    (home.path / "control/plusdomain").write_bytes(b"corp net\n")
    assert home.fails(b"To: a@b+\n", "-a", "x") == (100, b"qmail-inject: fatal: unable to parse address: @corp net\n")


# Failures


@pytest.mark.parametrize(
    ("message", "args", "env", "text"),
    [
        (b'To: "joe\n\n', [], {}, b'unable to parse this line:\nTo: "joe'),
        (b"Cc: a,\n (b\nTo: c\n\n", ["-H", "x"], {}, b"unable to parse this line:\nCc: a,\n (b"),
        (b'From: "\xff\n', ["-a", "x"], {}, b'unable to parse this line:\nFrom: "\xff'),
        (b"", ["-a", "a@b c"], {}, b"unable to parse address: a@b c"),
        (b"", ["-f", b"a@b\xff c"], {}, b"unable to parse address: a@b\xff c"),
        (b"", [], {"QMAILHOST": "b c"}, b"unable to parse address: joe@b c"),
        (b"X: " + b"x" * (8 << 20), [], {}, b"header is longer than 8388608 bytes"),
    ],
)
def test_what_is_refused_for_good(home, message, args, env, text):
    assert home.fails(message, *args, **env) == (100, b"qmail-inject: fatal: " + text + b"\n")


def test_fields_that_are_no_lists_are_left_alone_with_a(home):
    message, _, recipients = home.sends(GIVEN + b'To: "joe\n\n', "-a", "x")
    assert message == GIVEN + b'To: "joe\n\n'
    assert recipients == [b"x@mx.example.com"]


QUEUE_TEXTS = {
    11: b"Denvelope address too long for qq (#5.1.3)",
    115: b"Denvelope address too long for qq (#5.1.3)",
    31: b"Dmail server permanently rejected message (#5.3.0)",
    12: b"Dqq permanent problem (#5.3.0)",
    40: b"Dqq permanent problem (#5.3.0)",
    51: b"Zqq out of memory (#4.3.0)",
    52: b"Zqq timeout (#4.3.0)",
    53: b"Zqq write error or disk full (#4.3.0)",
    54: b"Zqq read error (#4.3.0)",
    55: b"Zqq unable to read configuration (#4.3.0)",
    56: b"Zqq trouble making network connection (#4.3.0)",
    61: b"Zqq trouble in home directory (#4.3.0)",
    62: b"Zqq trouble creating files in queue (#4.3.0)",
    66: b"Zqq trouble creating files in queue (#4.3.0)",
    71: b"Zmail server temporarily rejected message (#4.3.0)",
    72: b"Zconnection to mail server timed out (#4.4.1)",
    73: b"Zconnection to mail server rejected (#4.4.1)",
    74: b"Zcommunication with mail server failed (#4.4.2)",
    81: b"Zqq internal bug (#4.3.0)",
    82: b"Zqq temporary problem (#4.3.0)",
    91: b"Zqq internal bug (#4.3.0)",
    120: b"Zunable to exec qq (#4.3.0)",
    1: b"Zqq temporary problem (#4.3.0)",
    99: b"Zqq temporary problem (#4.3.0)",
}


@pytest.mark.parametrize(
    ("then", "expected"),
    [(f"exit {code}", text) for code, text in QUEUE_TEXTS.items()]
    + [
        ("printf 'Dnot wanted (#5.7.1)' >&6; exit 82", b"Dnot wanted (#5.7.1)"),
        ("printf 'Znot now (#4.7.1)' >&6; exit 82", b"Znot now (#4.7.1)"),
        ("kill -KILL $$", b"Zqq crashed (#4.3.0)"),
    ],
)
def test_what_the_queue_says(home, then, expected):
    home.queue_program(then)
    done = home.run(b"To: a\n\n")
    assert done.stdout == b""
    assert done.stderr == b"qmail-inject: fatal: " + expected[1:] + b"\n"
    assert done.returncode == (100 if expected[:1] == b"D" else 111)


def test_a_queue_program_that_is_not_there(home):
    assert home.fails(b"To: a\n\n", QMAILQUEUE="bin/no-such") == (
        111,
        b"qmail-inject: fatal: unable to exec qq (#4.3.0)\n",
    )


def test_a_message_that_cannot_be_read(home):
    unreadable = os.open(home.path / "unreadable", os.O_WRONLY | os.O_CREAT)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "quail.programs.qmail.qmail_inject", "a"],
            stdin=unreadable,
            capture_output=True,
            env=home.env(),
            check=False,
            timeout=PATIENCE,
        )
    finally:
        os.close(unreadable)
    assert (done.returncode, done.stderr) == (111, b"qmail-inject: fatal: read error\n")
    assert not (home.path / "envelope").exists()


def test_a_message_that_cannot_be_read_to_its_end_is_abandoned(home):
    """A queue program gets an envelope without its end."""
    code = (
        "from quail.programs.qmail import qmail_inject\n"
        "from quail.errors import TemporaryError\n"
        "pieces = [b'To: a\\n\\nhello']\n"
        "def read():\n"
        "    if pieces:\n"
        "        return pieces.pop()\n"
        "    raise TemporaryError('read error')\n"
        "qmail_inject._read = read\n"
        "qmail_inject.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=home.env(), check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (111, b"qmail-inject: fatal: read error\n")
    assert not (home.path / "envelope").read_bytes().endswith(b"\0\0")


def test_in_another_program(home):
    """As sendmail calls it: arguments as they are, the rest from the process."""
    code = (
        "import sys\n"
        "from quail.programs.qmail.qmail_inject import inject\n"
        "from quail.errors import QuailError\n"
        "try:\n"
        "    print(inject([b'-a', b'x@y.z']), inject([b'x@y z']))\n"
        "except QuailError as error:\n"
        "    print(error.exit_code, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=GIVEN, capture_output=True, env=home.env(), check=True, timeout=PATIENCE
    )
    assert done.stdout == b"100 unable to parse address: x@y z\n"
    assert home.queued() == (b"Cc: recipient list not shown: ;\n" + GIVEN, b"joe@mx.example.com", [b"x@y.z"])


def test_it_starts_lean(home):
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + "/src"
    code = (
        f"import sys; sys.path.append({source!r})\n"
        "from quail.programs.qmail.qmail_inject import inject\n"
        "inject([b'-n', b'a'])\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, env=home.env(), check=True, timeout=PATIENCE
    )
    loaded = set(done.stderr.decode().split())
    assert "quail.message.addresslist" in loaded
    slow = {"re", "enum", "signal", "socket", "contextlib", "collections", "typing", "subprocess", "pathlib", "select"}
    assert loaded & slow == set()
