"""forward, condredirect, bouncesaying and except as processes: whom they send the message to, what they say, how they end."""

import pytest
from tests import signals
from tests.programs.launch import launch
from tests.programs.queue_home import QueueHome

DTLINE = "Delivered-To: joe@example.org\n"
MESSAGE = b"Subject: x\n\nhello\n"
DELIVERED = DTLINE.encode() + MESSAGE
LARGE = b"0123456789abcde\n" * 200_000

# What the queue answers, and so what forward and condredirect say and how they end.
QUEUE_ANSWERS = {
    "exit 11": (100, "envelope address too long for qq (#5.1.3)"),
    "exit 12": (100, "qq permanent problem (#5.3.0)"),
    "exit 31": (100, "mail server permanently rejected message (#5.3.0)"),
    "exit 51": (111, "qq out of memory (#4.3.0)"),
    "exit 53": (111, "qq write error or disk full (#4.3.0)"),
    "exit 71": (111, "mail server temporarily rejected message (#4.3.0)"),
    "exit 91": (111, "qq internal bug (#4.3.0)"),
    "exit 120": (111, "unable to exec qq (#4.3.0)"),
    "exit 1": (111, "qq temporary problem (#4.3.0)"),
    "kill -9 $$": (111, "qq crashed (#4.3.0)"),
    "printf 'Dnot that (#5.7.1)' >&6; exit 82": (100, "not that (#5.7.1)"),
    "printf 'Znot yet (#4.7.1)' >&6; exit 82": (111, "not yet (#4.7.1)"),
}


@pytest.fixture
def home(tmp_path):
    return QueueHome(tmp_path / "home", DTLINE=DTLINE, SENDER="s@x", NEWSENDER="new@x")


def said(text):
    return b"%b\n" % text.encode()


# forward


@pytest.mark.parametrize("addresses", [["a@b"], ["a@b", "c@d", "a@b", "@ :,;"], []])
@pytest.mark.parametrize("message", [MESSAGE, b"", LARGE])
def test_forward(home, addresses, message):
    """To each, as it is written, with the new sender."""
    assert home.run("forward", *addresses, stdin=message) == (0, b"", said(f"forward: qp {home.number}"))
    assert home.taken() == (b"new@x", [address.encode() for address in addresses], DTLINE.encode() + message)


def test_forward_keeps_special_senders(home):
    for sender in (b"", b"#@[]", b"list-@host-@[]", b"\xff@x"):
        assert home.run("forward", "a@b", NEWSENDER=sender)[0] == 0
        assert home.taken()[0] == sender


@pytest.mark.parametrize("missing", ["NEWSENDER", "DTLINE"])
def test_forward_outside_of_a_delivery(home, missing):
    assert home.run("forward", "a@b", **{missing: None}) == (100, b"", said(f"forward: fatal: {missing} not set"))
    assert launch("forward", "a@b").returncode == 100
    assert home.taken() is None


@pytest.mark.parametrize("answer", QUEUE_ANSWERS)
def test_forward_says_what_the_queue_says(home, answer):
    home.queue(f"cat > message; {answer}")
    code, text = QUEUE_ANSWERS[answer]
    assert home.run("forward", "a@b", stdin=MESSAGE) == (code, b"", said(f"forward: fatal: {text}"))


def test_forward_of_a_message_that_cannot_be_read(home):
    done = launch_with_unreadable_input(home, "forward", "a@b")
    assert done == (111, b"forward: fatal: unable to read message: file descriptor not open\n")
    assert (home.path / "envelope").read_bytes() == b""  # abandoned


def launch_with_unreadable_input(home, name, *args):
    import subprocess
    import sys

    from tests.programs.launch import module

    with (home.path / "only-written").open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-m", module(name), *args],
            stdin=file, capture_output=True, env=home.environment, cwd=home.path, timeout=60, check=False,
        )  # fmt: skip
    return done.returncode, done.stderr


