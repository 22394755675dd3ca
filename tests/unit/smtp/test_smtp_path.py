import pytest

from quail.smtp.path import parse

ADDRESSES = {
    b"FROM:<a@b>": b"a@b",
    b"FROM:<>": b"",
    b"": b"",
    b"nothing": b"",
    b"FROM: <a@b>": b"a@b",
    b"FROM:a@b": b"a@b",
    b"FROM:   a@b": b"a@b",
    b"TO: c@example.com foo": b"c@example.com",
    b"TO:x<c@d": b"c@d",
    b"TO:<c@d e": b"c@d e",
    b'TO:<"x y"@EXAMPLE.com>': b"x y@EXAMPLE.com",
    b'TO:<"a>b"@c>': b"a>b@c",
    b'TO:<"a\\"b"@c>': b'a"b@c',
    b'FROM:<a\\"q@x>': b'a"q@x',
    b"FROM:<a\\>b@x>": b"a>b@x",
    b"FROM:<a\\\\b@x>": b"a\\b@x",
    b"FROM:<a@x\\": b"a@x",
    b'FROM:<"open@x>': b"open@x>",
    b"TO:<@r1,@r2:d@example.com>": b"d@example.com",
    b'TO:<@r1:"d e"@example.com>': b"d e@example.com",
    b"TO:@r:d@example.com": b"d@example.com",
    b"TO:<@only.a.route>": b"",
    b"TO:<nodomain>": b"nodomain",
    b"TO:<a@b@c>": b"a@b@c",
    b"TO:<\xc3\xa9@\xc3\xa9.example>": b"\xc3\xa9@\xc3\xa9.example",
    b'TO:"a b"@c d': b"a b@c",
}


@pytest.mark.parametrize("argument", ADDRESSES, ids=repr)
def test_address(argument):
    address, _, clean = parse(argument)
    assert (address, clean) == (ADDRESSES[argument], True)


@pytest.mark.parametrize(
    ("argument", "rest"),
    [
        (b"FROM:<a@b> SIZE=1", b" SIZE=1"),
        (b'FROM:<"a b"@b> SIZE=1', b" SIZE=1"),
        (b"FROM:<a@b>x", b"x"),
        (b"FROM:<a@b", b""),
        (b"FROM:a@b SIZE=1", b""),
        (b"FROM:<a@b> >", b" >"),
    ],
)
def test_what_follows_the_address(argument, rest):
    assert parse(argument)[1] == rest


@pytest.mark.parametrize("byte", [*range(10), *range(11, 13), *range(14, 32), 127])
@pytest.mark.parametrize("form", [b"TO:<a%b@c>", b'TO:<"a%b"@c>', b"TO:<a\\%b@c>", b"TO:a%b@c"])
def test_control_characters_are_told(form, byte):
    address, _, clean = parse(form % bytes((byte,)))
    assert not clean
    assert bytes((byte,)) in address


def test_a_control_character_outside_of_the_address_does_not_spoil_it():
    assert parse(b"TO:\t<a@b>\tx") == (b"a@b", b"\tx", True)
