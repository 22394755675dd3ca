"""Lines of .forward, /etc/aliases and :include: files, and what is said of one that can't be followed."""

from quail.errors import PeerError


class ForbiddenError(PeerError):
    """The line can be read, but asks for what is not to be had; the text is all that is to be said."""

    verbatim = True


class UnparsableError(PeerError):
    """The line, with what is wrong; it may go on over several."""

    verbatim = True


def lines(data: bytes) -> list[bytes]:
    """Each with its line feed; the last one may have none."""
    *whole, rest = data.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


def logical_lines(data: bytes) -> list[bytes]:
    """Lines together with those behind them that begin with a blank or a tab; empty ones between them are left out."""
    found: list[list[bytes]] = []
    for line in lines(data):
        if found and line == b"\n":
            continue
        if found and line[:1] in {b" ", b"\t"}:
            found[-1].append(line)
        else:
            found.append([line])
    return [b"".join(parts) for parts in found]


def is_comment(line: bytes) -> bool:
    """Whether the line, or logical line, does not count."""
    return line[:1] == b"#"


def unreadable(line: bytes, error: PeerError) -> PeerError:
    """What the programs say of the line, in the originals' words."""
    if isinstance(error, ForbiddenError):
        return error
    ended = b"\n" if line.endswith(b"\n") else b""
    return UnparsableError("unable to parse this line: " + shown(line.strip(b"\n") + ended))


def shown(text: bytes) -> str:
    """For an error: bytes that are no text come out as they are when it is printed."""
    return text.decode(errors="surrogateescape")
