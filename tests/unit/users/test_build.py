"""users/append to users/assign to users/cdb: whole or not at all, and never over somebody's own lines."""

import errno
import os
import subprocess
import sys

import pytest

from quail.errors import ConfigError, PermanentError, TemporaryError
from quail.storage.calls import SystemCalls
from quail.users import build
from quail.users.lookup import Lookup

JOE = b"=joe:joe:1001:100:/home/joe:::"
SUE = b"=sue:sue:1002:100:/home/sue:::"


@pytest.fixture
def home(tmp_path):
    (tmp_path / "users").mkdir()
    return str(tmp_path)


def write(home, name, data):
    with open(f"{home}/users/{name}", "wb") as file:
        file.write(data)


def read(home, name):
    with open(f"{home}/users/{name}", "rb") as file:
        return file.read()


def state(home):
    return {name: read(home, name) for name in sorted(os.listdir(f"{home}/users")) if name != ".lock"}


def knows(home, local):
    return Lookup(f"{home}/users/cdb").find(local) is not None


def test_makes_assign_and_cdb_of_append(home):
    write(home, "append", JOE + b"\n")
    assert [item.local for item in build.rebuild(home)] == [b"joe"]
    lines = read(home, "assign").split(b"\n")
    assert lines[:2] == [JOE, b"."]
    assert lines[2].startswith(b"# Made by quail from users/append")
    assert knows(home, b"joe")
    assert read(home, "append") == JOE + b"\n"
    assert sorted(state(home)) == ["append", "assign", "cdb"]


def test_nothing_to_append_makes_a_home_without_users(home):
    assert build.rebuild(home) == []
    assert read(home, "assign").startswith(b".\n")
    assert not knows(home, b"joe")


def test_a_last_line_without_an_end_gets_one(home):
    write(home, "append", JOE)
    build.update(home, lambda lines: [*lines, SUE])
    assert read(home, "append") == JOE + b"\n" + SUE + b"\n"
    assert knows(home, b"joe")
    assert knows(home, b"sue")


def test_rebuilding_is_idempotent(home):
    write(home, "append", JOE + b"\n")
    build.rebuild(home)
    before = state(home)
    build.rebuild(home)
    assert state(home) == before


def test_lines_taken_out_of_append_by_hand_leave_assign_too(home):
    write(home, "append", JOE + b"\n" + SUE + b"\n")
    build.rebuild(home)
    write(home, "append", SUE + b"\n")
    build.rebuild(home)
    assert not knows(home, b"joe")
    assert knows(home, b"sue")


def test_users_are_not_forgotten_with_the_file_that_named_them(home):
    """Mail for all of them would be returned."""
    write(home, "append", JOE + b"\n" + SUE + b"\n")
    build.rebuild(home)
    os.unlink(f"{home}/users/append")
    before = state(home)
    for act in (
        lambda: build.rebuild(home),
        lambda: build.update(home, lambda lines: [*lines, b"=bob:bob:1:2:/home/bob:::"]),
    ):
        with pytest.raises(ConfigError, match="does not exist") as caught:
            act()
        assert caught.value.path == f"{home}/users/append"
        assert state(home) == before
    assert build.misfit(home).path == f"{home}/users/append"
    # What the remedy says:
    write(home, "append", read(home, "assign").partition(b".\n")[0])
    assert build.rebuild(home)
    assert knows(home, b"joe")
    assert build.misfit(home) is None


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (SUE + b"\n.\n", 1),
        (JOE + b"\n" + SUE + b"\n.\n", 2),
        (JOE + b"\n" + SUE, 2),
        (JOE + b"\nrubbish\n", 2),
    ],
)
def test_does_not_overwrite_lines_of_others(home, made, line):
    write(home, "append", JOE + b"\n")
    write(home, "assign", made)
    before = state(home)
    with pytest.raises(ConfigError) as caught:
        build.rebuild(home)
    assert (caught.value.path, caught.value.line) == (f"{home}/users/assign", line)
    assert "users/append" in caught.value.remedy
    assert state(home) == before


