"""What a message needs before it can be queued: a whole header, rewritten, and an envelope (qmail-header(5), qmail-inject(8)).

A program gives the fields as they came, its arguments, the environment, the hosts and the time; it gets the header that is
to be sent and the envelope. Nothing is read here, and the body is never seen.
"""

from _collections_abc import Callable, Mapping
from os import fsdecode
from time import gmtime

from quail.errors import PeerError, PermanentError
from quail.message.address import quote
from quail.message.addresslist import Hosts, fold, is_host, rewrite
from quail.message.dates import rfc822
from quail.message.header import Field

_VISIBLE = frozenset((b"to", b"cc"))
_RECIPIENTS = frozenset((b"to", b"cc", b"bcc", b"apparently-to"))
_RESENT_RECIPIENTS = frozenset((b"resent-to", b"resent-cc", b"resent-bcc"))
_SENDERS = frozenset((
    b"sender", b"from", b"reply-to", b"return-path", b"return-receipt-to", b"errors-to",
    b"resent-sender", b"resent-from", b"resent-reply-to",
))  # fmt: skip
_MAKE_RESENT = _RESENT_RECIPIENTS | {
    b"resent-sender", b"resent-from", b"resent-reply-to", b"resent-date", b"resent-message-id",
}  # fmt: skip
_REMOVED = frozenset((b"bcc", b"resent-bcc", b"return-path", b"content-length"))

_USER = (b"QMAILUSER", b"MAILUSER", b"USER", b"LOGNAME")
_HOST = (b"QMAILHOST", b"MAILHOST")
_NAME = (b"QMAILNAME", b"MAILNAME", b"NAME")

# Where recipients are taken from: the arguments if there are any, else the header, is EITHER.
ARGUMENTS, HEADER, BOTH, EITHER = "a", "h", "H", "A"

_PER_RECIPIENT = b"-@[]"  # quail.message.verp
_ONE_LINE = bytes(32 if byte in b"\r\n" else byte for byte in range(256))


class UnparsableError(PermanentError):
    """A field of the message that its author wrote; it may have several lines."""

    verbatim = True


class Author:
    """Who sends, and in which style: what qmail-inject(8) takes from the environment."""

    __slots__ = (
        "comment_style", "host", "keep_from", "keep_message_id", "keep_return_path", "name", "per_message", "per_recipient",
        "sender_host", "sender_user", "user",
    )  # fmt: skip

    def __init__(self, environ: Mapping[bytes, bytes]) -> None:
        """`environ` as os.environb. Of each row of variables the first that is set counts; an empty user is none."""
        self.user = next((environ[name] for name in _USER if environ.get(name)), b"anonymous")
        self.host = next((environ[name] for name in _HOST if name in environ), b"")
        self.name = next((environ[name] for name in _NAME if name in environ), b"").translate(_ONE_LINE)
        self.sender_user = environ.get(b"QMAILSUSER") or self.user
        self.sender_host = environ.get(b"QMAILSHOST") or self.host
        letters = environ.get(b"QMAILINJECT", b"")
        self.comment_style = b"c" in letters
        self.keep_return_path = b"s" not in letters
        self.keep_from = b"f" not in letters
        self.keep_message_id = b"i" not in letters
        self.per_recipient = b"r" in letters
        self.per_message = b"m" in letters


class Call:
    """What the caller says of this one message.

    sender: of the option -f, None without it. arguments: recipients. recipients: the letter of the option that says where
    they are taken from, one of ARGUMENTS, HEADER, BOTH, EITHER. seconds, pid: make Message-ID, Date and a sender of its own.
    id_host: the host part of the Message-ID. followup: addresses, in lower case, that want a Mail-Followup-To.
    """

    __slots__ = ("arguments", "followup", "id_host", "pid", "recipients", "seconds", "sender")

    def __init__(
        self,
        *,
        sender: bytes | None,
        arguments: list[bytes],
        recipients: str,
        seconds: int,
        pid: int,
        id_host: Callable[[], bytes],
        followup: frozenset[bytes],
    ) -> None:
        self.sender, self.arguments, self.recipients = sender, arguments, recipients
        self.seconds, self.pid, self.id_host, self.followup = seconds, pid, id_host, followup


class Outgoing:
    """A message but for its body. header: fields, without the empty line after them; sender, recipients: the envelope."""

    __slots__ = ("header", "recipients", "sender")

    def __init__(self, header: bytes, sender: bytes, recipients: list[bytes]) -> None:
        self.header, self.sender, self.recipients = header, sender, recipients

    def return_path(self) -> bytes:
        """The sender as a field, for whoever only looks at the message."""
        return b"Return-Path: <%b>\n" % quote(self.sender).replace(b"\n", b"_")


def compose(fields: list[Field], author: Author, hosts: Hosts, call: Call) -> Outgoing:
    """The message that goes out. PermanentError, with qmail-inject's words, for what is no address or list of addresses."""
    return _Composer(author, hosts, call).compose(fields)


