"""Fuzz targets of message/ and of what programs hand in: fields, lists of addresses, envelopes, what $QMAILQUEUE says."""

import re

from tests.fuzz.engine import Target

from quail.errors import PeerError, PermanentError
from quail.message import address, addresslist, bounce, header, injecting, received, routing, tokens, verp
from quail.message.addresslist import Hosts, fold, rewrite
from quail.message.header import MAX_NAME, Splitter
from quail.message.injecting import Author, Call, compose
from quail.queue import descriptors, exits

HOSTS = Hosts(lambda: b"mx.example.com", lambda: b"example.com", lambda: b"corp.net")


def check_list(data):
    try:
        entries, addresses = rewrite(data, HOSTS)
    except PeerError:
        pass
    else:
        field = fold(b"To", entries)
        assert rewrite(field.partition(b":")[2], HOSTS) == (entries, addresses)
        assert field.count(b"\n") == field.count(b"\n  ") + 1
        assert len(field) <= 40 * len(data) + 40
        for each in addresses:
            assert not set(each) & set(b"\0\r\n")
            assert HOSTS.mailbox(each) == each
    try:
        HOSTS.mailbox(data)
    except PeerError:
        pass


def parse_list(data):
    try:
        fold(b"To", rewrite(data, HOSTS)[0])
    except PeerError:
        pass


