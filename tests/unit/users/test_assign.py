"""users/assign: what is a line, what is refused and how, and the records of users/cdb."""

import pytest

from quail.cdb.reader import Reader
from quail.errors import ConfigError
from quail.users import assign

GOOD = b"=joe:joe:1001:100:/home/joe:::\n+joe-:joe:1001:100:/home/joe:-::\n+:alias:7790:2108:/var/qmail/alias:-::\n.\n"


def records(text):
    return list(Reader(assign.compile_cdb(assign.parse(text, "users/assign"))).items())


def test_records_in_the_order_of_the_lines():
    assert records(GOOD) == [
        (b"!joe\0", b"joe\x001001\x00100\0/home/joe\0\0"),
        (b"!joe-", b"joe\x001001\x00100\0/home/joe\0-\0"),
        (b"!", b"alias\x007790\x002108\0/var/qmail/alias\0-\0"),
        (b"", b"-"),
    ]


def test_no_lines_make_a_cdb_that_knows_nobody():
    assert records(b".\n") == [(b"", b"")]


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (b"=JoE:Joe:1:2:/H:-:Ext:", (b"!joe\0", b"Joe\x001\x002\0/H\0-\0Ext")),
        (b"+JoE:Joe:1:2:/H:-:Ext:", (b"!joe", b"Joe\x001\x002\0/H\0-\0Ext")),
        (b"xjoe:joe:1:2:/h:::", (b"!joe\0", b"joe\x001\x002\0/h\0\0")),
        (b"=:joe:1:2:/h:::", (b"!\0", b"joe\x001\x002\0/h\0\0")),
        (b"=a:user:uid:gid:home:dash:ext:", (b"!a\0", b"user\0uid\0gid\0home\0dash\0ext")),
        (b"=a:u:1:2:/h:-:e:ignored:too", (b"!a\0", b"u\x001\x002\0/h\0-\0e")),
        (b"=a:u:1:2:/h:::\r", (b"!a\0", b"u\x001\x002\0/h\0\0")),
        (b"=a:::::::", (b"!a\0", b"\0\0\0\0\0")),
    ],
)
def test_lines_that_qmail_newu_takes(line, record):
    assert records(line + b"\n.\n")[0] == record


def test_wildcards_are_the_last_bytes_of_prefixes_as_written_each_once():
    text = b"".join(b"+%b:u:1:2:/h:-::\n" % local for local in (b"a-", b"b-", b"C", b"c", b"", b"d+")) + b".\n"
    assert records(text)[-1] == (b"", b"-Cc+")


@pytest.mark.parametrize("end", [b".", b".\n", b".anything:goes\n", b".\nnot\0read", b".\r\n"])
def test_the_first_dot_ends_it(end):
    assert records(b"=a:u:1:2:/h:::\n" + end)[:-1] == [(b"!a\0", b"u\x001\x002\0/h\0\0")]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (b"", 0, "the file ends"),
        (b"=a:u:1:2:/h:::\n", 1, "the file ends"),
        (b"=a:u:1:2:/h:::", 1, "the file ends"),
        (b"=a:u:1:2:/h:::\n=b:u:1:2:/h:::", 2, "the file ends"),
        (b"=a:u:1:2:/h:::\n\n.\n", 2, "is empty"),
        (b"=a:u:1:2:/h::\n.\n", 1, "has 6 colons, not 7"),
        (b"# comment\n.\n", 1, "has 0 colons, not 7"),
        (b"=a:u:1:2:/h\0:::\n.\n", 1, "has a NUL byte"),
        (b"=a:u:1:2:/h::: \0\n.\n", 1, "has a NUL byte"),
        (b":u:1:2:/h::::\n.\n", 1, "starts with a colon"),
    ],
)
def test_malformed_files_are_named_with_their_line(text, line, reason):
    with pytest.raises(ConfigError) as caught:
        assign.parse(text, "users/assign")
    assert (caught.value.path, caught.value.line) == ("users/assign", line)
    assert caught.value.reason.startswith(reason)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"=a:u:x:2:/h:::", "has a uid or gid that is no number"),
        (b"=a:u:1::/h:::", "has a uid or gid that is no number"),
        (b"=a:u:-1:2:/h:::", "has a uid or gid that is no number"),
        (b"=a:u:4294967295:2:/h:::", "has a uid or gid that is no number"),
        (b"=a:u:" + b"9" * 5000 + b":2:/h:::", "has a uid or gid that is no number"),
        (b"=a:u:1:2:h:::", "has a home that does not start with /"),
        (b"=a:u:1:2::::", "has a home that does not start with /"),
    ],
)
def test_check_refuses_what_no_delivery_could_follow(line, reason):
    good = assign.parse(GOOD, "x")
    assign.check(good, "x")
    with pytest.raises(ConfigError) as caught:
        assign.check(assign.parse(b"=ok:u:1:2:/h:::\n" + line + b"\n.\n", "users/append"), "users/append")
    assert (caught.value.path, caught.value.line, caught.value.reason) == ("users/append", 2, reason)
