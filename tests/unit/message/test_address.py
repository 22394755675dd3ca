"""Where addresses split and how they are quoted (facts: Return-Path, MAIL FROM, RCPT TO)."""

import pytest

from quail.message import address


@pytest.mark.parametrize(
    ("whole", "parts"),
    [
        (b"joe@example.org", (b"joe", b"example.org")),
        (b"a@b@c", (b"a@b", b"c")),
        (b"joe", (b"joe", b"")),
        (b"joe@", (b"joe", b"")),
        (b"@host", (b"", b"host")),
        (b"", (b"", b"")),
        (b"#@[]", (b"#", b"[]")),
    ],
)
def test_splits_at_the_last_at_sign(whole, parts):
    assert address.split(whole) == parts


@pytest.mark.parametrize(
    ("plain", "quoted"),
    [
        (b"", b""),
        (b"joe@example.org", b"joe@example.org"),
        (b"joe", b"joe"),
        (b"s p@x.y", b'"s p"@x.y'),
        (b"s p", b'"s p"'),
        (b"@host", b'""@host'),
        (b".a@x", b'".a"@x'),
        (b"a.@x", b'"a."@x'),
        (b"a..b@x", b'"a..b"@x'),
        (b"a.b.c@x", b"a.b.c@x"),
        (b'a"b@x', b'"a\\"b"@x'),
        (b"a\\b@x", b'"a\\\\b"@x'),
        (b"a\r\nb@x", b'"a\\\r\\\nb"@x'),
        (b"a@b@x", b'"a@b"@x'),
        ("jürgen@x".encode(), b'"j\xc3\xbcrgen"@x'),
        (b"!#$%&'*+-./=?^_{|}~`@x", b"!#$%&'*+-./=?^_{|}~`@x"),
        (b"a@h o,st", b"a@h o,st"),
        (b"#@[]", b"#@[]"),
        (b"joe-TIME.PID-@mx.example.com-@[]", b'"joe-TIME.PID-@mx.example.com-"@[]'),
    ],
)
def test_quotes_only_what_is_not_a_dot_atom(plain, quoted):
    assert address.quote(plain) == quoted


@pytest.mark.parametrize(
    ("plain", "quoted"),
    [
        ("jürgen@x".encode(), b"j\xc3\xbcrgen@x"),
        ("用户.名@例子".encode(), "用户.名@例子".encode()),
        ("用户".encode(), "用户".encode()),
        ("用 户@x".encode(), '"用 户"@x'.encode()),
        ("用..户@x".encode(), '"用..户"@x'.encode()),
        (b"\xfc@x", b'"\xfc"@x'),
        (b"\xc3a\xbc@x", b'"\xc3a\xbc"@x'),
        (b"\xed\xa0\x80@x", b'"\xed\xa0\x80"@x'),
        (b"joe@\xff", b"joe@\xff"),
        (b"s p@x", b'"s p"@x'),
        (b"", b""),
    ],
)
def test_with_smtputf8_a_dot_atom_may_have_more_characters(plain, quoted):
    assert address.quote(plain, utf8=True) == quoted
