"""Fields with addresses: the golden table, and what holds for every row of it."""

import os

import pytest

from quail.errors import PeerError, PermanentError
from quail.message.addresslist import Hosts, fold, is_host, rewrite

with open(f"{os.path.dirname(os.path.abspath(__file__))}/golden/addresses.txt", "rb") as file:
    TEXT = file.read()

MARKS = {b"<": 0, b">": 1}


def read(text: bytes) -> list[tuple[bytes, bytes, list[bytes] | None]]:
    """(field as it comes, as it goes out, its addresses) of each case; no addresses: it is no list."""
    cases = []
    for block in text.split(b"\n\n"):
        lines = block.strip(b"\n").split(b"\n")
        if lines[0][:1] == b"#":
            assert all(line[:1] == b"#" for line in lines)
            continue
        fields: list[list[bytes]] = [[], []]
        now: list[bytes] = []
        addresses = None
        for line in lines:
            mark, rest = line[:1], line[2:]
            if mark in MARKS:
                now = fields[MARKS[mark]]
            if mark in b"<>.":
                now.append(rest + b"\n")
            elif mark == b"=":
                addresses = [b"" if part == b"<>" else part for part in rest.split(b" | ")] if rest else []
            else:
                assert line == b"! no list of addresses"
        cases.append((b"".join(fields[0]), b"".join(fields[1]), addresses))
    return cases


CASES = read(TEXT)
HOSTS = Hosts(lambda: b"mx.example.com", lambda: b"example.com", lambda: b"corp.net")


def written(field: bytes) -> tuple[bytes, list[bytes]]:
    name, _, body = field.partition(b":")
    entries, addresses = rewrite(body, HOSTS)
    return fold(name.rstrip(), entries), addresses


def test_the_table_is_read_to_its_end():
    assert len(CASES) >= 290
    assert CASES[-1][0].startswith(b"To: Wilt . ")


@pytest.mark.parametrize(("field", "expected", "addresses"), CASES, ids=[repr(case[0].decode()) for case in CASES])
def test_field(field, expected, addresses):
    if addresses is None:
        with pytest.raises(PeerError):
            written(field)
    else:
        assert written(field) == (expected, addresses)


@pytest.mark.parametrize("field", [case[1] for case in CASES if case[2] is not None])
def test_what_was_written_is_written_the_same_again(field):
    again, addresses = written(field)
    assert again == field
    assert addresses == written(again)[1]


@pytest.mark.parametrize("field", [case[1] for case in CASES if case[2] is not None])
def test_lines_are_short_where_a_comma_allows_it(field):
    for number, line in enumerate(field[:-1].split(b"\n")):
        inner = line[2:] if number else line.partition(b":")[2]
        assert len(line) <= 78 or b", " not in inner.replace(b"(", b'"').split(b'"')[0]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (b"", b""),
        (b"a", b"a@mx.example.com"),
        (b"a@b", b"a@b.example.com"),
        (b"a@b+", b"a@b.corp.net"),
        (b"a b@c.d", b"a b@c.d"),
        (b'"a"@c.d', b'"a"@c.d'),
        (b"a\n@c.d", b"a\n@c.d"),
        (b"a@[]", b"a@[]"),
        (b"a@b@", b"a@b@mx.example.com"),
    ],
)
def test_an_address_as_it_is_in_envelopes(address, expected):
    assert HOSTS.mailbox(address) == expected


@pytest.mark.parametrize(
    "address", [b"a@b c", b"a@b\n", b'a@"b"', b"a@b,c", b"a@[b", b"a@b]", b"a@[b]c", b"a@(b)", b"a@\x7f"]
)
def test_hosts_that_can_be_none(address):
    with pytest.raises(PeerError):
        HOSTS.mailbox(address)
    assert not is_host(address[2:])


def test_a_source_is_asked_once_and_only_when_it_is_needed():
    asked = []

    def source(name: bytes):
        def give() -> bytes:
            asked.append(name)
            return name

        return give

    hosts = Hosts(source(b"host"), source(b"domain.example"), source(b"plus.example"))
    assert rewrite(b"a@b.c, d@[1.2.3.4], <>", hosts)[1] == [b"a@b.c", b"d@[1.2.3.4]", b""]
    assert asked == []
    assert rewrite(b"a@b, c@d", hosts)[1] == [b"a@b.domain.example", b"c@d.domain.example"]
    assert asked == [b"domain.example"]
    assert rewrite(b"a, b, c@+", hosts)[1] == [b"a@host.domain.example", b"b@host.domain.example", b"c@plus.example"]
    assert asked == [b"domain.example", b"host", b"plus.example"]


def test_a_source_may_fail_and_its_value_is_looked_at():
    with pytest.raises(PermanentError, match=r"^unable to parse address: @x y$") as caught:
        rewrite(b"a", Hosts(lambda: b"x y", lambda: b"", lambda: b""))
    assert not isinstance(caught.value, PeerError)  # the field is not to blame


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"To: a\x01b@c.d", b'To: "a\x01b"@c.d\n'),
        (b"To: a\x7fb <c@d.e>", b'To: "a\x7fb" <c@d.e>\n'),
        (b"To: \xff@c.d", b'To: "\xff"@c.d\n'),
        (b"To: a@b.c\r\n", b"To: a@b.c\n"),
        (b"To: a@b.c,\r\n d@e.f\r\n", b"To: a@b.c, d@e.f\n"),
        (b'To: "a\rb"@c.d', b'To: "a b"@c.d\n'),
        (b"To: a@b.c (\x1b)", b"To: a@b.c (\x1b)\n"),
    ],
)
def test_bytes_that_a_table_cannot_show(field, expected):
    assert written(field)[0] == expected


def test_a_zero_byte_is_in_no_list():
    for field in (b"a\0b@c", b'"\0"@c', b"(\0) a", b"[\0]"):
        with pytest.raises(PeerError, match="a zero byte"):
            rewrite(field, HOSTS)