def test_forward_without_a_queue_program_uses_the_drop(home):
    (home.path / "queue/drop").mkdir(parents=True)
    code, _, text = home.run("forward", "a@b", stdin=MESSAGE, QMAILQUEUE=None)
    assert (code, text[:12]) == (0, b"forward: qp ")
    (dropped,) = (home.path / "queue/drop").iterdir()
    assert dropped.read_bytes().endswith(b"Fnew@x\0Ta@b\0" + DELIVERED)


def test_forward_without_any_queue(home):
    assert home.run("forward", "a@b", QMAILQUEUE=None) == (
        111, b"", said("forward: fatal: qq trouble creating files in queue (#4.3.0)"),
    )  # fmt: skip
    assert home.run("forward", "a@b", QMAILQUEUE=None, QMAILHOME="/nonexistent") == (
        111, b"", said("forward: fatal: qq trouble in home directory (#4.3.0)"),
    )  # fmt: skip
    assert home.run("forward", "a@b", QMAILQUEUE="bin/none") == (
        111, b"", said("forward: fatal: unable to exec qq (#4.3.0)"),
    )  # fmt: skip


# condredirect


def test_condredirect(home):
    """The program has read some of the message, which goes on whole, with its own sender; the rest of the file is skipped."""
    home.script("check", 'read line; test "$line" = "Subject: x" && test $# = 2')
    assert home.run("condredirect", "a@b", "check", "1", "2", stdin=MESSAGE) == (
        99, b"", said(f"condredirect: qp {home.number}"),
    )  # fmt: skip
    assert home.taken() == (b"s@x", [b"a@b"], DELIVERED)


@pytest.mark.parametrize("answer", QUEUE_ANSWERS)
def test_condredirect_says_what_the_queue_says(home, answer):
    home.queue(f"cat > message; {answer}")
    code, text = QUEUE_ANSWERS[answer]
    assert home.run("condredirect", "a@b", "true", stdin=MESSAGE) == (code, b"", said(f"condredirect: fatal: {text}"))


@pytest.mark.parametrize("missing", ["SENDER", "DTLINE"])
def test_condredirect_outside_of_a_delivery(home, missing):
    assert home.run("condredirect", "a@b", "true", **{missing: None}) == (
        100, b"", said(f"condredirect: fatal: {missing} not set"),
    )  # fmt: skip
    assert home.run("condredirect", "a@b", "false", **{missing: None}) == (0, b"", b"")  # nothing is to be sent
    assert home.taken() is None


@pytest.mark.parametrize("args", [[], ["a@b"]])
def test_condredirect_called_wrongly(home, args):
    usage = said("condredirect: usage: condredirect newaddress program [ arg ... ]")
    assert home.run("condredirect", *args) == (100, b"", usage)
    assert launch("condredirect", *args).returncode == 100


def test_condredirect_cannot_rewind(home):
    env = home.environment
    done = launch("condredirect", "a@b", "true", stdin=MESSAGE, env=env)
    assert (done.returncode, done.stderr) == (111, b"condredirect: fatal: unable to rewind: unseekable descriptor\n")
    assert home.taken() is None


