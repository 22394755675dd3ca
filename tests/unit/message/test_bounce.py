"""Bounces: whom they go to, what they say, and that list managers can read them."""

import pytest

from quail.message import bounce, verp

AT = 812090813


@pytest.mark.parametrize(
    ("sender", "recipient", "expanded"),
    [
        (b"joe-l-@mx.example.com-@[]", b"ok@h.org", b"joe-l-ok=h.org@mx.example.com"),
        (b"l-@h-@[]", b"a@b@c", b"l-a@b=c@h"),
        (b"a@b@h-@[]", b"r@s", b"a@br=s@h"),
        (b"@h-@[]", b"@", b"=@h"),
        (b"list-@[]", b"ok@h.org", b"list-@[]"),
        (b"-@[]", b"ok@h.org", b"-@[]"),
        (b"l-@h-@[]", b"nohost", b"l-@h-@[]"),
        (b"#@[]", b"ok@h.org", b"#@[]"),
        (b"joe@h", b"ok@h.org", b"joe@h"),
        (b"", b"ok@h.org", b""),
    ],
)
def test_verp(sender, recipient, expanded):
    assert verp.expand(sender, recipient) == expanded


@pytest.mark.parametrize(
    ("sender", "envelope"),
    [
        (b"joe@h.org", (b"", b"joe@h.org")),
        (b"joe-l-@mx.example.com-@[]", (b"", b"joe-l-@mx.example.com")),
        (b"", (b"#@[]", b"postmaster@me")),
        (b"-@[]", (b"#@[]", b"postmaster@me")),
        (b"#@[]", None),
    ],
)
def test_bounces_go_to_the_sender_then_to_the_postmaster_then_nowhere(sender, envelope):
    assert bounce.envelope(sender, b"postmaster@me") == envelope


def test_a_bounce_of_a_bounce_ends():
    sender: bytes = b"joe@h.org"
    kinds = []
    while (envelope := bounce.envelope(sender, b"postmaster@me")) is not None:
        sender = envelope[0]
        kinds.append(envelope)
    assert kinds == [(b"", b"joe@h.org"), (b"#@[]", b"postmaster@me")]


@pytest.mark.parametrize(
    ("address", "report", "text"),
    [
        (b"a@b", b"Sorry.\n", b"<a@b>:\nSorry.\n\n"),
        (b"a@b", b"Sorry.", b"<a@b>:\nSorry.\n\n"),
        (b"a@b", b"a\n\n\nb", b"<a@b>:\na\n//b\n\n"),
        (b"a@b", b"a\n\n", b"<a@b>:\na\n\n\n"),
        (b"a@b", b"a\n\n\n", b"<a@b>:\na\n/\n\n"),
        (b"a@b", b"\nlate", b"<a@b>:\n/late\n\n"),
        (b"a@b", b"", b"<a@b>:\n\n"),
        (b"a\n\nX: y@b", b"no", b"<a__X: y@b>:\nno\n\n"),
    ],
)
def test_paragraphs(address, report, text):
    assert bounce.paragraph(address, report) == text


def test_single_bounce():
    head = bounce.compose(
        sender=b"s p@x.y",
        to=b"s p@x.y",
        bouncefrom=b"MAILER-DAEMON",
        bouncehost=b"mx.example.com",
        paragraphs=[bounce.paragraph(b"a@b", b"No.\n"), bounce.paragraph(b"c@d", b"Nor here.\n")],
        seconds=AT,
    )
    assert head == (
        b"Date: 26 Sep 1995 04:46:53 -0000\n"
        b"From: MAILER-DAEMON@mx.example.com\n"
        b'To: "s p"@x.y\n'
        b"Subject: failure notice\n"
        b"\n"
        b"Hi. This is the qmail-send program at mx.example.com.\n"
        b"Your message could not be delivered to the following addresses.\n"
        b"The error is permanent, so I have given up trying. Details are below.\n"
        b"\n"
        b"<a@b>:\nNo.\n"
        b"\n"
        b"<c@d>:\nNor here.\n"
        b"\n"
        b"--- Below this line is a copy of the message.\n"
        b"\n"
        b'Return-Path: <"s p"@x.y>\n'
    )


@pytest.mark.parametrize("sender", [b"", b"-@[]"])
def test_double_bounce(sender):
    head = bounce.compose(
        sender=sender,
        to=b"postmaster@me",
        bouncefrom=b"mailer daemon",
        bouncehost=b"me",
        paragraphs=[bounce.paragraph(b"a@b", b"No.\n")],
        seconds=AT,
    )
    header, body = head.split(b"\n\n", 1)
    assert b'\nFrom: "mailer daemon"@me\nTo: postmaster@me\n' in header
    assert body == (
        b"Hi. This is the qmail-send program at me.\n"
        b"A bounce message was on its way to this address, and it bounced as well.\n"
        b"\n"
        b"<a@b>:\nNo.\n"
        b"\n"
        b"--- Below this line is the original bounce.\n"
        b"\n"
        b"Return-Path: <>\n"
    )


def test_verp_sender_is_shown_and_told_without_its_mark():
    sender = b"l-@h.org-@[]"
    told = bounce.envelope(sender, b"postmaster@me")
    assert told == (b"", b"l-@h.org")
    head = bounce.compose(
        sender=sender, to=told[1], bouncefrom=b"M", bouncehost=b"me", paragraphs=[b"<a>:\nno\n\n"], seconds=AT
    )
    assert b"\nTo: l-@h.org\n" in head
    assert head.endswith(b"\nReturn-Path: <l-@h.org>\n")


def test_line_feeds_in_a_sender_write_no_fields():
    head = bounce.compose(
        sender=b"x\nBcc: a@h\nBcc: b",
        to=b"x\nBcc: a@h\nBcc: b",
        bouncefrom=b"M",
        bouncehost=b"me",
        paragraphs=[],
        seconds=AT,
    )
    assert not [line for line in head.split(b"\n") if line.lower().startswith(b"bcc")]
