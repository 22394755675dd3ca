"""sendmail, mailq, newaliases, datemail and mailsubj as processes: every option, and the ways that programs call them."""

import calendar
import re
import subprocess
import sys
import time

import pytest
from tests.programs.launch import launch, module
from tests.programs.queue_home import QueueHome

MESSAGE = b"Subject: x\n\nhello\n"
FULL = b"From: me@x.y\nTo: hdr@x.y\nSubject: x\n\nhello\n"
USAGE = b"sendmail: usage: sendmail [ -t ] [ -fsender ] [ -Fname ] [ -bp ] [ -bs ] [ recipient ... ]\n"


@pytest.fixture
def home(tmp_path):
    made = QueueHome(tmp_path / "home", USER="joe")
    (made.path / "control/defaultdomain").write_text("example.com\n")
    return made


def sent(home, *args, stdin=MESSAGE, **environment):
    """(sender, recipients, From field) of what the queue has got."""
    assert home.run("sendmail", *args, stdin=stdin, **environment) == (0, b"", b"")
    sender, recipients, message = home.taken()
    match = re.search(rb"^From: (.*)$", message, flags=re.MULTILINE)
    return sender, recipients, match[1]


JOE = b"joe@mx.example.com"


@pytest.mark.parametrize(
    ("args", "recipients"),
    [
        (["a@b.c"], [b"a@b.c"]),
        (["a@b.c", "d", "e@f"], [b"a@b.c", b"d@mx.example.com", b"e@f.example.com"]),
        ([], []),
        (["--", "a@b.c"], [b"a@b.c"]),
        (["--", "-t"], [b"-t@mx.example.com"]),
        (["a@b.c", "-t"], [b"a@b.c", b"-t@mx.example.com"]),
        (["-t"], [b"hdr@x.y"]),
        (["-t", "arg@z.w"], [b"arg@z.w", b"hdr@x.y"]),
        (["-t", "--", "arg@z.w"], [b"arg@z.w", b"hdr@x.y"]),
    ],
)
def test_recipients(home, args, recipients):
    """Without -t those of the header are none."""
    assert sent(home, *args, stdin=FULL) == (JOE, recipients, b"me@x.y")


IGNORED = [
    "-v", "-i", "-m", "-x", "-bm", "-vimx",
    "-oi", "-oem", "-odb", "-om", "-oQ/var/spool", "-em", "-ep", "-B8BITMIME", "-B7BIT", "-pESMTP:client",
    "-E", "-Ex", "-J", "-Jtfa", "-iE-q", "-voi", "-imbm",
]  # fmt: skip


@pytest.mark.parametrize("option", IGNORED)
def test_ignored_options(home, option):
    assert sent(home, option, "a@b.c") == (JOE, [b"a@b.c"], JOE)


@pytest.mark.parametrize("option", ["-e", "-p", "-o", "-B", "-bm -o", "-ve", "-b"])
def test_ignored_options_with_a_separate_value(home, option):
    value = "m" if option == "-b" else "-q"  # which is not looked at
    assert sent(home, *option.split(), value, "a@b.c")[1] == [b"a@b.c"]


@pytest.mark.parametrize(
    "args",
    [
        ["-q"], ["-q30m"], ["-r", "a@b"], ["-Ofoo=bar"], ["-N", "never"], ["-R", "hdrs"], ["-bd"], ["-bi"], ["-bt"],
        ["-bv"], ["-b", "d"], ["-iq"], ["-vN"], ["-tq", "a@b"], ["-V"], ["-C", "file"], ["-X", "log"], ["--help"], ["-ti-"],
        ["-f"], ["-F"], ["-b"], ["-o"], ["-B"], ["-e"], ["-p"], ["-tf"], ["-bm", "-f"],
    ],
)  # fmt: skip
def test_other_options_and_missing_values(home, args):
    assert home.run("sendmail", *args, stdin=FULL) == (100, b"", USAGE)
    assert home.taken() is None


# -f and -F


