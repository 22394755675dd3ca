"""dot-forward, fastforward and the programs that make and print what it follows, as processes (beside the originals:
tests/forwarding).
"""

import os
import stat

import pytest
from tests.programs.launch import launch
from tests.programs.queue_home import QueueHome
from tests.programs.test_redirecting import QUEUE_ANSWERS

from quail.cdb.maker import Maker
from quail.cdb.reader import MemoryReader
from quail.errors import PeerError, TemporaryError
from quail.forwarding.database import TooLongError
from quail.programs.forwarding.newaliases import rebuild

LINES = {"UFLINE": "From s@x Mon\n", "RPLINE": "Return-Path: <s@x>\n", "DTLINE": "Delivered-To: joe@here.example\n"}
BEFORE = "".join(LINES.values()).encode()
MESSAGE = b"Subject: x\n\nhello\n"
DELIVERED = LINES["DTLINE"].encode() + MESSAGE


@pytest.fixture
def home(tmp_path):
    return QueueHome(
        tmp_path / "home",
        SENDER="s@x",
        NEWSENDER="new@x",
        USER="joe",
        HOST="here.example",
        RECIPIENT="joe@here.example",
        **LINES,
    )


def forward(home, text, *args, message=MESSAGE, **environment):
    (home.path / ".forward").write_bytes(text if isinstance(text, bytes) else text.encode())
    return home.run("dot-forward", *(args or (".forward",)), stdin=message, **environment)


def test_called_as_by_hand():
    """Outside of a home."""
    done = launch("dot-forward", "-n", "none", env={"QMAILHOME": "/nonexistent"})
    assert (done.returncode, done.stderr) == (0, b"direct delivery\n")
    assert launch("fastforward").stderr == b"fastforward: usage: fastforward [ -nNpPdD ] data.cdb\n"
    assert launch("newinclude").stderr == b"newinclude: usage: newinclude list\n"


def said(text):
    return text.encode() + b"\n"


# dot-forward


def test_forward(home):
    done = forward(home, '# mine\nbob, Some One <one@a.example>\n"odd name"@b.example\n')
    assert done == (99, b"", said(f"dot-forward: info: qp {home.number}"))
    recipients = [b"one@a.example", b"bob@mx.example.com", b"odd name@b.example"]
    assert home.taken() == (b"new@x", recipients, DELIVERED)


@pytest.mark.parametrize("text", ["joe", "\\joe", "JOE@Here.Example", "joe, |true", "|true\njoe\n"])
def test_the_mailbox_itself(home, text):
    assert forward(home, text) == (0, b"", b"")
    assert home.taken() is None


def test_the_mailbox_and_others(home):
    assert forward(home, "joe, a@b.example")[0] == 0
    assert home.taken() == (b"new@x", [b"a@b.example"], DELIVERED)


@pytest.mark.parametrize("text", ["", "\n", "# a@b.example\n", "(a@b.example)", "<>", '""', ",;:"])
def test_a_file_that_says_nothing(home, text):
    assert forward(home, text) == (0, b"", b"")
    assert forward(home, text, "-n", "none", ".forward") == (0, b"", b"skipping empty file .forward\ndirect delivery\n")
    (home.path / "second").write_text("a@b.example")
    assert forward(home, text, "none", ".forward", "second")[0] == 99


def test_programs_get_the_message_with_its_lines(home):
    assert forward(home, '"|cat > got; echo one; exit 0", "|cat >> got; echo two", a@b.example')[:2] == (
        99,
        b"two\none\n",
    )
    assert (home.path / "got").read_bytes() == BEFORE + MESSAGE
    assert home.taken() == (b"new@x", [b"a@b.example"], DELIVERED)


@pytest.mark.parametrize(
    ("code", "expected"),
    [*((code, 100) for code in (64, 65, 70, 76, 77, 78, 100, 112)), (1, 111), (99, 111), (111, 111), (127, 111)],
)
def test_a_program_that_fails_ends_it(home, code, expected):
    assert forward(home, f'"|echo never", "|exit {code}", a@b.example\n') == (expected, b"", b"")
    assert home.taken() is None


def test_a_program_that_is_killed(home):
    assert forward(home, '"|kill -9 $$"') == (111, b"", b"dot-forward: fatal: child crashed\n")