def test_a_line_added_to_our_own_work_is_one_of_others(home):
    write(home, "append", JOE + b"\n")
    build.rebuild(home)
    write(home, "assign", read(home, "assign").replace(b".\n", SUE + b"\n.\n", 1))
    with pytest.raises(ConfigError) as caught:
        build.rebuild(home)
    assert caught.value.line == 2
    write(home, "append", JOE + b"\n" + SUE + b"\n")
    build.rebuild(home)
    assert knows(home, b"sue")


def test_takes_over_a_file_that_says_nothing_else(home):
    write(home, "append", SUE + b"\n" + JOE + b"\n")
    write(home, "assign", JOE + b"\n.\n")
    build.rebuild(home)
    assert knows(home, b"sue")


@pytest.mark.parametrize(
    ("append", "line", "reason"),
    [
        (JOE + b"\n# me\n", 2, "colons"),
        (JOE + b"\n\n" + SUE, 2, "is empty"),
        (JOE + b"\n.\n" + SUE, 2, "starts with a dot"),
        (b".", 1, "starts with a dot"),
        (b"=joe:joe:uid:100:/home/joe:::\n", 1, "no number"),
    ],
)
def test_malformed_append_is_named_and_nothing_changes(home, append, line, reason):
    write(home, "append", JOE + b"\n")
    build.rebuild(home)
    write(home, "append", append)
    before = state(home)
    with pytest.raises(ConfigError) as caught:
        build.rebuild(home)
    assert (caught.value.path, caught.value.line) == (f"{home}/users/append", line)
    assert reason in caught.value.reason
    assert state(home) == before


def test_what_the_change_refuses_leaves_all_as_it_was(home):
    def refuse(_lines):
        raise PermanentError("no")

    write(home, "append", JOE + b"\n")
    with pytest.raises(PermanentError):
        build.update(home, refuse)
    assert sorted(state(home)) == ["append"]


def test_no_users_folder(tmp_path):
    with pytest.raises(TemporaryError, match="users"):
        build.rebuild(str(tmp_path))


class Failing(SystemCalls):
    """The n-th call that changes or syncs something fails."""

    def __init__(self, at):
        self.left = at

    def __getattribute__(self, name):
        real = super().__getattribute__(name)
        if name not in ("open", "write", "fsync", "rename"):
            return real

        def call(*args, **kwargs):
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.EIO, "failed", args[0] if name in ("open", "rename") else None)
            return real(*args, **kwargs)

        return call


def test_any_failing_call_leaves_the_old_or_the_new_and_the_next_call_mends_it(home):
    failed = 0
    for at in range(1, 100):
        for name in ("append", "assign", "cdb"):
            if os.path.exists(f"{home}/users/{name}"):
                os.unlink(f"{home}/users/{name}")
        write(home, "append", JOE + b"\n")
        build.rebuild(home)
        try:
            build.update(home, lambda lines: [*lines, SUE], calls=Failing(at))
        except TemporaryError:
            failed += 1
        else:
            break
        assert knows(home, b"joe")
        assert read(home, "append") in (JOE + b"\n", JOE + b"\n" + SUE + b"\n")
        build.update(home, lambda lines: [JOE, SUE])
        assert knows(home, b"sue")
        assert [name for name in state(home) if not name.endswith(".tmp")] == ["append", "assign", "cdb"]
    assert failed > 15


def test_two_at_once_lose_nothing(home):
    code = (
        "import sys; from quail.users import build\n"
        "for n in range(20):\n"
        "    line = b'=%b%d:u:1:1:/h:::' % (sys.argv[2].encode(), n)\n"
        "    build.update(sys.argv[1], lambda lines: [*lines, line])\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, home, letter]) for letter in "abc"]
    assert [process.wait() for process in running] == [0, 0, 0]
    names = {line.split(b":")[0] for line in read(home, "append").splitlines()}
    assert names == {b"=%c%d" % (letter, n) for letter in b"abc" for n in range(20)}
    assert knows(home, b"c19")
