"""What one line of addresses says, from its end to its start: the forms that people write, and those that nobody should."""

import pytest

from quail.errors import PeerError
from quail.forwarding.addresses import addresses
from quail.forwarding.lines import logical_lines
from quail.message.addresslist import Hosts

HOSTS = Hosts(lambda: b"me.example", lambda: b"default.example", lambda: b"plus.example")
# What there is in a line, in the order of the line.
SAYS = {
    b"bob": [b"bob"],
    b"bob, carol@x.y": [b"bob", b"carol@x.y"],
    b"bob carol dave@x.y": [b"bob", b"carol", b"dave@x.y"],
    b"Bob B. <bob@x.y>, carol": [b"bob@x.y", b"carol"],
    b"<a@b><c@d>": [b"a@b", b"c@d"],
    b"a@b (c, d) , (e)": [b"a@b"],
    b'"a, b"@c "d"': [b"a, b@c", b"d"],
    b"a\\ b@c": [b"a b@c"],
    b"a . b @ c . d": [b"a.b@c.d"],
    b"friends: a@b, c@d;": [b"friends", b"a@b", b"c@d"],
    b"a <b@c": [b"a<b@c"],
    b"<@a,@b:c@d>": [b"@a,@b:c@d"],
    b"<>": [b""],
    b"a\rb\tc": [b"a", b"b", b"c"],
    b"a@[1.2.3.4] [x]": [b"a@[1.2.3.4]", b"[x]"],
    b"[a\\b\\\\] [\\]]": [b"[ab\\]", b"[]]"],
    b"": [],
    b" ,;: (x)": [],
}


@pytest.mark.parametrize("line", SAYS, ids=range(len(SAYS)))
def test_lines(line):
    assert [address.text for address in addresses(line, includes=False)] == SAYS[line][::-1]


@pytest.mark.parametrize("line", [b"a@b>", b'"a', b"(a", b"[a", b"a\\", b")a", b"]", b"a\0"], ids=range(8))
def test_what_cannot_be_read(line):
    with pytest.raises(PeerError):
        list(addresses(line, includes=False))


def test_what_stands_behind_a_mistake_comes_out():
    found = addresses(b"a> b, c", includes=False)
    assert [next(found).text, next(found).text] == [b"c", b"b"]
    assert next(found).text == b"a"
    with pytest.raises(PeerError):
        next(found)


def test_included_files():
    found = list(addresses(b"a :include:/l b, x:include: ./m, :include:", includes=True))
    assert [(address.text, address.included) for address in found] == [
        (b"", True), (b"./m", True), (b"x", False), (b"b", False), (b"/l", True), (b"a", False),
    ]  # fmt: skip
    assert [address.text for address in addresses(b":include:/l", includes=False)] == [b"/l", b"include"]


@pytest.mark.parametrize(
    ("line", "mailbox"),
    [
        (b"bob", b"bob@me.example"), (b"bob@host", b"bob@host.default.example"), (b"bob@host+", b"bob@host.plus.example"),
        (b"bob+", b"bob+@me.example"), (b"bob@x.y.", b"bob@x.y"), (b"bob@[192.0.2.1]", b"bob@[192.0.2.1]"),
        (b'"a@b"', b"a@b@me.example"), (b"@x.y", b"@x.y"), (b"bob@", b"bob@me.example"),
    ],
    ids=range(9),
)  # fmt: skip
def test_completing(line, mailbox):
    (address,) = addresses(line, includes=False)
    assert address.mailbox(HOSTS) == mailbox


def test_what_no_host_can_be_called():
    (address,) = addresses(b'a@"b c"', includes=False)
    with pytest.raises(PeerError):
        address.mailbox(HOSTS)


def test_logical_lines():
    assert logical_lines(b"a\n b\n\n\tc\nd\n#x\n\ny") == [b"a\n b\n\tc\n", b"d\n", b"#x\n", b"y"]
    assert logical_lines(b"\n\n a") == [b"\n a"]
    assert logical_lines(b"") == []