class _Composer:
    __slots__ = (
        "_author",
        "_call",
        "_hosts",
        "_kept",
        "_names",
        "_recipients",
        "_resent_to",
        "_return_path",
        "_visible",
    )

    def __init__(self, author: Author, hosts: Hosts, call: Call) -> None:
        self._author, self._hosts, self._call = author, hosts, call
        self._kept: list[bytes] = []
        self._names: set[bytes] = set()  # of the fields that are kept
        self._recipients: list[bytes] = []
        self._resent_to: list[bytes] = []
        self._visible: list[list[bytes]] = []  # addresses of each To and Cc
        self._return_path: bytes | None = None

    def compose(self, fields: list[Field]) -> Outgoing:
        names = {field.name for field in fields}
        resent = bool(names & _MAKE_RESENT)
        for field in fields:
            self._take(field)
        call = self._call
        recipients = [] if call.recipients == HEADER else [self._mailbox(argument) for argument in call.arguments]
        if call.recipients in {HEADER, BOTH} or (call.recipients == EITHER and not call.arguments):
            recipients += self._resent_to if resent else self._recipients
        sender = self._sender()
        added = self._added(b"Resent-" if resent else b"")
        if not resent and b"mail-followup-to" not in names:
            added += self._mail_followup_to()
        return Outgoing(b"".join(added + self._kept), sender, recipients)

    def _take(self, field: Field) -> None:
        """One field of the message: rewritten if it has addresses, and kept unless it is one of those that never go out."""
        name, text = field.name, field.text
        author = self._author
        if name in _SENDERS:
            if (name == b"from" and not author.keep_from) or (name == b"return-path" and not author.keep_return_path):
                return
            text, addresses = self._rewritten(field)
            if name == b"return-path" and addresses and self._return_path is None:
                self._return_path = addresses[-1]
        elif name in _RECIPIENTS or name in _RESENT_RECIPIENTS:
            # With ARGUMENTS nobody is lost by it, and the field may be just what another program says it is.
            text, addresses = self._rewritten(field, lenient=self._call.recipients == ARGUMENTS)
            # From the last of a list to its first, as qmail-inject has always put them into envelopes.
            (self._resent_to if name in _RESENT_RECIPIENTS else self._recipients).extend(reversed(addresses))
            if name in _VISIBLE:
                self._visible.append(addresses)
        elif name == b"message-id" and not author.keep_message_id:
            return
        if name not in _REMOVED:
            self._names.add(name)
            self._kept.append(text)

    def _rewritten(self, field: Field, *, lenient: bool = False) -> tuple[bytes, list[bytes]]:
        try:
            entries, addresses = rewrite(field.body(), self._hosts)
        except PeerError as error:
            if lenient:
                return field.text, []
            line = fsdecode(field.text.rstrip(b"\n"))
            raise UnparsableError(f"unable to parse this line:\n{line}") from error
        return fold(field.spelling, entries), addresses

    def _mailbox(self, address: bytes) -> bytes:
        try:
            return self._hosts.mailbox(address)
        except PeerError as error:
            raise _no_address(address) from error

    def _address(self, local: bytes, host: bytes) -> bytes:
        try:
            return self._hosts.whole(local, host)
        except PeerError as error:
            raise _no_address(local + b"@" + host) from error

    def _sender(self) -> bytes:
        author, call = self._author, self._call
        if call.sender is not None:
            return self._mailbox(call.sender)
        if self._return_path is not None:
            address = self._return_path
            special = not address or address.endswith(b"@[]")  # nobody, or already in a form of its own
            return address + _PER_RECIPIENT if author.per_recipient and not special else address
        local = author.sender_user
        if author.per_message:
            local += b"-%d.%d" % (call.seconds, call.pid)
        if author.per_recipient:
            return self._address(local + b"-", author.sender_host) + _PER_RECIPIENT
        return self._address(local, author.sender_host)

    def _added(self, prefix: bytes) -> list[bytes]:
        """The fields that every message must have and this one has not; of a resent one they are about the resending."""
        call, names, low = self._call, self._names, prefix.lower()
        added = []
        if low + b"date" not in names:
            added.append(b"%bDate: %b\n" % (prefix, rfc822(call.seconds)))
        if low + b"message-id" not in names:
            stamp = b"%04d%02d%02d%02d%02d%02d" % gmtime(call.seconds)[:6]
            added.append(b"%bMessage-ID: <%b.%d.qmail@%b>\n" % (prefix, stamp, call.pid, self._id_host()))
        if low + b"from" not in names:
            added.append(b"%bFrom: %b\n" % (prefix, self._from()))
        if low + b"to" not in names and low + b"cc" not in names:
            added.append(b"%bCc: recipient list not shown: ;\n" % prefix)
        return added

    def _id_host(self) -> bytes:
        host = self._call.id_host()
        if not is_host(host):
            raise _no_address(b"@" + host)
        return host

    def _from(self) -> bytes:
        author = self._author
        if author.user.translate(None, b"\r\n") != author.user:
            raise _no_address(author.user)
        address = quote(self._address(author.user, author.host))
        if not author.name:
            return address
        name = author.name.replace(b"\\", b"\\\\")
        if author.comment_style:
            return b"%b (%b)" % (address, name.replace(b"(", b"\\(").replace(b")", b"\\)"))
        return b'"%b" <%b>' % (name.replace(b'"', b'\\"'), address)

    def _mail_followup_to(self) -> list[bytes]:
        """The field if one of the recipients who are named wants it, and nothing otherwise."""
        followup = self._call.followup
        addresses = dict.fromkeys(address for field in reversed(self._visible) for address in field if address)
        if not followup or not any(address.lower() in followup for address in addresses):
            return []
        return [b"Mail-Followup-To: %b\n" % b",\n  ".join(map(quote, addresses))]


def _no_address(address: bytes) -> PermanentError:
    return PermanentError(f"unable to parse address: {fsdecode(address)}")
