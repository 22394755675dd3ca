"""SMTP smuggling outward: texts that would end a careless sender's message early; only CR LF . CR LF ends one here.

Every host is the strict one of smtphost.py: a bare CR or LF, and a command within a text, are faults of ours.
"""

import re

from tests.remote.cases import Case, Host, Message, accepted
from tests.remote.smtphost import SmtpHost
from tests.unit.smtp.smuggling_bodies import BODIES, COMMANDS, ENDS, HEADER

CHUNK = 65_536  # bytes that are read from a large message's file at once
RECEIVED = 70  # bytes, about, of the line that the queue puts in front
SPREAD = 40  # so many boundaries, each with the trick one byte later: some fall on the boundary, before and behind it
DANGEROUS = (
    "CR . CR LF",
    "LF . LF",
    "CR LF . CR LF",
    "CR LF . CR",
    "CR . CR",
    "LF . CR LF",
    "CR LF . LF",
    "CR CR LF . CR CR LF",
)


def normal(stored):
    """Each of LF, CR LF and CR alone is a line break; dots are doubled at the start of lines."""
    lines = re.split(rb"\r\n|\r|\n", stored)
    if lines[-1] == b"":
        lines.pop()
    return b"".join(b"." * line.startswith(b".") + line + b"\r\n" for line in lines)


def one_message_only(case):
    (connection,) = case.hosts["a"].connections
    assert connection.verbs().removesuffix(" QUIT") == "EHLO MAIL RCPT DATA ."
    (transaction,) = connection.transactions
    received, _, rest = transaction.body.partition(b"\r\n")
    assert received.startswith(b"Received: ")
    wanted = normal(case.messages[0].text)
    assert len(rest) == len(wanted)
    assert rest == wanted


def large(end):
    """A trick around every multiple of CHUNK."""
    text = bytearray(HEADER)
    for number in range(1, SPREAD + 1):
        place = number * CHUNK - RECEIVED + number - SPREAD // 2
        text += b"x" * (place - len(text))
        text += ENDS[end] + COMMANDS
    return bytes(text)


def smuggled(name, text, make=SmtpHost):
    return Case(f"smuggling: {name}", accepted(), a=make(), message=Message(text=text), look=one_message_only)


CASES = [
    *(smuggled(name, text) for name, text in BODIES.items()),
    *(smuggled(f"{name}, without PIPELINING", HEADER + b"x" + ENDS[name] + COMMANDS, Host) for name in DANGEROUS),
    *(smuggled(f"{name} at every boundary of a large text", large(name)) for name in DANGEROUS),
]