# How the program ended, and how condredirect, bouncesaying and except end then.
ENDINGS = {
    "exit 0": (99, 100, 100),
    "exit 111": (111, 111, 111),
    "kill -9 $$": (111, 111, 111),
    "kill -15 $$": (111, 111, 111),
    **{f"exit {code}": (0, 0, 0) for code in (1, 64, 99, 100, 110, 112, 126, 127, 255)},
}
WORDS = {"exit 111": "temporary child error", "kill -9 $$": "child crashed", "kill -15 $$": "child crashed"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_of_the_program(home, ending):
    home.script("check", f"cat > seen; {ending}")
    redirect, bounce, turned = ENDINGS[ending]
    words = WORDS.get(ending)

    def expected(name, otherwise=b""):
        return said(f"{name}: fatal: {words}") if words else otherwise

    code, out, text = home.run("condredirect", "a@b", "check", stdin=MESSAGE)
    assert (code, out) == (redirect, b"")
    assert text == expected("condredirect", said(f"condredirect: qp {home.number}") if code == 99 else b"")
    assert (home.path / "seen").read_bytes() == MESSAGE
    assert home.taken() == ((b"s@x", [b"a@b"], DELIVERED) if redirect == 99 else None)

    code, out, text = home.run("bouncesaying", "no more", "check", stdin=MESSAGE)
    assert (code, out) == (bounce, b"")
    assert text == expected("bouncesaying", b"no more\n" if code == 100 else b"")

    (home.path / "seen").unlink()
    assert home.run("except", "check", stdin=MESSAGE) == (turned, b"", expected("except"))
    assert (home.path / "seen").read_bytes() == MESSAGE


def test_what_bouncesaying_says_may_have_lines(home):
    """It is what the sender gets to read, and the user's own."""
    assert home.run("bouncesaying", b"I have moved:\n\tjoe@example.net\xff", stdin=MESSAGE) == (
        100,
        b"",
        b"I have moved:\n\tjoe@example.net\xff\n",
    )


@pytest.mark.parametrize(
    "command", [["no-such-command"], ["./none"], [""], ["/"], ["bin"], ["bin/text"], ["text"], ["stdin/x"]]
)
def test_a_program_that_is_none(home, command):
    """Which is another answer than yes."""
    (home.path / "bin/text").write_text("exit 0\n")
    assert home.run("condredirect", "a@b", *command) == (0, b"", b"")
    assert home.run("bouncesaying", "no", *command) == (0, b"", b"")
    assert home.run("except", *command) == (0, b"", b"")
    assert home.taken() is None


def test_how_a_program_is_found(home):
    """As execvp(3) does: on the PATH, where an empty entry is the current folder; a script without its first line is sh's."""
    (home.path / "here").write_text('test "$1" = x && test "$0" = ./here\n')
    (home.path / "here").chmod(0o755)
    assert home.run("except", "./here", "x", PATH="")[0] == 100
    assert home.run("except", "here", "x", PATH="/nonexistent::/bin")[0] == 100
    assert home.run("except", "here", "y", PATH="/nonexistent::/bin")[0] == 0
    assert home.run("except", "here", "x", PATH="/bin")[0] == 0
    assert home.run("except", "true", PATH=None)[0] == 100
    home.script("forbidden", "exit 0")
    (home.path / "bin/forbidden").chmod(0o644)
    (home.path / "more").mkdir()
    home.script("../more/forbidden", "exit 0")
    assert home.run("except", "forbidden", PATH=f"{home.path}/bin:{home.path}/more")[0] == 100


def test_a_program_that_cannot_be_run_just_now(home):
    """It is being written."""
    path = home.script("check", "exit 0")
    with open(path, "ab"):
        for name, args in (("condredirect", ["a@b"]), ("bouncesaying", ["no"]), ("except", [])):
            assert home.run(name, *args, "check") == (111, b"", said(f"{name}: fatal: temporary child error"))


def test_signals_of_the_program_are_as_usual(home):
    home.script("check", "grep SigIgn /proc/self/status > seen")
    assert home.run("except", "check")[0] == 100
    assert not signals.of_mask((home.path / "seen").read_text().split()[1])


# bouncesaying and except


@pytest.mark.parametrize("text", ["", "This address no longer exists.", "50% \\n\ttwo\nlines", b"\xff\xfe"])
def test_bouncesaying_without_a_program(home, text):
    raw = text if isinstance(text, bytes) else text.encode()
    assert home.run("bouncesaying", text, stdin=MESSAGE) == (100, b"", raw + b"\n")


def test_bouncesaying_and_except_called_wrongly():
    done = launch("bouncesaying")
    assert (done.returncode, done.stderr) == (
        100, b"bouncesaying: usage: bouncesaying error [ program [ arg ... ] ]\n",
    )  # fmt: skip
    done = launch("except")
    assert (done.returncode, done.stderr) == (100, b"except: usage: except program [ arg ... ]\n")


def test_the_program_hears_what_we_hear(home):
    """Its arguments, folder and environment; its words are part of the report."""
    home.script("check", 'pwd; echo "$2" "$SENDER" >&2; exit 3')
    assert home.run("except", "check", "a", "b c") == (0, f"{home.path}\n".encode(), b"b c s@x\n")