def test_a_program_that_does_not_read(home):
    assert forward(home, "|true", message=MESSAGE * 100_000) == (99, b"", b"")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a@b.example, "open', 'unable to parse this line: a@b.example, "open'),
        ("a@b.example>\n", "unable to parse this line: a@b.example>\n"),
        ("(a", "unable to parse this line: (a"),
        ("a\0@b", "unable to parse this line: a\0@b"),
        ("a\\", "unable to parse this line: a\\"),
        ("/home/joe/mbox", "file delivery /home/joe/mbox not supported"),
        (":include:/home/joe/list", "file delivery /home/joe/list not supported"),
        ("b@c.example, a@b\\ c", "unable to parse this line: b@c.example, a@b\\ c"),
    ],
    ids=range(8),
)
def test_a_mistake_runs_nothing(home, text, words):
    """Also what stands before it: the delivery is tried again, and programs would run each time."""
    assert forward(home, f'"|touch ran"\n{text}') == (111, b"", said(f"dot-forward: fatal: {words}"))
    assert not (home.path / "ran").exists()
    assert home.taken() is None


def test_bytes_that_are_no_text_are_said_as_they_are(home):
    assert forward(home, b'"\xff') == (111, b"", b'dot-forward: fatal: unable to parse this line: "\xff\n')


def test_only_saying(home):
    done = forward(home, 'a@b.example, joe, "|exit 3", c\n', "-n", ".forward")
    assert done == (0, b"", b"forward c@mx.example.com\npipe through exit 3\nforward a@b.example\ndirect delivery\n")
    assert forward(home, "a@b.example", "-nN", ".forward")[0] == 99
    assert home.taken() is not None


def test_files_that_cannot_be_read(home):
    assert forward(home, "a@b.example", ".", ".forward") == (
        111,
        b"",
        b"dot-forward: fatal: unable to read .: is a directory\n",
    )
    assert forward(home, "a@b.example", ".forward/x") == (
        111,
        b"",
        b"dot-forward: fatal: unable to open .forward/x: not a directory\n",
    )
    with (home.path / "large").open("wb") as file:
        file.truncate((16 << 20) + 1)
    assert forward(home, "", "large") == (111, b"", b"dot-forward: fatal: unable to read large: file too big\n")
    os.mkfifo(home.path / "fifo")
    assert forward(home, "a@b.example", "fifo", ".forward")[0] == 99
    assert forward(home, "a@b.example", "-x", ".forward") == (
        100, b"", b"dot-forward: illegal option -- x\ndot-forward: usage: dot-forward [ -nN ] file ...\n",
    )  # fmt: skip


@pytest.mark.parametrize("answer", QUEUE_ANSWERS)
def test_what_the_queue_says(home, answer):
    home.queue(f"cat > message; {answer}")
    code, text = QUEUE_ANSWERS[answer]
    assert forward(home, "a@b.example") == (code, b"", said(f"dot-forward: fatal: unable to forward message: {text}"))
    database(home, b"joe@here.example: a@b.example;")
    assert home.run("fastforward", "t.cdb", stdin=MESSAGE) == (code, b"", said(f"fastforward: fatal: {text}"))


def test_more_recipients_than_a_message_can_have(home):
    done = forward(home, "a@b.example\n" * 100_001, QMAILQUEUE=None)
    assert done[0] == 100
    assert b"too many recipients" in done[2]


# fastforward


def database(home, table):
    done = launch("setforward", "t.cdb", "t.tmp", stdin=table, cwd=home.path)
    assert (done.returncode, done.stderr) == (0, b"")


def test_fastforward(home):
    database(
        home,
        b"joe@: one@a.example, bob@here.example; bob@here.example: |cat\\ >got, !cat\\ >more, x@b.example, ?never@x;",
    )
    assert home.run("fastforward", "t.cdb", stdin=MESSAGE) == (0, b"", said(f"fastforward: qp {home.number}"))
    assert home.taken() == (
        b"s@x",
        [b"one@a.example", b"bob@here.example"],
        DELIVERED,
    )  # bob has an owner: a second pass
    assert home.run("fastforward", "-d", "t.cdb", stdin=MESSAGE, DEFAULT="BOB")[0] == 0
    assert home.taken() == (b"never@x", [b"x@b.example"], DELIVERED)
    assert (home.path / "got").read_bytes() == MESSAGE
    assert (home.path / "more").read_bytes() == BEFORE + MESSAGE


