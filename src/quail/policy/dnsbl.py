"""Whether a client that lists of the DNS speak of gets mail service: what rblsmtpd decides, and says to those it turns away.

A list blocks an address by a TXT record of the address's name in the list, and an anti-list accepts it by an A record.
"""

from _collections_abc import Callable, Iterable

from quail.errors import TemporaryError

BLOCK, ACCEPT = "r", "a"
_UNSURE = b"temporary RBL lookup error"
_LONGEST_TEXT = 200
_PRINTABLE = bytes(byte if 32 <= byte < 127 else ord("?") for byte in range(256))
_LONGEST_VERB = 4

LookUp = Callable[[str, bytes], bytes]
"""Of BLOCK or ACCEPT and a name: the texts of its TXT records; or anything if it has an A record. b"" if there is none.
TemporaryError if it can't be told."""


def name_in_list(ip: bytes, base: bytes) -> bytes:
    """The name of an address in a list: its parts reversed; of an IPv6 address the 32 digits (RFC 5782 s2.4).

    An IPv4 address written as one of IPv6 is an IPv4 address. What is no address is taken apart at its dots.
    """
    parts = ip.split(b".")
    if b":" in ip:
        parts = _digits(ip) or parts
    return b".".join([*reversed(parts), base]) if base else b".".join(reversed(parts))


def _digits(ip: bytes) -> list[bytes]:
    import _socket  # noqa: PLC0415  few clients have such an address

    try:
        packed = _socket.inet_pton(_socket.AF_INET6, ip.partition(b"%")[0].decode("ascii", "replace"))
    except OSError:
        return []
    if packed[:12] == b"\0" * 10 + b"\xff\xff":
        return [b"%d" % byte for byte in packed[12:]]
    return [b"%c" % digit for digit in packed.hex().encode()]


def by_environment(value: bytes) -> bytes | None:
    """What $RBLSMTPD says: the line to turn the client away with, or None if it is to be served."""
    if not value:
        return None
    return _line(b"553 ", value[1:]) if value[:1] == b"-" else _line(b"451 ", value)


def by_lists(options: Iterable[tuple[str, bytes]], ip: bytes, look_up: LookUp) -> bytes | None:
    """What lists say: the line to turn the client away with, or None if it is to be served. The first that knows decides.

    `options` are those of rblsmtpd in their order: lists (r) and anti-lists (a), among switches for those that follow: a
    listed client may try again (B) or not (b); if it can't be told, it is served (C), or lists block and anti-lists don't
    count (c). Once something could not be told, whoever is turned away may try again.
    """
    permanent = careful = failed = False
    for letter, base in options:
        if letter in "bB":
            permanent = letter == "b"
        elif letter in "cC":
            careful = letter == "c"
        elif letter in (BLOCK, ACCEPT):
            try:
                found = look_up(letter, name_in_list(ip, base))
            except TemporaryError:
                failed = True
                found = _UNSURE if careful == (letter == BLOCK) else b""
            if found and letter == ACCEPT:
                return None
            if found:
                return _line(b"553 " if permanent and not failed else b"451 ", found)
    return None


def _line(code: bytes, text: bytes) -> bytes:
    return code + text[:_LONGEST_TEXT].translate(_PRINTABLE)


class TurnedAway:
    """What is said to a client that gets no service: polite answers, and the reason to everything that would send mail.

    Bytes in, bytes out; a line of any length takes no memory.
    """

    __slots__ = ("_command", "_line", "ended")

    def __init__(self, line: bytes) -> None:
        """`line` is what by_environment() or by_lists() gives."""
        self._line = line + b"\r\n"
        self._command = b""  # of a line that has not come to its end: what is needed to tell its verb
        self.ended = False

    def greeting(self) -> bytes:
        """What the client is greeted with."""
        return b"220 rblsmtpd.local\r\n"

    def feed(self, data: bytes) -> bytes:
        """What is answered. `ended` tells that the client has said good bye."""
        first, *more = data.split(b"\n")
        self._command = (self._command + first)[: _LONGEST_VERB + 2]
        answers = []
        for line in more:
            verb = self._command.removesuffix(b"\r").partition(b" ")[0].upper()
            self._command = line[: _LONGEST_VERB + 2]
            if verb == b"QUIT":
                self.ended = True
                answers.append(b"221 rblsmtpd.local\r\n")
                break
            answers.append(b"250 rblsmtpd.local\r\n" if verb in _POLITE else self._line)
        return b"".join(answers)


_POLITE = (b"HELO", b"EHLO", b"MAIL", b"RSET", b"NOOP")
