"""What qmail-local is called with: one message for one recipient, and the lines that are made of it (facts 3.6, 5.6)."""

from quail.delivery.message import Message
from quail.message import address, from_line


class Order:
    """user: whose the address is. home: absolute path. local, host: the recipient, after rewriting. dash, ext: what the
    dot-qmail file goes by (facts 6.1). sender: of the envelope, VERP already expanded.
    """

    __slots__ = ("dash", "ext", "home", "host", "local", "message", "sender", "user")

    def __init__(
        self,
        user: bytes,
        home: str,
        local: bytes,
        dash: bytes,
        ext: bytes,
        host: bytes,
        sender: bytes,
        message: Message,
    ) -> None:
        """In the order of qmail-local's arguments."""
        self.user = user
        self.home = home
        self.local = local
        self.dash = dash
        self.ext = ext
        self.host = host
        self.sender = sender
        self.message = message

    @property
    def recipient(self) -> bytes:
        """`local@host`."""
        return b"%b@%b" % (self.local, self.host)

    def delivered_to(self) -> bytes:
        """The line that marks where the message has been; a second meeting is a loop."""
        return b"Delivered-To: %b\n" % self.recipient.replace(b"\n", b"_")

    def return_path(self) -> bytes:
        """The line with the sender, quoted where it must be."""
        return b"Return-Path: <%b>\n" % address.quote(self.sender).replace(b"\n", b"_")

    def from_line(self, seconds: float) -> bytes:
        """The line that a message begins with in an mbox."""
        return from_line.text(self.sender, seconds)
