"""A message in two lines, for a terminal: whom it is for and from, and how it begins. Pure."""

from _collections_abc import Callable

from quail.message.header import Splitter

_WIDTH = 78  # columns; a terminal of 80 does not wrap
_PRINTABLE = bytes(byte if 32 <= byte < 127 else ord("_") for byte in range(256))
_MARGIN = b"    "


def lines(recipient: bytes, sender: bytes, beginning: bytes) -> tuple[bytes, bytes]:
    """Without their ends; what a terminal would take for something other than text is an underscore."""
    title = b"*** TO <%b> FROM <%b>" % (recipient, sender)
    text = (_MARGIN + beginning)[:_WIDTH].replace(b"\n", b"/")
    return title.translate(_PRINTABLE), text.translate(_PRINTABLE)


def beginning_of(read: Callable[[], bytes]) -> tuple[Splitter, bytes]:
    """The header, and the subject's line and the body, or as much of the body as there is any use for.

    read: the next piece of the message, of any size; empty at its end, and after it. PermanentError for too long a header.
    """
    splitter = Splitter()
    body: bytes | None = None
    while body is None:
        data = read()
        body = splitter.feed(data) if data else splitter.finish()
    while len(body) < _WIDTH and (data := read()):
        body += data
    subjects = [field.body().lstrip(b" \t\r\n") for field in splitter.fields if field.name == b"subject"]
    return splitter, b"".join(subjects) + body
