"""Lists of addresses in header fields: read, completed, and written again (RFC 822 s6, RFC 5322 s3.4; qmail-header(5)).

A list is read as freely as qmail reads it: a blank between two addresses counts as a comma, comments and source routes may
be anywhere, and old forms are taken. It is written in one form: `, ` between addresses, nothing around dots, comments after
a plain address, lines folded at commas. What was written so is written the same again. All work is linear in the size of a
field, which may come from anybody.
"""

from _collections_abc import Callable

from quail.errors import PeerError, PermanentError
from quail.message.tokens import (
    ANGLE,
    AT,
    ATEXT,
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

_END = 0
_HOST_BYTES = ATEXT + b"." + bytes(range(128, 256))  # an 8-bit name can't be quoted; those of RFC 6531 need not be
_WIDTH = 78  # columns; RFC 5322 s2.1.1


class Hosts:
    """What completes host names: each is asked for when an address first needs it."""

    __slots__ = ("_default_domain", "_default_host", "_known", "_plus_domain")

    def __init__(
        self,
        default_host: Callable[[], bytes],
        default_domain: Callable[[], bytes],
        plus_domain: Callable[[], bytes],
    ) -> None:
        """default_host: for an address without one; default_domain: for a host without a dot; plus_domain: for `host+`."""
        self._default_host, self._default_domain, self._plus_domain = default_host, default_domain, plus_domain
        self._known: dict[Callable[[], bytes], bytes] = {}

    def complete(self, host: bytes) -> bytes:
        """The full name. Literals such as [192.0.2.1] have it already; empty only if nothing is configured.

        PermanentError if a configured name is none.
        """
        host = host.rstrip(b".") or self._ask(self._default_host)
        if host[:1] == b"[":
            return host
        if host[-1:] == b"+":
            host = _join(host[:-1], self._ask(self._plus_domain))
        return host if b"." in host else _join(host, self._ask(self._default_domain))

    def mailbox(self, address: bytes) -> bytes:
        """An address as it is in envelopes, completed; the empty one stays empty. PeerError if its host can't be one."""
        local, at, host = address.rpartition(b"@")
        if not at:
            local, host = host, b""
        return self.whole(local, host) if address else address

    def whole(self, local: bytes, host: bytes) -> bytes:
        """The same from its parts; neither is looked at for an "@"."""
        if not is_host(host):
            raise PeerError(f"no host: {host!r}")
        host = self.complete(host)
        return local + b"@" + host if host else local

    def _ask(self, source: Callable[[], bytes]) -> bytes:
        if source not in self._known:
            host = source().rstrip(b".")
            if not is_host(host):
                raise PermanentError(f"unable to parse address: @{host.decode(errors='surrogateescape')}")
            self._known[source] = host
        return self._known[source]


def is_host(text: bytes) -> bool:
    """Whether it can be written after the "@" of an address in a field as it is: words and dots, or a literal; or empty."""
    if text[:1] == b"[":
        return text[-1:] == b"]" and not text[1:-1].translate(None, ATEXT + b'.,:;()<>" ')
    return not text.translate(None, _HOST_BYTES)


def _join(host: bytes, domain: bytes) -> bytes:
    if not host or not domain:
        return host or domain
    return b"%b.%b" % (host.rstrip(b"."), domain)


def rewrite(text: bytes, hosts: Hosts) -> tuple[list[bytes], list[bytes]]:
    """A field's body as a list: its entries as they are to be written between commas, and its addresses for an envelope.

    An entry is an address with its name and comments, or a comment alone; the first of a group has the group's name before
    it and the last one the semicolon. Addresses are in the order of the field, empty for `<>`. PeerError if it is no list.
    """
    entries: list[bytes] = []
    addresses: list[bytes] = []
    run: list[Token] = []
    angles: list[list[Token]] = []
    group: bytes | None = None  # what to write before the next entry, within a group
    after_group = False
    for token in [*_angles(tokenize(text), angles), (_END, b"")]:
        kind = token[0]
        if kind == COLON:
            if group is not None:
                raise PeerError("a group within a group")
            group = _group_name(run)
            after_group = False
            first = len(entries)
        elif kind in {COMMA, SEMICOLON, _END}:
            if after_group and all(item[0] == COMMENT for item in run):
                entries[-1] += b" ".join(text for _, text in run)
                run = []
            after_group = False
            for written, address in _members(run, angles, hosts):
                entries.append((group or b"") + written)
                if group:
                    group = b""
                if address is not None:
                    addresses.append(address)
            # A semicolon that ends no group is taken for a comma, as people mean it.
            if kind == SEMICOLON and group is not None:
                if len(entries) == first:
                    entries.append(group)
                entries[-1] += b";"
                group = None
                after_group = True
        else:
            run.append(token)
            continue
        run = []
    if group is not None:
        raise PeerError("a group without an end")
    return entries, addresses


def fold(name: bytes, entries: list[bytes]) -> bytes:
    """The field of this name (as it is to be spelled) with the entries that rewrite() gave, in lines of at most 78 columns.

    An entry that is longer has a line for itself; the first one stays with the name.
    """
    pieces = [name, b":"]
    used = len(name) + 1
    last = len(entries) - 1
    for index, entry in enumerate(entries):
        size = len(entry) + (index < last)
        if index and used + 1 + size > _WIDTH:
            pieces.append(b"\n  ")
            used = 2
        else:
            pieces.append(b" ")
            used += 1
        pieces.append(entry if index == last else entry + b",")
        used += size
    pieces.append(b"\n")
    return b"".join(pieces)


def _angles(tokens: list[Token], angles: list[list[Token]]) -> list[Token]:
    """The tokens, with those from each < to its > taken out into `angles`; ANGLE stands in their place, in their order.

    A < that has no > before the next < stays: qmail makes it part of a word.
    """
    found: list[Token] = []
    left = -1  # where the < is that a > would belong to
    for token in tokens:
        if token[0] == LEFT:
            left = len(found)
        elif token[0] == RIGHT:
            if left < 0:
                raise PeerError("a > without its <")
            angles.append(found[left + 1 :])
            del found[left:]
            token = (ANGLE, b"")  # noqa: PLW2901
            left = -1
        found.append(token)
    angles.reverse()  # taken from the end, one for each ANGLE
    return found


def _group_name(run: list[Token]) -> bytes:
    if any(kind in {ANGLE, AT, LEFT} for kind, _ in run):
        raise PeerError("a colon after an address")
    return _phrase(run) + b": "


def _members(run: list[Token], angles: list[list[Token]], hosts: Hosts) -> list[tuple[bytes, bytes | None]]:
    """The entries between two commas: each as it is to be written, and its address, which a comment alone does not have."""
    found: list[tuple[bytes, bytes | None]] = []
    words: list[Token] = []  # since the last address in angles
    at, end = 0, len(run)
    while at < end:
        token = run[at]
        at += 1
        if token[0] != ANGLE:
            words.append(token)
            continue
        inside = angles.pop()
        comments = [text for kind, text in inside if kind == COMMENT]
        written, address = _address([item for item in inside if item[0] != COMMENT], hosts, in_angles=True)
        while at < end and run[at][0] == COMMENT:
            comments.append(run[at][1])
            at += 1
        name = _phrase(words)
        found.append((b"%b<%b>%b" % (name + b" " if name else b"", written, b" ".join(comments)), address))
        words = []
    return found + _plain(words, hosts)


def _plain(tokens: list[Token], hosts: Hosts) -> list[tuple[bytes, bytes | None]]:
    """As _members, without angles: a new address begins where two words follow one another."""
    found: list[tuple[bytes, bytes | None]] = []
    parts: list[Token] = []
    comments: list[bytes] = []
    for token in [*tokens, (_END, b"")]:
        if token[0] == COMMENT:
            comments.append(token[1])
        elif token[0] == _END or (parts and _is_word(token) and _is_word(parts[-1])):
            written, address = _address(parts, hosts) if parts else (None, None)
            if written is not None or comments:
                found.append((b" ".join([written, *comments] if written is not None else comments), address))
            parts, comments = [token], []
        else:
            parts.append(token)
    return found


def _address(parts: list[Token], hosts: Hosts, *, in_angles: bool = False) -> tuple[bytes, bytes]:
    """One address without its comments: as it is to be written, and for an envelope. PeerError if it is none."""
    if in_angles:
        parts = _without_route(parts)
        if not parts:
            return b"", b""
    kinds = [kind for kind, _ in parts]
    if kinds[0] == AT or COMMA in kinds or COLON in kinds or SEMICOLON in kinds:
        raise PeerError("no address")
    end, host = _last_host(kinds)
    if not end:
        raise PeerError("an address without a local part")
    complete = hosts.complete(_host(parts[host]))
    written, plain = _local(parts[:end], routed=complete == b"[]")
    return (b"%b@%b" % (written, complete), b"%b@%b" % (plain, complete)) if complete else (written, plain)


def _last_host(kinds: list[int]) -> tuple[int, slice]:
    """Where the local part ends, and where the host is: after the last "@" that has anything after it but dots.

    Dots at the end of the host are left out, and one at the end of an address without an "@".
    """
    end = len(kinds)
    if AT not in kinds:
        return end - (kinds[-1] == DOT), slice(0, 0)
    for at in range(end - 1, -1, -1):
        if kinds[at] == AT:
            stop = end
            while kinds[stop - 1] == DOT:
                stop -= 1
            if stop > at + 1:
                return at, slice(at + 1, stop)
            end = at
    return end, slice(0, 0)


def _without_route(parts: list[Token]) -> list[Token]:
    """What follows the colon of a source route `@a,@b:`, or all if there is none (RFC 5322 s4.4)."""
    if not parts or parts[0][0] != AT:
        return parts
    for index, (kind, _) in enumerate(parts):
        if kind == COLON:
            return parts[index + 1 :]
    raise PeerError("a source route without an end")


def _host(parts: list[Token]) -> bytes:
    pieces = []
    for index, token in enumerate(parts):
        kind, text = token
        if kind not in {ATOM, DOT, LITERAL} or (index and _is_word(token) and _is_word(parts[index - 1])):
            raise PeerError("no host")
        pieces.append(b"." if kind == DOT else text)
    host = b"".join(pieces)
    if not is_host(host):
        raise PeerError("no host")
    return host


def _local(parts: list[Token], *, routed: bool) -> tuple[bytes, bytes]:
    """A local part as it is to be written, and as it is. If it is more than words and dots, it is quoted as one word.

    `routed`: before @[] there may be an "@" too, as in senders for each recipient (quail.message.verp).
    """
    plain, written = [], []
    regular = True
    before = (DOT, b"")
    for token in parts:
        kind, text = token
        if _is_word(before) and _is_word(token):
            plain.append(b" ")
            regular = False
        if kind in {ATOM, QUOTED}:
            plain.append(text)
            written.append(_word(token))
        else:
            piece = text or bytes([kind])
            plain.append(piece)
            written.append(piece)
            regular = regular and (kind == DOT or (routed and kind == AT))
        before = token
    whole = b"".join(plain)
    return (b"".join(written), whole) if regular else (_string(whole), whole)


def _phrase(tokens: list[Token]) -> bytes:
    """A name before an address or a group, with its comments: blanks between words, none around dots and "@"."""
    pieces: list[bytes] = []
    open_ended = False  # a blank must come before a word
    for kind, text in tokens:
        if kind in {DOT, AT}:
            pieces.append(bytes([kind]))
            open_ended = False
            continue
        if open_ended:
            pieces.append(b" ")
        pieces.append(b'"<"' if kind == LEFT else text if kind in {COMMENT, LITERAL} else _word((kind, text)))
        open_ended = True
    return b"".join(pieces)


def _is_word(token: Token) -> bool:
    return token[0] in {ATOM, QUOTED, LITERAL}


def _word(token: Token) -> bytes:
    kind, text = token
    return text if kind == ATOM and not text.translate(None, ATEXT) else _string(text)


def _string(text: bytes) -> bytes:
    return b'"%b"' % text.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