@pytest.mark.parametrize(
    ("args", "sender", "author"),
    [
        (["-fa@b.c"], b"a@b.c", b"a@b.c"),
        (["-f", "a@b.c"], b"a@b.c", b"a@b.c"),
        (["-if", "a@b.c"], b"a@b.c", b"a@b.c"),
        (["-ifa@b.c"], b"a@b.c", b"a@b.c"),
        (["-f", "a@b@c.d"], b"a@b@c.d", b'"a@b"@c.d'),
        (["-f", "root"], b"root@mx.example.com", b"root@mx.example.com"),
        (["-f", "<a@b.c>"], b"a@b.c", b"a@b.c"),
        (["-f", "a@b.c", "-f", "d@e.f"], b"d@e.f", b"d@e.f"),
        (["-FMy Name"], JOE, b'"My Name" <joe@mx.example.com>'),
        (["-F", "My Name"], JOE, b'"My Name" <joe@mx.example.com>'),
        (["-iF", "My Name"], JOE, b'"My Name" <joe@mx.example.com>'),
        (["-F", "My Name", "-f", "a@b.c"], b"a@b.c", b"a@b.c"),
        (["-f", "a@b.c", "-F", "My Name"], b"a@b.c", b"a@b.c"),
    ],
)
def test_sender_and_name(home, args, sender, author):
    """-f is the author too, and undoes -F wherever it stands."""
    assert sent(home, *args, "r@s.t") == (sender, [b"r@s.t"], author)


def test_an_empty_sender(home):
    assert sent(home, "-f", "", "r@s.t", stdin=FULL) == (b"", [b"r@s.t"], b"me@x.y")
    assert sent(home, "-f", "<>", "r@s.t", stdin=FULL) == (b"", [b"r@s.t"], b"me@x.y")


@pytest.mark.parametrize("variable", ["QMAILNAME", "MAILNAME", "NAME", "QMAILHOST", "MAILHOST"])
def test_the_sender_goes_before_the_environment(home, variable):
    told = sent(home, "r@s.t", **{variable: "foo.example"})
    assert b"foo.example" in told[2]
    assert sent(home, "-f", "a", "r@s.t", **{variable: "foo.example"})[2] == b"a@mx.example.com"
    assert sent(home, "-f", "a@b.c", "r@s.t", **{variable: "foo.example"})[2] == b"a@b.c"


def test_the_name_does_not_go_before_a_from_field(home):
    assert sent(home, "-F", "My Name", "r@s.t", stdin=FULL)[2] == b"me@x.y"


# The world's callers.

CALLS = {
    "mutt": (["-oem", "-oi", "--", "r@s.t"], [b"r@s.t"]),
    "mutt with a sender": (["-oem", "-oi", "-f", "a@b.c", "--", "r@s.t"], [b"r@s.t"]),
    "cron": (["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"], [b"root@mx.example.com"]),
    "cron with options": (["-i", "-FCronDaemon", "-B8BITMIME", "-oem", "root"], [b"root@mx.example.com"]),
    "php": (["-t", "-i"], [b"hdr@x.y"]),
    "php with a sender": (["-t", "-i", "-fx@y.z"], [b"hdr@x.y"]),
    "git send-email": (["-i", "r@s.t", "u@v.w"], [b"r@s.t", b"u@v.w"]),
    "git send-email with a sender": (["-f", "a@b.c", "-i", "r@s.t"], [b"r@s.t"]),
    "bsd-mailx": (["-i", "r@s.t"], [b"r@s.t"]),
    "s-nail": (["-i", "-f", "a@b.c", "--", "r@s.t"], [b"r@s.t"]),
    "mailutils": (["-oi", "-t"], [b"hdr@x.y"]),
    "logwatch": (["-t"], [b"hdr@x.y"]),
    "mdadm": (["-t", "-oi"], [b"hdr@x.y"]),
    "sudo": (["-t"], [b"hdr@x.y"]),
    "emacs": (["-f", "joe", "-oi", "-oem", "-odb", "-t"], [b"hdr@x.y"]),
    "perl Mail::Mailer": (["-t", "-i", "-oem"], [b"hdr@x.y"]),
    "python": (["-t", "-oi"], [b"hdr@x.y"]),
    "a mailing list": (["-oi", "-odq", "-f", "list-owner@x.y", "r@s.t", "u@v.w"], [b"r@s.t", b"u@v.w"]),
}  # fmt: skip


@pytest.mark.parametrize("caller", CALLS)
def test_real_callers(home, caller):
    args, recipients = CALLS[caller]
    sender, got, author = sent(home, *args, stdin=FULL)
    assert got == recipients
    assert author == b"me@x.y"
    separate = {"-f": args[args.index("-f") + 1]} if "-f" in args else {}
    attached = [arg[2:] for arg in args if arg.startswith("-f") and len(arg) > 2]
    given = (attached or list(separate.values()) or [""])[0]
    assert sender == {"": JOE, "joe": JOE}.get(given, given.encode())