LISTS = [
    b"joe@example.org, Jane Doe <jane@host>, (a comment) bob",
    b'group: "a b"@c, <@r1,@r2:d@e+>; , x@[192.0.2.1]',
    b'a.b . c@d..\n (x (y) \\) z), "q\\"\\\\" <e @ f>\n , undisclosed:;',
    b"list-@host-@[], <>, a<b <c@d>",
]
LIST_TOKENS = (*(bytes((byte,)) for byte in b'@.,:;<>()[]"\\ \t\n+'), b"@[]", b"a b", b"\xc3\xb6", b"\n ", b"\0")
NASTY_LISTS = {
    "open comments": lambda n: b"(" * n,
    "closed comments": lambda n: b"(" * (n // 2) + b")" * (n // 2),
    "words": lambda n: b"a " * (n // 2),
    "open angles": lambda n: b"<a" * (n // 2) + b">",
    "angles": lambda n: b"<a>" * (n // 3),
    "hosts of dots": lambda n: b"a" + b"@." * (n // 2),
    "one host": lambda n: b"a@" + b"b." * (n // 2),
    "a route": lambda n: b"<" + b"@a," * (n // 3) + b":b>",
    "groups": lambda n: b":;()" * (n // 4),
    "a quoted string": lambda n: b'"' + b"\\a" * (n // 2) + b'"',
    "folds": lambda n: b"a\n " * (n // 3),
}


def split(data, cut):
    """Fields and body of a message in pieces of so many bytes; "long" if its header is."""
    splitter = Splitter()
    body = None
    for at in range(0, len(data), cut):
        piece = data[at : at + cut]
        body = splitter.feed(piece) if body is None else body + piece
    body = splitter.finish() if body is None else body
    return [(field.name, field.text) for field in splitter.fields], body


def check_header(data):
    cut, message = 1 + data[0] if data else 1, data[1:]
    fields, body = split(message, max(1, len(message)))
    assert split(message, cut) == (fields, body)
    assert sum(len(text) for _, text in fields) + len(body) <= len(message) + 2 + 11 * len(fields)
    for name, text in fields:
        assert 0 < len(name) <= MAX_NAME
        assert not name.translate(None, bytes(range(33, 127)))
        assert text.endswith(b"\n")
        assert all(line[:1] in (b" ", b"\t") for line in text[:-1].split(b"\n")[1:])


HEADERS = [
    b"\0From: a@b\nSubject: x\n folded\n\tagain\n\nbody\n",
    b"\1From joe Mon\nX-Y : z\nno field here\n",
    b"\7a:b\n \n: empty\n",
    b"\2To: x",
]


def check_message(data):
    """Text before a byte 1 is somebody's environment or argument, the rest is a message."""
    choice, *said = (data[:1] or b"\0"), *data[1:].split(b"\1", 4)
    *said, message = said
    user, name, sender, argument = [each.replace(b"\0", b"") for each in (*said, *[b""] * 4)][:4]
    splitter = Splitter()
    if splitter.feed(message) is None:
        splitter.finish()
    letters = bytes(letter for bit, letter in enumerate(b"csfirm") if choice[0] >> bit & 1)
    call = Call(
        sender=sender if choice[0] & 64 else None,
        arguments=[argument] if choice[0] & 128 else [],
        recipients="ahHA"[choice[0] >> 3 & 3],
        seconds=0,
        pid=1,
        id_host=lambda: name[:8],
        followup=frozenset([b"a@mx.example.com"]),
    )
    author = Author({b"QMAILUSER": user, b"QMAILNAME": name, b"QMAILINJECT": letters, b"QMAILHOST": name[:5]})
    try:
        outgoing = compose(splitter.fields, author, HOSTS, call)
    except PermanentError as error:
        assert str(error).startswith(("unable to parse this line:\n", "unable to parse address: "))
        return
    assert outgoing.return_path().count(b"\n") == 1
    fields, body = split(outgoing.header, max(1, len(outgoing.header)))
    assert body == b""
    names = {name for name, _ in fields}
    assert not names & {b"bcc", b"resent-bcc", b"return-path", b"content-length"}
    prefix = b"resent-" if {field.name for field in splitter.fields} & injecting._MAKE_RESENT else b""
    assert {prefix + b"date", prefix + b"message-id", prefix + b"from"} <= names
    assert all(b"\0" not in each for each in outgoing.recipients)
    assert len(outgoing.header) <= 40 * len(data) + 1000


MESSAGES = [
    b"\0joe\1Joe Doe\1\1\1To: a, b@c\nCc: d <e>\nSubject: x\n\nbody",
    b"\xffjoe\1J(oe\1list-@h\1a@b\1Resent-To: x\nBcc: y\nFrom: z\nReturn-Path: <q@r>\n\n",
    b"\x30u\1\1\1\1Mail-Followup-To: a\nReturn-Path: <>\nDate: now\nMessage-ID: <1>\nFrom: a\nTo: undisclosed:;\n",
]
FIELD_TOKENS = (
    b"To: ", b"Cc: ", b"Bcc: ", b"From: ", b"Sender: ", b"Return-Path: ", b"Resent-To: ", b"Resent-Bcc: ", b"Date: ",
    b"Message-ID: ", b"Subject: ", b"From ", b"\n", b"\n ", b"\1", b"\n\n", b"Content-Length: 3\n",
)  # fmt: skip


def nasty_field(make):
    return lambda n: b"\0u\1\1\1\1To: " + make(n) + b"\n"


def read_envelope(pieces):
    """What qmail-queue makes of it: sender and recipients, or its exit code."""
    left = list(pieces)
    before = descriptors._read
    descriptors._read = lambda _fd: left.pop(0) if left else b""
    try:
        return descriptors.read_envelope()
    except descriptors.FailedError as failed:
        return failed.code
    finally:
        descriptors._read = before


def check_envelope(data):
    cut, data = 1 + data[0] if data else 1, data[1:]
    found = read_envelope([data] if data else [])
    again = read_envelope(data[at : at + cut] for at in range(0, len(data), cut))
    if isinstance(found, int):
        # What is wrong first may be told first; an end that is missing is only found at the end.
        assert found in {exits.ADDRESS_TOO_LONG, exits.READ_ERROR, exits.BAD_ENVELOPE}
        assert again in {exits.ADDRESS_TOO_LONG, exits.READ_ERROR, exits.BAD_ENVELOPE}
        return
    assert again == found
    sender, recipients = found
    whole = b"F" + sender + b"\0" + b"".join(b"T" + each + b"\0" for each in recipients) + b"\0"
    assert data.startswith(whole)


def check_words(data):
    """What a program that takes mail in the queue's stead says, and how it ends."""
    for code in {data[0] if data else 0, *exits.OWN_WORDS}:
        reply = exits.reply(code, data[1:])
        assert reply.letter in (b"D", b"Z")
        assert 0 < len(reply.text) <= exits.MAX_WORDS
        assert b"\0" not in reply.text
        assert 11 <= exits.code(reply) <= exits.CANNOT_EXECUTE


def check_address(data):
    """One address, as it travels through routing, VERP, bounces and Received fields."""
    local, host = address.split(data)
    assert data in (local + b"@" + host, local)
    quoted = address.quote(data)
    assert len(quoted) <= 2 * len(data) + 2
    assert not set(address.quote(data, utf8=True)[: len(local)]) & set(b"\r\n") - set(local)
    routes = routing.Routes(
        [b"local.example"], {b".virt": b"v", b"x@y": b"z", b"": b""}, [b"local.example", b""], b"me"
    )
    where, rewritten = routes.route(data)
    assert where in (routing.LOCAL, routing.REMOTE)
    assert b"@" in rewritten
    routes.strip_prepend(data)
    for sender in (data, data + b"-@[]", b"list-@host-@[]"):
        assert len(verp.expand(sender, data)) <= len(sender) + len(data) + 2
        verp.bounce_to(sender)
    field = received.from_network(data, data, data, b"x" + data, data, b"SMTP", 0.0)
    assert field.count(b"\n") == 2
    assert not set(field) - set(range(32, 127)) - {10}
    assert field.count(b"(") == field.count(b")")
    text = bounce.paragraph(data, data)
    assert re.match(rb"<[^\n]*>:\n", text)
    assert text.endswith(b"\n")
    assert b"\n\n" not in text.rstrip(b"\n")


ADDRESSES = [b"joe@host.example", b"a%b%c@local.example", b'"a b"@x', b"list-owner-@host.virt-@[]", b"", b"a\n\n\r b"]

TARGETS = (
    Target(
        "addresslist",
        check_list,
        parse=parse_list,
        seeds=LISTS,
        tokens=LIST_TOKENS,
        nasty=NASTY_LISTS,
        modules=[addresslist, tokens],
    ),
    Target(
        "header",
        check_header,
        parse=lambda data: split(data, max(1, len(data))),
        seeds=HEADERS,
        tokens=FIELD_TOKENS,
        nasty={
            "lines": lambda n: b"a:\n" * (n // 3),
            "one line": lambda n: b"a:" + b"b" * n,
            "folds": lambda n: b"a:b" + b"\n " * (n // 2),
            "no field": lambda n: b"a" * n,
            "blanks": lambda n: b"a" + b" " * n,
        },
        modules=[header],
    ),
    Target(
        "injecting",
        check_message,
        seeds=MESSAGES,
        tokens=(*FIELD_TOKENS, *LIST_TOKENS),
        nasty={what: nasty_field(make) for what, make in NASTY_LISTS.items()},
        modules=[injecting],
    ),
    Target(
        "envelope",
        check_envelope,
        parse=lambda data: read_envelope(data[at : at + 1000] for at in range(0, len(data), 1000)),
        seeds=[b"\0Fa@b\0Tc@d\0Te@f\0\0", b"\1F\0\0", b"\3Fx\0T\0\0rest"],
        tokens=(b"\0", b"F", b"T", b"\0T", b"x" * 1003),
        nasty={
            "recipients": lambda n: b"F\0" + b"T\0" * (n // 2) + b"\0",
            "one address": lambda n: b"F" + b"a" * n,
            "zeros": lambda n: b"F\0" + b"\0" * n,
        },
        modules=[descriptors],
    ),
    Target(
        "queueprogram",
        check_words,
        seeds=[b"\x52Dno, never (#5.7.1)", b"\x52Zlater\0hidden", b"\x1f", b"\x00x"],
        tokens=(b"D", b"Z", b" ", b"\n", b"\0", b"\x52"),
        modules=[exits],
    ),
    Target(
        "address",
        check_address,
        seeds=ADDRESSES,
        tokens=(b"@", b"%", b".", b"-@[]", b"local.example", b".virt", b"\n", b'"', b"\\", b"(", b")", b"\x7f", b"="),
        nasty={
            "at signs": lambda n: b"@" * n,
            "quotes": lambda n: b'"' * n,
            "lines": lambda n: b"\n" * n,
        },
        modules=[address, routing, verp, bounce, received],
    ),
)  # fmt: skip