def test_nobody_there(home):
    database(home, b"a@b: c@d;")
    assert home.run("fastforward", "t.cdb") == (100, b"", b"Sorry, no mailbox here by that name. (#5.1.1)\n")
    assert home.run("fastforward", "-p", "t.cdb") == (0, b"", b"")
    assert home.taken() is None
    assert home.run("fastforward", "-p", "t.cdb", RECIPIENT="A@B")[0] == 99


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"RECIPIENT": None}, "$RECIPIENT must be set"),
        ({"args": "-d", "DEFAULT": None, "EXT": None}, "$DEFAULT or $EXT must be set"),
        ({"args": "-d", "EXT": "x", "HOST": None}, "$HOST must be set"),
    ],
    ids=["recipient", "default", "host"],
)
def test_outside_of_a_delivery(home, environment, words):
    database(home, b"a@b: c@d;")
    environment = dict(environment)
    args = [environment.pop("args")] if "args" in environment else []
    assert home.run("fastforward", *args, "t.cdb", **environment) == (100, b"", said(f"fastforward: fatal: {words}"))


def test_a_database_that_is_none(home):
    assert home.run("fastforward", "none") == (
        111,
        b"",
        b"fastforward: fatal: unable to read none: file does not exist\n",
    )
    (home.path / "bad").write_bytes(b"x" * 3000)
    code, _, words = home.run("fastforward", "bad")
    assert (code, words[:40]) == (111, b"fastforward: fatal: unable to read bad: ")
    assert home.run("fastforward", "-d")[0] == 100


def test_lists(home):
    database(home, b"joe@here.example: ./l.bin;")
    assert home.run("fastforward", "t.cdb") == (
        111,
        b"",
        b"fastforward: fatal: unable to read ./l.bin: file does not exist\n",
    )
    done = launch("setmaillist", "l.bin", "l.tmp", stdin=b"# x\na@b\n./m.bin\n&c@d\n", cwd=home.path)
    assert done.returncode == 0
    (home.path / "m.bin").write_bytes(b"|touch ran\0&m@m\0./l.bin\0&rest")
    (home.path / "m.bin").chmod(0o440)
    assert home.run("fastforward", "t.cdb") == (111, b"", b"fastforward: fatal: ./m.bin is not world-readable\n")
    (home.path / "m.bin").chmod(0o444)
    assert home.run("fastforward", "t.cdb", stdin=MESSAGE)[0] == 0
    assert home.taken()[1] == [b"a@b", b"m@m", b"c@d"]
    assert not (home.path / "ran").exists()
    (home.path / "l.bin").unlink()
    with (home.path / "l.bin").open("wb") as file:
        file.truncate((16 << 20) + 1)
    assert home.run("fastforward", "t.cdb") == (111, b"", b"fastforward: fatal: unable to read ./l.bin: file too big\n")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (b"|exit\\ 100", (100, b"")), (b"!exit\\ 64", (100, b"")), (b"|exit\\ 99", (111, b"")), (b"!exit\\ 111", (111, b"")),
        (b"|kill\\ -9\\ $$", (111, b"fastforward: fatal: child crashed in |kill -9 $$\n")),
        (b"!kill\\ -9\\ $$", (111, b"fastforward: fatal: child crashed in !kill -9 $$\n")),
    ],
    ids=range(6),
)  # fmt: skip
def test_programs_that_fail(home, command, expected):
    database(home, b"joe@here.example: %b, |echo\\ never, a@b;" % command)
    code, out, words = home.run("fastforward", "t.cdb", stdin=MESSAGE)
    assert (code, out, words) == (expected[0], b"", expected[1])
    assert home.taken() is None


def test_a_hostile_database_costs_little(home):
    """Records that lie over each other: a small file that says a great deal."""
    data = b"&%b\0" % b"x" * (1 << 17)
    maker = Maker()
    names = [b"%d@x" % number for number in range(200)]
    maker.add(b":joe@here.example", b"".join(b"&%b\0" % name for name in names))
    maker.add(b":shared", data)
    for name in names:
        maker.add(b":" + name, data)
    (home.path / "t.cdb").write_bytes(maker.to_bytes())
    assert home.run("fastforward", "t.cdb") == (
        111,
        b"",
        b"fastforward: fatal: too many instructions for one message\n",
    )


# The makers


def test_setforward(home):
    assert launch("setforward", "t.cdb").returncode == 100
    database(home, b"a@b: c@d, ?o; # end")
    table = launch("printforward", stdin=(home.path / "t.cdb").read_bytes()).stdout
    assert table == b"a@b: ?o;\na@b:\n, &c@d\n;\n"
    done = launch("setforward", "t.cdb", "t.tmp", stdin=b"a@b: c@d", cwd=home.path)
    assert (done.returncode, done.stderr) == (100, b"setforward: fatal: final instruction must end with semicolon\n")
    assert launch("printforward", stdin=(home.path / "t.cdb").read_bytes()).stdout == table
    assert launch("printforward", stdin=b"x").stderr == b"printforward: fatal: bad database format\n"