def test_what_the_queue_gets_is_whole(home):
    body = b"".join(b"%d\n.\n..\n.From \xff\n" % number for number in range(200_000))
    assert home.run("sendmail", "-oi", "-t", stdin=FULL + body) == (0, b"", b"")
    assert home.taken()[2].endswith(FULL.partition(b"\n\n")[2] + body)


# What goes wrong is said in qmail-inject's name.


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ("exit 31", 100, "mail server permanently rejected message (#5.3.0)"),
        ("exit 71", 111, "mail server temporarily rejected message (#4.3.0)"),
        ("printf 'Dnot you (#5.7.1)' >&6; exit 82", 100, "not you (#5.7.1)"),
        ("kill -9 $$", 111, "qq crashed (#4.3.0)"),
    ],
)
def test_what_the_queue_says(home, answer, code, words):
    home.queue(f"cat > message; {answer}")
    said = f"qmail-inject: fatal: {words}\n".encode()
    assert home.run("sendmail", "a@b.c", stdin=MESSAGE) == (code, b"", said)
    assert home.run("datemail", "a@b.c", stdin=MESSAGE) == (code, b"", said)
    assert home.run("mailsubj", "x", "a@b.c", stdin=MESSAGE) == (code, b"", said)


def test_without_a_queue_program(home):
    (home.path / "queue/drop").mkdir(parents=True)
    assert home.run("sendmail", "-f", "a@b.c", "r@s.t", stdin=MESSAGE, QMAILQUEUE=None) == (0, b"", b"")
    (dropped,) = (home.path / "queue/drop").iterdir()
    assert b"Fa@b.c\0Tr@s.t\0" in dropped.read_bytes()


# -bp and mailq, newaliases


