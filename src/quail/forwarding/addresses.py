"""Addresses in .forward, /etc/aliases and :include: files: one line of them, in the words of RFC 822, read freely.

A line is read from its end to its start, and what it holds comes out in that order, as from dot-forward, newaliases and
newinclude. Words side by side are addresses of their own; so is what stands between < and >, whatever it is, and the words
before it are a name, which does not count. Comments, colons and semicolons are nothing, so that the groups of RFC 822 are their
names and their members. Nothing is completed here but by mailbox().
"""

from _collections_abc import Iterator

from quail.errors import PeerError
from quail.message.addresslist import Hosts
from quail.message.tokens import (
    AT,
    ATOM,
    COLON,
    COMMA,
    COMMENT,
    DOT,
    LEFT,
    LITERAL,
    QUOTED,
    RIGHT,
    SEMICOLON,
    Token,
    tokenize,
)

_WORDS = frozenset((ATOM, QUOTED, LITERAL))
_NAMES = frozenset((ATOM, QUOTED, COMMENT, DOT, AT))  # what a name before a < is made of
_CLOSING = (b")", b"]")
_BACKSLASH = ord("\\")
_INCLUDE = (ATOM, b"include")


class Address:
    """What one place of a line says.

    text: all of it as one word, without quotes and backslashes. local, host: its parts before and after the last unquoted "@",
    if has_host. included: it stands behind :include:, and text is a file's name. Any of them can be empty.
    """

    __slots__ = ("has_host", "host", "included", "local", "text")

    def __init__(self, parts: list[Token], *, included: bool = False) -> None:
        """parts: from left to right, without comments."""
        self.text = _joined(parts)
        self.included = included
        at = len(parts)
        while at and parts[at - 1][0] != AT:
            at -= 1
        self.has_host = at > 0
        self.local, self.host = (_joined(parts[: at - 1]), _joined(parts[at:])) if at else (self.text, b"")

    def mailbox(self, hosts: Hosts) -> bytes:
        """The whole address, completed as that of a header field is (qmail-header(5)). PeerError if its host can't be one."""
        return hosts.whole(self.local, self.host)


def _joined(parts: list[Token]) -> bytes:
    return b"".join([_text(*part) for part in parts])


def _text(kind: int, text: bytes) -> bytes:
    if kind == LITERAL:
        letters = iter(text)
        return bytes(
            [next(letters) if letter == _BACKSLASH else letter for letter in letters]
        )  # none stands at the end
    return text if kind in _WORDS else text or bytes([kind])


def addresses(line: bytes, *, includes: bool) -> Iterator[Address]:
    """What the line says, the last first. PeerError, perhaps after some of it, if it can't be read to its start.

    includes: whether `:include:NAME` has a meaning of its own.
    """
    tokens = tokenize(line)
    if any(kind == ATOM and text[:1] in _CLOSING for kind, text in tokens):
        raise PeerError("a bracket closes what is not open")
    parts: list[Token] = []  # of the address at hand, from right to left
    at = len(tokens)
    while at:
        at -= 1
        token = tokens[at]
        kind = token[0]
        if kind in {COMMENT, SEMICOLON}:
            continue
        if kind == RIGHT:
            if parts:
                yield Address(parts[::-1])
                parts = []
            end = at
            while at and tokens[at - 1][0] != LEFT:
                at -= 1
            yield Address([part for part in tokens[at:end] if part[0] != COMMENT])
            if not at:
                raise PeerError("a > without its <")
            at -= 1
            while at and tokens[at - 1][0] in _NAMES:
                at -= 1
        elif kind == COLON:
            if includes and at > 1 and tokens[at - 1] == _INCLUDE and tokens[at - 2][0] == COLON:
                yield Address(parts[::-1], included=True)
                parts = []
                at -= 2
        elif kind == COMMA:
            if parts:
                yield Address(parts[::-1])
                parts = []
        else:
            if parts and kind in _WORDS and parts[-1][0] in _WORDS:
                yield Address(parts[::-1])
                parts = []
            parts.append(token)
    if parts:
        yield Address(parts[::-1])