def test_lists_are_for_everybody_to_read(home):
    mask = os.umask(0o077)
    try:
        assert launch("setmaillist", "l.bin", "l.tmp", stdin=b"a@b", cwd=home.path).returncode == 0
        (home.path / "list").write_text("bob\n")
        assert home.run("newinclude", "list") == (0, b"", b"")
    finally:
        os.umask(mask)
    for name in ("l.bin", "list.bin"):
        assert stat.S_IMODE((home.path / name).stat().st_mode) == 0o644
    assert launch("printmaillist", stdin=(home.path / "list.bin").read_bytes()).stdout == b"&bob@mx.example.com\n"
    assert launch("printmaillist", stdin=b"&a\0x").stdout == b"&a\n"
    assert launch("printmaillist", stdin=b"x\0").stderr == b"printmaillist: fatal: bad mailing list format\n"
    assert launch("printmaillist", stdin=b"x\0").returncode == 100
    assert launch("setmaillist", "l.bin", "l.tmp", stdin=b"\0").returncode == 111


def test_newinclude(home):
    (home.path / "list").write_text("bob, a@host+ :include:more\n")
    assert home.run("newinclude", "list", QMAILDEFAULTHOST="dh.example", QMAILPLUSDOMAIN="plus.example") == (
        0,
        b"",
        b"",
    )
    assert (home.path / "list.bin").read_bytes() == b"./more\0&a@host.plus.example\0&bob@dh.example\0"
    (home.path / "list").write_text('"|true"\n')
    assert home.run("newinclude", "list") == (111, b"", b"newinclude: fatal: program delivery |true not supported\n")
    assert home.run("newinclude") == (100, b"", b"newinclude: usage: newinclude list\n")
    assert home.run("newinclude", "none") == (
        111,
        b"",
        b"newinclude: fatal: unable to read none: file does not exist\n",
    )


def test_newaliases_runs():
    """The file of this machine is not for tests to follow: where there is one, only that it is not changed in another home."""
    done = launch("newaliases", env={"QMAILHOME": "/nonexistent"}) if not os.path.exists("/etc/aliases") else None
    if done is not None:
        assert (done.returncode, done.stderr) == (
            111,
            b"newaliases: fatal: unable to read /etc/aliases: file does not exist\n",
        )


@pytest.fixture
def aliases(home, monkeypatch):
    """Make a database of a text; what is in it."""
    monkeypatch.setenv("QMAILHOME", str(home.path))
    path = home.path / "aliases"

    def make(text):
        path.write_bytes(text)
        mask = os.umask(0)
        try:
            rebuild(str(path))
        finally:
            os.umask(mask)
        return [*MemoryReader((home.path / "aliases.cdb").read_bytes()).items()]

    return make


def test_newaliases_of_a_file(home, aliases):
    text = b"# staff\n\nroot: bob,\n\n carol\nOwner-l: x\nowner-l@b.example: x\n"
    text += b'l: :include:l, "|prog x", :include:/m\n@v.example: z'
    assert aliases(text) == [
        (b":root@", b"&carol@mx.example.com\0&bob@mx.example.com\0"),
        (b":owner-l@", b"&x@mx.example.com\0"),
        (b"?l@b.example", b"owner-l@b.example"),
        (b":owner-l@b.example", b"&x@mx.example.com\0"),
        (b":l@", b"/m.bin\0!prog x\0./l.bin\0"),
        (b":@v.example", b"&z@mx.example.com\0"),
    ]
    assert stat.S_IMODE((home.path / "aliases.cdb").stat().st_mode) == 0o644
    assert not (home.path / "aliases.tmp").exists()


@pytest.mark.parametrize(
    "text", [b"a: /x", b"a: :include:", b"a: <>", b"a", b"a: (", b": b", b"a: b>", b"a: b@c\\ d", b"a: " + b"x" * 800]
)
def test_a_mistake_leaves_the_old_database(home, aliases, text):
    old = aliases(b"a: b")
    with pytest.raises(TooLongError if b"xx" in text else TemporaryError):
        aliases(b"ok: ok\n" + text)
    assert [*MemoryReader((home.path / "aliases.cdb").read_bytes()).items()] == old
    assert issubclass(TooLongError, PeerError)
