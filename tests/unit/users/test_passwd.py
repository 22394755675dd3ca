"""users/assign out of /etc/passwd, with all its files and options (facts: qmail-pw2u)."""

import errno
import os

import pytest

from quail.errors import ConfigError, TemporaryError
from quail.users import assign, passwd

PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
alias:x:7790:2108::/var/qmail/alias:/bin/true
joe:x:1001:100:Joe:/home/joe:/bin/sh
sue:x:1002:100:Sue:/home/sue:/bin/sh
Cap:x:1003:100::/home/cap:/bin/sh
gone:x:1004:100::/home/gone:/bin/sh
daemon:x:1005:1::/home/joe:/bin/sh
+::::::
+@net:x:1::::
short:x:1006:100::/home/joe
nonum:x:x:100::/home/joe:/bin/sh
"""
HOMES = {b"/var/qmail/alias": 7790, b"/home/joe": 1001, b"/home/sue": 1002, b"/home/cap": 1003, b"/root": 0}
ALIAS_LINES = [
    b"+:alias:7790:2108:/var/qmail/alias:-::",
    b"=alias:alias:7790:2108:/var/qmail/alias:::",
    b"+alias-:alias:7790:2108:/var/qmail/alias:-::",
]
JOE_LINES = [b"=joe:joe:1001:100:/home/joe:::", b"+joe-:joe:1001:100:/home/joe:-::"]
SUE_LINES = [b"=sue:sue:1002:100:/home/sue:::", b"+sue-:sue:1002:100:/home/sue:-::"]


def made(text=PASSWD, *, need_alias=True, files=None, **options):
    chosen = passwd.Options()
    for name, value in options.items():
        setattr(chosen, name, value)
    content = {f"users/{name}": data for name, data in (files or {}).items()}
    out = passwd.assign(text, chosen, passwd.Files(content.get), HOMES.get, need_alias=need_alias)
    assign.parse(out, "users/assign")  # whatever it is, qmail-newu takes it
    assert out.endswith(b"\n.\n") or out == b".\n"
    return out.splitlines()[:-1]


def test_every_account_with_its_own_home():
    assert made() == ALIAS_LINES + JOE_LINES + SUE_LINES


def test_include_and_exclude():
    assert made(files={"include": b"# only\nJOE\nalias\nroot\n"}) == ALIAS_LINES + JOE_LINES
    assert made(files={"include": b""}, need_alias=False) == []
    assert made(files={"exclude": b"joe \n"}) == ALIAS_LINES + SUE_LINES
    assert made(files={"include": b"alias\njoe\nsue\n", "exclude": b"joe\n"}) == ALIAS_LINES + SUE_LINES


def test_mailnames_replace_the_own_name():
    assert made(files={"mailnames": b"joe:j:Joe.Smith\nsue:first\nsue:\nnobody:x\n"}) == [
        *ALIAS_LINES,
        b"=j:joe:1001:100:/home/joe:::",
        b"+j-:joe:1001:100:/home/joe:-::",
        b"=Joe.Smith:joe:1001:100:/home/joe:::",
        b"+Joe.Smith-:joe:1001:100:/home/joe:-::",
    ]


def test_subusers():
    lines = made(files={"subusers": b"# sub\nshop:joe:shop:\ninfo:sue::\n"})
    assert lines[-4:] == [
        b"=shop:joe:1001:100:/home/joe:-:shop:",
        b"+shop-:joe:1001:100:/home/joe:-:shop-:",
        b"=info:sue:1002:100:/home/sue:-::",
        b"+info-:sue:1002:100:/home/sue:-:-:",
    ]


@pytest.mark.parametrize(
    ("subusers", "line", "reason"),
    [(b"\nx:nobody:y:\n", 2, "nobody is no account"), (b"x:joe:y\n", 1, "is not sub"), (b":joe:y:\n", 1, "is not sub")],
)
def test_bad_subusers_are_named(subusers, line, reason):
    with pytest.raises(ConfigError) as caught:
        made(files={"subusers": subusers})
    assert (caught.value.path, caught.value.line) == ("users/subusers", line)
    assert caught.value.reason.startswith(reason)


def test_append_comes_last_and_whole():
    assert made(files={"append": b"=x:joe:1:1:/h:::\n+y:joe:1:1:/h:::"})[-2:] == [
        b"=x:joe:1:1:/h:::",
        b"+y:joe:1:1:/h:::",
    ]
    assert made(b"", files={"append": b"=x:joe:1:1:/h:::\n"}, need_alias=False) == [b"=x:joe:1:1:/h:::"]


def test_homes():
    with pytest.raises(TemporaryError, match="unable to find home directory /home/gone of user gone"):
        made(homes=passwd.STOP_MISSING)
    names = [line.split(b":")[0] for line in made(homes=passwd.UNCHECKED)]
    assert names == [
        b"+",
        b"=alias",
        b"+alias-",
        b"=joe",
        b"+joe-",
        b"=sue",
        b"+sue-",
        b"=gone",
        b"+gone-",
        b"=daemon",
        b"+daemon-",
    ]


def test_capitals():
    assert made(capitals=True)[-2:] == [b"=Cap:Cap:1003:100:/home/cap:::", b"+Cap-:Cap:1003:100:/home/cap:-::"]


def test_break_character_and_dash():
    lines = made(break_char=b"_", dash=b"-/", files={"subusers": b"shop:joe:shop:\n"})
    assert lines[0] == b"+:alias:7790:2108:/var/qmail/alias:-/::"
    assert lines[3:5] == [b"=joe:joe:1001:100:/home/joe:::", b"+joe_:joe:1001:100:/home/joe:-/::"]
    assert lines[-2:] == [b"=shop:joe:1001:100:/home/joe:-/:shop:", b"+shop_:joe:1001:100:/home/joe:-/:shop-:"]


def test_no_extensions():
    lines = made(break_char=b"", files={"subusers": b"shop:joe:shop:\n"})
    assert lines == [
        ALIAS_LINES[0],
        ALIAS_LINES[1],
        JOE_LINES[0],
        SUE_LINES[0],
        b"=shop:joe:1001:100:/home/joe:-:shop:",
    ]


@pytest.mark.parametrize("text", [b"", PASSWD.replace(b"alias:", b"other:"), PASSWD.replace(b":7790:", b":7791:")])
def test_an_alias_user_is_needed(text):
    with pytest.raises(TemporaryError, match=r"^unable to find alias user$"):
        made(text)


def test_a_nul_in_a_line_costs_only_that_line():
    assert made(PASSWD.replace(b"Joe:", b"J\0e:")) == ALIAS_LINES + SUE_LINES


def test_whose_a_home_is(tmp_path, monkeypatch):
    assert passwd.owner_of(os.fsencode(tmp_path)) == tmp_path.stat().st_uid
    assert passwd.owner_of(b"/nonexistent/x") is None
    (tmp_path / "loop").symlink_to("loop")
    assert passwd.owner_of(os.fsencode(tmp_path / "loop")) is None

    real = os.stat

    def stat(path, **more):
        if path != b"/home/joe":
            return real(path, **more)
        raise OSError(errno.ESTALE, "stale", path)

    monkeypatch.setattr(passwd.os, "stat", stat)
    with pytest.raises(TemporaryError, match="unable to look at home directory /home/joe: stale NFS file handle"):
        passwd.owner_of(b"/home/joe")
