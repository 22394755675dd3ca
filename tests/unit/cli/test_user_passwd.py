"""quail user passwd: where the password comes from, who can have one, what is said."""

import os
import pty
import select
import subprocess
import sys
import time

import pytest

from quail.cli.init_single import init_single
from quail.users import argon, passwords

QUAIL = (sys.executable, "-m", "quail.cli.main")


@pytest.fixture
def home(tmp_path):
    path = str(tmp_path / "home")
    init_single(path, name="jane")
    return path


def passwd(home, *words, stdin=b"secret\n"):
    return subprocess.run(
        [*QUAIL, "--home", home, "user", "passwd", *words], input=stdin, capture_output=True, timeout=60, check=False
    )


def kept(home):
    return passwords.parse(passwords.read(home), "passwords")


@pytest.mark.parametrize(
    "stdin", [b"secret\n", b"secret\r\n", b"secret", b"secret\nmore\n"], ids=["lf", "crlf", "eof", "more"]
)
def test_one_line_of_standard_input(home, stdin):
    done = passwd(home, "Jane", stdin=stdin)
    assert (done.returncode, done.stdout.decode()) == (0, f"jane has a password: {home}/users/passwords\n")
    record = kept(home)[b"jane"]
    assert argon.matches(record.hashed, b"secret")
    assert record.secret is None
    assert b"secret" not in passwords.read(home)
    again = passwd(home, "jane", "--cram", stdin=b" other \n")
    assert again.stdout.startswith(b"jane has a new password")
    assert kept(home)[b"jane"].secret == b" other "


def test_remove(home):
    passwd(home, "jane")
    assert passwd(home, "jane", "--remove").returncode == 0
    done = passwd(home, "jane", "--remove")
    assert (done.returncode, done.stderr.decode()) == (100, f"quail: {home}/users/passwords has no password of jane\n")
    assert kept(home) == {}


def test_a_removed_mailbox_has_no_password(home):
    subprocess.run([*QUAIL, "--home", home, "user", "add", "bob"], check=True, capture_output=True)
    passwd(home, "bob")
    passwd(home, "jane")
    assert set(kept(home)) == {b"bob", b"jane"}
    subprocess.run([*QUAIL, "--home", home, "user", "remove", "bob"], check=True, capture_output=True)
    assert set(kept(home)) == {b"jane"}


def test_the_password_goes_before_the_mailbox(home):
    """Whatever fails behind it: the next who gets the name would have the password."""
    quail = [*QUAIL, "--home", home, "user"]
    subprocess.run([*quail, "add", "bob"], check=True, capture_output=True)
    passwd(home, "bob")
    os.chmod(f"{home}/users/passwords", 0o644)  # not to be read
    done = subprocess.run([*quail, "remove", "bob"], check=False, capture_output=True)
    assert done.returncode == 111
    assert b"users/passwords" in done.stderr
    with open(f"{home}/users/append", encoding="ascii") as file:
        assert "=bob:" in file.read()
    os.chmod(f"{home}/users/passwords", 0o600)
    os.unlink(f"{home}/users/assign")  # nor this to be written
    os.mkdir(f"{home}/users/assign")
    assert subprocess.run([*quail, "remove", "bob"], check=False, capture_output=True).returncode == 111
    assert kept(home) == {}


@pytest.mark.parametrize("why", ["an alias forwards to it", "no mailbox"])
def test_who_can_not_be_removed_keeps_the_password(home, why):
    subprocess.run([*QUAIL, "--home", home, "user", "add", "bob"], check=True, capture_output=True)
    name = "jane" if why == "an alias forwards to it" else "bob"
    passwd(home, name)
    if name == "bob":
        with open(f"{home}/users/append", "r+", encoding="ascii") as file:
            lines = [line for line in file if "bob:" not in line]
            file.seek(0)
            file.truncate()
            file.writelines([*lines, "=bob:joe:1:1:/home/joe:::\n"])
    done = subprocess.run([*QUAIL, "--home", home, "user", "remove", name], check=False, capture_output=True)
    assert done.returncode == 100
    assert set(kept(home)) == {name.encode()}


def test_a_capital_that_is_not_ascii(home):
    """Kept by its bytes, which only lose ASCII's capitals; so it must be removed by them."""
    name = "\N{LATIN CAPITAL LETTER E WITH ACUTE}va"
    passwords.put(home, passwords.make(name.encode().lower(), b"secret", prepared=b"secret", reversible=False))
    done = passwd(home, name, "--remove")
    assert (done.returncode, done.stderr) == (0, b"")
    assert kept(home) == {}


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        (("bob",), b"x\n", b"there is no mailbox bob here: quail user add bob"),
        (("postmaster",), b"x\n", b"postmaster is no mailbox but an alias, for jane"),
        (("jane",), b"\n", b"a password can't be empty"),
        (("jane",), b"", b"a password can't be empty"),
        (("jane",), b"a\x07b\n", b"this password can't be used: it has a control character"),
        (("jane",), b"\xff\xfe\n", b"this password is not UTF-8"),
        (("jane",), b"x" * 600 + b"\n", b"a password has at most 255 bytes"),
        (("jane", "--cram", "--remove"), b"x\n", b"exclude each other"),
        (("a b",), b"x\n", b"a name is made of letters"),
    ],
    ids=["nobody", "alias", "empty", "nothing", "bell", "latin", "long", "both", "bad name"],
)
def test_what_is_refused(home, words, stdin, said):
    done = passwd(home, *words, stdin=stdin)
    assert done.returncode == 100
    assert said in done.stderr
    assert not os.path.exists(f"{home}/users/passwords")


def typed(home, *answers):
    """Answer the questions of a terminal; what it showed, and the exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [*QUAIL, "--home", home, "user", "passwd", "jane"])
    shown = b""
    left = list(answers)
    deadline = time.monotonic() + 60
    while True:
        assert time.monotonic() < deadline, shown
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            data = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        shown += data
        if data.endswith(b": ") and left:
            os.write(terminal, left.pop(0) + b"\n")
    os.close(terminal)
    return shown, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_terminal_is_asked_twice_and_shows_nothing(home):
    shown, code = typed(home, b"secret", b"secret")
    assert code == 0
    assert b"secret" not in shown
    assert argon.matches(kept(home)[b"jane"].hashed, b"secret")


def test_a_slip_on_a_terminal_is_asked_again(home):
    shown, code = typed(home, b"secret", b"secert", b"second", b"second")
    assert code == 0
    assert b"do not match" in shown
    assert argon.matches(kept(home)[b"jane"].hashed, b"second")
