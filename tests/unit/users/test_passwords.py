"""users/passwords: what is written can be read, what is malformed is named, and nothing is lost."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.errors import ConfigError, PermanentError, TemporaryError
from quail.sasl import scram
from quail.users import argon, passwords

HASHED = argon.NOBODY
KEYS = scram.derive(b"secret", b"0123456789abcdef", scram.LEAST_ITERATIONS)
LINE = passwords.encode(passwords.Record(b"jane", HASHED, KEYS, b"secret"))
PATH = "users/passwords"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "users").mkdir()
    return str(tmp_path)


def write(home, data, mode=0o600):
    with open(f"{home}/{PATH}", "wb") as file:
        file.write(data)
    os.chmod(f"{home}/{PATH}", mode)


def text(*lines):
    return b"\n".join([passwords.HEADER, *lines, b""])


def same(left, right):
    return passwords.encode(left) == passwords.encode(right)


@given(
    st.binary(min_size=1, max_size=40).filter(passwords.is_name),
    st.booleans(),
    st.one_of(st.none(), st.binary(min_size=1)),
)
def test_a_line_written_and_read(name, with_scram, secret):
    record = passwords.Record(name, HASHED, KEYS if with_scram else None, secret)
    line = passwords.encode(record)
    assert b"\n" not in line
    assert same(passwords.decode(line), record)
    found = passwords.find(text(b"other " + HASHED.encode(), line), name, PATH)
    assert found is not None
    assert found.secret == (secret if name != b"other" else None)


@given(st.binary())
def test_nothing_but_value_errors(line):
    for candidate in (line, b"jane " + line, LINE + line, b"jane " + HASHED.encode() + b" " + line):
        try:
            passwords.decode(candidate)
        except ValueError:
            pass


A = HASHED.encode()


@pytest.mark.parametrize(
    "line",
    [
        b"jane",
        b"jane ",
        b" jane " + A,
        b"Jane " + A,
        b"jane  " + A,
        b"jane " + A + b" ",
        b"jane " + A + b" " + A,
        b"jane " + A.replace(b"argon2id", b"argon2i"),
        b"jane " + A.replace(b"t=2", b"t=101"),
        b"jane " + A.replace(b"m=19456", b"m=99999999"),
        b"jane " + A.replace(b"m=19456,t=2", b"t=2,m=19456"),
        b"jane " + A + b" BASE64$",
        b"jane " + A + b" BASE64$x",
        b"jane " + A + b" SCRAM-SHA-256$x",
        b"jane " + A + b" BASE64$eA== " + scram.encode(KEYS).encode(),
        b"jane " + A + b"\r",
        b"jane \xff" + A,
    ],
    ids=range(17),
)
def test_a_malformed_line_is_named_and_not_repeated(line):
    with pytest.raises(ConfigError) as raised:
        passwords.parse(text(b"# a comment", line), PATH)
    assert str(raised.value).startswith("users/passwords line 3: ")
    assert "argon2id$v=19$m=19456,t=2,p=1" not in str(raised.value)


def test_others_lines_do_not_matter_to_a_log_in():
    data = text(b"broken", LINE)
    assert passwords.find(data, b"jane", PATH).secret == b"secret"
    with pytest.raises(ConfigError):
        passwords.find(data.replace(b"jane $argon2id", b"jane $argon3id"), b"jane", PATH)


def test_names_are_whole_words():
    data = text(LINE)
    for name in (b"jan", b"ane", b"jane $", b"", b"JANE", b"#quail-passwords", b"jane\n"):
        assert passwords.find(data, name, PATH) is None


def test_a_name_twice():
    with pytest.raises(ConfigError, match="line 3: has jane again"):
        passwords.parse(text(LINE, LINE), PATH)


@pytest.mark.parametrize(
    ("first", "what"),
    [
        (b"", "line 1: is not #quail-passwords 1"),
        (LINE, "line 1: is not #quail-passwords 1"),
        (b"#quail-passwords 2", "line 1: is of version 2"),
        (b"#quail-passwords 1 ", "line 1: is of version 1 "),
    ],
    ids=["empty", "none", "newer", "blank"],
)
def test_the_first_line(first, what):
    data = first + b"\n" + LINE + b"\n"
    with pytest.raises(ConfigError, match=what):
        passwords.find(data, b"jane", PATH)
    with pytest.raises(ConfigError, match=what):
        passwords.parse(data, PATH)


def test_a_file_that_others_may_read(home):
    write(home, text(LINE), mode=0o640)
    with pytest.raises(ConfigError, match="others than its owner may read or write it; chmod 600 "):
        passwords.look_up(home, b"jane")


def test_a_file_that_cannot_be_read(home):
    os.mkdir(f"{home}/{PATH}", 0o700)
    with pytest.raises(TemporaryError):
        passwords.look_up(home, b"jane")


def test_put_and_remove(home):
    assert not passwords.remove(home, b"jane")
    assert passwords.put(home, passwords.decode(LINE))
    write(home, passwords.read(home) + b"# mine\n\njoe " + A + b"\n")
    assert not passwords.put(home, passwords.Record(b"jane", HASHED))
    with open(f"{home}/{PATH}", "rb") as file:
        assert file.read() == text(b"# mine", b"", b"joe " + A, b"jane " + A)
    assert os.stat(f"{home}/{PATH}").st_mode & 0o777 == 0o600
    assert passwords.remove(home, b"joe")
    assert not passwords.remove(home, b"joe")
    assert passwords.look_up(home, b"joe") is None
    assert passwords.look_up(home, b"jane") is not None


def test_what_is_no_name_is_not_removed(home):
    """Least of all the first line, without which nobody could log in."""
    data = text(b"#note of mine", LINE)
    write(home, data)
    for name in (b"#quail-passwords", b"#note", b""):
        assert not passwords.remove(home, name)
    assert passwords.read(home) == data


def test_a_malformed_file_is_not_changed(home):
    data = text(b"broken", LINE)
    write(home, data)
    with pytest.raises(ConfigError):
        passwords.put(home, passwords.Record(b"joe", HASHED))
    with open(f"{home}/{PATH}", "rb") as file:
        assert file.read() == data


def test_many_at_once_lose_nothing(home):
    code = (
        "import sys; from quail.users import passwords as p, argon\n"
        "for n in range(20): p.put(sys.argv[1], p.Record(b'%b%d' % (sys.argv[2].encode(), n), argon.NOBODY))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, home, name]) for name in "abc"]
    assert [one.wait(60) for one in running] == [0, 0, 0]
    found = passwords.parse(passwords.read(home), PATH)
    assert set(found) == {b"%b%d" % (name, n) for name in (b"a", b"b", b"c") for n in range(20)}


@pytest.mark.parametrize(
    "password",
    [b"", b"a\tb", b"\x7f", b"\xff", b"\xc2\xad", b"x" * 256],
    ids=["", "tab", "del", "no utf-8", "nothing", "long"],
)
def test_passwords_that_nobody_can_have(password):
    with pytest.raises(PermanentError):
        passwords.judge_password(password)


def test_a_password_is_kept_prepared_and_readable_only_if_asked(home):
    typed = "e\u0301a\u00a0x".encode()
    prepared = passwords.judge_password(typed)
    assert prepared == "\u00e9a x".encode()
    record = passwords.make(b"jane", typed, prepared=prepared, reversible=False)
    assert record.secret is None
    assert argon.matches(record.hashed, prepared)
    assert not argon.matches(record.hashed, typed)
    assert record.scram.iterations == passwords.ITERATIONS
    again = scram.derive(prepared, record.scram.salt, record.scram.iterations)
    assert again.stored_key == record.scram.stored_key
    assert passwords.make(b"jane", typed, prepared=prepared, reversible=True).secret == typed


def test_the_hash_of_nobody_is_one():
    argon.judge(argon.NOBODY)
    assert not argon.matches(argon.NOBODY, b"password")
    assert argon.NOBODY.split("$")[:4] == argon.make(b"x").split("$")[:4]