def under_name(home, name, *args, before="", **environment):
    """Called by another name: a link to the launcher, for which the test has a script that does what one does."""
    path = home.path / "bin" / name
    source = module("sendmail")
    path.write_text(f"import sys\n{before}\nfrom {source} import main\nmain()\n")
    done = subprocess.run(
        [sys.executable, str(path), *args],
        stdin=subprocess.DEVNULL, capture_output=True, env=home.environment | environment, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


QREAD_FAILS = b"qmail-qread: fatal: "


@pytest.mark.parametrize("args", [["-bp"], ["-b", "p"], ["-bpx"], ["-ibp"], ["-v", "-bp", "x"]])
def test_bp_is_qmail_qread(home, args):
    """Here without a queue service, which it says; what it prints is in its own tests."""
    code, out, said = home.run("sendmail", *args, stdin=MESSAGE)
    assert (code, out) == (111, b"")
    assert said.startswith(QREAD_FAILS)
    assert home.taken() is None


def test_mailq_is_qmail_qread(home):
    for args in ([], ["-q"], ["x"]):
        code, out, said = under_name(home, "mailq", *args)
        assert (code, out) == (111, b"")
        assert said.startswith(QREAD_FAILS)
    assert home.taken() is None


def test_newaliases_is_newaliases(home):
    """Which can't be let loose on this machine's aliases; it does its work in the test root (tests/system_root)."""
    elsewhere = "import quail.programs.forwarding.newaliases as program; program.ALIASES = '/nonexistent'"
    done = under_name(home, "newaliases", "-v", before=elsewhere)
    assert done == (111, b"", b"newaliases: fatal: unable to read /nonexistent: file does not exist\n")
    assert home.taken() is None


def test_any_other_name_is_sendmail(home):
    code, out, said = under_name(home, "rmail", "-q")
    assert (code, out, said) == (100, b"", USAGE)


# -bs

SESSION = b"MAIL FROM:<a@b.c>\r\nRCPT TO:<r@elsewhere.example>\r\nDATA\r\nSubject: x\r\n\r\nhi\r\n.\r\nQUIT\r\n"


@pytest.mark.parametrize("args", [["-bs"], ["-b", "s"], ["-bsx"], ["-ibs"]])
def test_bs_is_qmail_smtpd_for_a_local_client(home, args):
    """Who may send anywhere."""
    (home.path / "control/rcpthosts").write_text("x.y\n")
    done = launch("sendmail", *args, stdin=SESSION, env=home.environment)
    assert done.returncode == 0
    assert [line[:3] for line in done.stdout.splitlines()] == [b"220", b"250", b"250", b"354", b"250", b"221"]
    sender, recipients, message = home.taken()
    assert (sender, recipients) == (b"a@b.c", [b"r@elsewhere.example"])
    assert message.startswith(b"Received: from localhost (sendmail-bs@127.0.0.1)\n  by localhost with SMTP; ")


def test_bs_has_no_limit_of_size_for_a_local_client(home):
    (home.path / "control/databytes").write_text("1\n")
    done = launch("sendmail", "-bs", stdin=SESSION, env=home.environment)
    assert home.taken() is not None
    assert done.returncode == 0


def test_bs_under_a_server_is_what_that_says(home):
    """PROTO is set: nothing is added, and nobody may relay."""
    (home.path / "control/rcpthosts").write_text("x.y\n")
    done = launch(
        "sendmail", "-bs", stdin=SESSION, env={**home.environment, "PROTO": "TCP", "TCPREMOTEIP": "192.0.2.1"}
    )
    assert b"\r\n553 " in done.stdout
    assert home.taken() is None


# datemail and mailsubj

DATE = rb"Date: \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d %b\n"


@pytest.mark.parametrize(
    ("args", "recipients"),
    [(["r@s.t"], [b"r@s.t"]), (["-t"], [b"hdr@x.y"]), (["-oi", "-fa@b.c", "r@s.t", "u@v.w"], [b"r@s.t", b"u@v.w"])],
)
def test_datemail(home, args, recipients):
    """sendmail with a local date."""
    assert home.run("datemail", *args, stdin=FULL, TZ="XYZ-5:30") == (0, b"", b"")
    sender, got, message = home.taken()
    assert (sender, got) == (b"a@b.c" if "-fa@b.c" in args else JOE, recipients)
    assert re.search(DATE % rb"\+0530", message)
    assert message.count(b"Date: ") == 1
    assert message.endswith(b"hello\n")


def test_datemail_knows_sendmails_options(home):
    assert home.run("datemail", "-q", stdin=FULL) == (
        100, b"", b"datemail: usage: datemail [ sendmail's options ] [ recipient ... ]\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("args", "to"),
    [
        (["hello there", "a@b.c"], b"a@b.c"),
        (["hello there", "a@b.c", "d@e.f", "g"], b"a@b.c, d@e.f, g@mx.example.com"),
    ],
)
def test_mailsubj(home, args, to):
    body = b"one\n\ntwo\n"
    assert home.run("mailsubj", *args, stdin=body) == (0, b"", b"")
    sender, recipients, message = home.taken()
    assert sender == JOE
    assert sorted(recipients) == to.split(b", ")
    assert b"\nSubject: hello there\n" in message
    assert b"\nTo: " + to + b"\n" in message
    assert message.endswith(b"\n\n" + body)


def test_mailsubj_without_recipients(home):
    """As with qmail-inject: a message to nobody."""
    assert home.run("mailsubj", "hello", stdin=b"x\n") == (0, b"", b"")
    assert home.taken()[1] == []


def test_mailsubj_called_wrongly():
    done = launch("mailsubj")
    assert (done.returncode, done.stderr) == (100, b"mailsubj: usage: mailsubj subject recipient ...\n")
    assert launch("datemail", "-q").returncode == 100


@pytest.mark.parametrize("size", [0, 100, 3_000_000])
@pytest.mark.parametrize("folder", [None, "/nonexistent"])
def test_mailsubj_any_input(home, size, folder):
    """Kept in a file without a name, or in memory if there is no place for one."""
    body = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    assert home.run("mailsubj", "x", "a@b.c", stdin=body, TMPDIR=folder) == (0, b"", b"")
    assert home.taken()[2].partition(b"\n\n")[2] == (body and body + b"\n" * (body[-1:] != b"\n"))


@pytest.mark.parametrize(
    ("name", "args"), [("mailsubj", ["x", "a@b.c"]), ("datemail", ["a@b.c"]), ("sendmail", ["a@b"])]
)
def test_input_that_cannot_be_read(home, name, args):
    with (home.path / "only-written").open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-m", module(name), *args],
            stdin=file, capture_output=True, env=home.environment, cwd=home.path, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 111
    assert b": fatal: " in done.stderr
    assert home.taken() is None


def test_a_message_has_one_date_that_is_now(home):
    before = int(time.time())
    assert home.run("datemail", "r@s.t", stdin=MESSAGE, TZ="UTC0") == (0, b"", b"")
    after = int(time.time())
    (told,) = re.findall(rb"^Date: (.*) \+0000$", home.taken()[2], flags=re.MULTILINE)
    assert before <= calendar.timegm(time.strptime(told.decode(), "%d %b %Y %H:%M:%S")) <= after
