"""Bounce messages in the form that list managers recognise: the qmail-send bounce message format (QSBMF).

A bounce is: what `compose` makes, then the whole original message. The body begins `Hi. This is the`; a paragraph ends at an
empty line; one that starts with "<" tells of a recipient; one that starts with "-" ends them.
"""

from _collections_abc import Iterable
from itertools import pairwise

from quail.message.address import quote
from quail.message.dates import rfc822
from quail.message.verp import bounce_to

DOUBLE_BOUNCE_SENDER = b"#@[]"  # a host that nobody can have: mail from it that fails is dropped

_SINGLE_INTRODUCTION = b"""\
Your message could not be delivered to the following addresses.
The error is permanent, so I have given up trying. Details are below.
"""
_DOUBLE_INTRODUCTION = b"A bounce message was on its way to this address, and it bounced as well.\n"
_SINGLE_BREAK = b"--- Below this line is a copy of the message.\n"
_DOUBLE_BREAK = b"--- Below this line is the original bounce.\n"


def envelope(sender: bytes, double_bounce_to: bytes) -> tuple[bytes, bytes] | None:
    """(sender, recipient) of the bounce for a message from `sender`; None for a triple bounce, which is dropped.

    A bounce has an empty sender; the bounce of a bounce goes to double_bounce_to and has DOUBLE_BOUNCE_SENDER.
    """
    if sender == DOUBLE_BOUNCE_SENDER:
        return None
    recipient = bounce_to(sender)
    return (b"", recipient) if recipient else (DOUBLE_BOUNCE_SENDER, double_bounce_to)


def paragraph(address: bytes, report: bytes) -> bytes:
    """What a bounce says of one recipient. address: as its sender knows it; report: of the delivery, one or more lines.

    An empty line would end the paragraph, so in a row of line feeds all but the first are shown as "/". A row at the very
    end keeps its last one.
    """
    text = b"<" + address.replace(b"\n", b"_") + b">:\n" + report
    if not text.endswith(b"\n"):
        text += b"\n"
    lines = text[:-1].split(b"\n")
    pieces = [lines[0]]
    for before, line in pairwise(lines):
        pieces += (b"\n" if before else b"/", line)
    return b"".join(pieces) + b"\n\n"


def compose(
    *,
    sender: bytes,
    to: bytes,
    bouncefrom: bytes,
    bouncehost: bytes,
    paragraphs: Iterable[bytes],
    seconds: float,
) -> bytes:
    """The header and the body of a bounce, as far as the Return-Path of the message that follows it.

    sender: the envelope sender of the message that failed (nobody to tell: this is a double bounce); to: the recipient that
    `envelope` gave; bouncefrom, bouncehost: the control files; paragraphs: of `paragraph`; seconds: Unix time.
    """
    teller = bounce_to(sender)
    return b"".join(
        (
            b"Date: " + rfc822(seconds) + b"\n",
            b"From: " + _one_line(bouncefrom + b"@" + bouncehost) + b"\n",
            b"To: " + _one_line(to) + b"\n",
            b"Subject: failure notice\n\n",
            b"Hi. This is the qmail-send program at " + bouncehost + b".\n",
            _SINGLE_INTRODUCTION if teller else _DOUBLE_INTRODUCTION,
            b"\n",
            *paragraphs,
            _SINGLE_BREAK if teller else _DOUBLE_BREAK,
            b"\nReturn-Path: <" + _one_line(teller) + b">\n",
        )
    )


def _one_line(address: bytes) -> bytes:
    """Quoted. A local sender may hold line feeds, and must not write header fields into a message from the mail system."""
    return quote(address).replace(b"\n", b"_")
