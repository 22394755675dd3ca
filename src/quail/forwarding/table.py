"""Forwarding tables, the text form of forwarding databases: `target: command, command;` (setforward(1), printforward(1)). Pure.

Blanks, tabs and line feeds are nothing, wherever they stand, and # begins a comment to the end of its line; a backslash makes
a letter of the byte behind it. The work is linear in the size of a table.
"""

import re
from _collections_abc import Iterable, Iterator

from quail.errors import PeerError
from quail.forwarding.database import LONGEST, OWNER, READ, TARGET, Record, TooLongError

_PIECES = re.compile(
    rb"""[ \t\n]+ | \#[^\n]* | \\(?P<escaped>.) | (?P<end>[:,;]) | (?P<plain>[^ \t\n\#\\:,;]+)""",
    re.VERBOSE | re.DOTALL,
)
_COMMANDS = (b"&", b"|", b"!", b".", b"/")
_PLAIN = bytes(byte for byte in range(33, 128) if byte not in b"#,:;\\")
BAD = "bad database format"
_AT_ONCE = 1 << 16  # bytes


def parse(text: bytes) -> Iterator[Record]:
    """The records of a table, in the order in which setforward adds them. PeerError, in its words, perhaps after some."""
    target: bytes | None = None
    commands: list[bytes] = []
    for word, end in _words(text):
        if end == b":":
            if target is not None:
                raise PeerError("double colons are not permitted")
            target = word.lower()
        elif target is None:
            raise PeerError("commas are not permitted before colons")
        else:
            if word[:1] == OWNER:
                yield OWNER + target, word[1:]
            elif word:
                commands.append(_command(word))
            if end == b";":
                if commands:
                    yield TARGET + target, b"".join([command + b"\0" for command in commands])
                target = None
                commands = []
    if target is not None:
        raise PeerError("final instruction must end with semicolon")


def _words(text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each word, without backslashes, and the byte that ends it; PeerError if something is left over."""
    parts: list[bytes] = []
    for piece in _PIECES.finditer(text):
        kind = piece.lastgroup
        if kind is None:
            continue
        part = piece[kind]
        if kind == "end":
            yield b"".join(parts), part
            parts = []
            continue
        if b"\0" in part:
            raise PeerError("NUL bytes are not permitted")
        parts.append(part)
    if parts:
        raise PeerError("final instruction must end with semicolon")


def _command(word: bytes) -> bytes:
    if word[:1] in {b"|", b"!", b".", b"/"}:
        return word
    if len(word) > LONGEST:
        raise TooLongError
    return word if word[:1] == b"&" else b"&" + word


def write(records: Iterable[Record]) -> Iterator[bytes]:
    """The table of a database, in pieces of some _AT_ONCE bytes. PeerError if it is no forwarding database."""
    out: list[bytes] = []
    size = 0
    for key, data in records:
        if key[:1] == OWNER:
            text = b"%b: ?%b;\n" % (_escaped(key[1:]), _escaped(data))
        elif key[:1] == TARGET:
            *commands, rest = data.split(b"\0")
            if rest or not all(map(_is_command, commands)):
                raise PeerError(BAD)
            lines = [b", %b%b\n" % (command[:1], _escaped(command[1:])) for command in commands]
            text = b"%b:\n%b;\n" % (_escaped(key[1:]), b"".join(lines))
        else:
            raise PeerError(BAD)
        out.append(text)
        size += len(text)
        if size > _AT_ONCE:
            yield b"".join(out)
            out, size = [], 0
    yield b"".join(out)


def _is_command(text: bytes) -> bool:
    return text[:1] in _COMMANDS and (text[:1] != b"&" or len(text) <= READ)


def _escaped(text: bytes) -> bytes:
    if not text.translate(None, _PLAIN):
        return text
    return b"".join(
        [byte if byte in _PLAIN else b"\\" + byte for byte in [text[at : at + 1] for at in range(len(text))]]
    )
