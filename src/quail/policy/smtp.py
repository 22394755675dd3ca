"""What an SMTP or LMTP session is served with, and what its answers say: one behaviour for smtpd, qmail-smtpd, qmail-lmtpd.

Rules are one state of the control files; `environment` is what tcpserver or the tcprules file has set for a connection
(TCPREMOTEIP, TCPREMOTEHOST, TCPREMOTEINFO, TCPLOCALHOST, TCPLOCALIP, RELAYCLIENT, DATABYTES: tcp-environ(5),
qmail-smtpd(8)). Replies are complete but for their CR LF.
"""

from _collections_abc import Mapping

from quail.cdb.file import Follower
from quail.control.reader import Control
from quail.message.received import from_network
from quail.policy.badmailfrom import BadSenders
from quail.policy.rcpthosts import RecipientHosts
from quail.smtp.settings import Settings

UNREADABLE_CONTROLS = b"421 4.3.0 unable to read controls"
NO_MAILBOX = b"550 5.1.1 sorry, no mailbox here by that name"
CANNOT_TELL = b"451 4.3.0 sorry, I can't tell whether that mailbox exists; try again later"
QUEUE_GONE = b"451 4.3.0 the queue is not available; try again later"

_MAX_KEPT = 256
_MAX_TEXT = 400  # bytes of a reply; RFC 5321 section 4.5.3.1.5 allows 512 with code and CR LF
_DIGITS = b"0123456789"
_PRINTABLE = bytes(byte if 32 <= byte < 127 else ord("?") for byte in range(256))


class Rules:
    """One state of the control files. Not changed after it is made: a re-read makes another."""

    __slots__ = (
        "_bad_senders",
        "_hosts",
        "_kept",
        "_limits",
        "_local_addresses",
        "_locals",
        "check_recipients",
        "databytes",
        "greeting",
        "localiphost",
        "timeout",
    )

    def __init__(self, control: Control, local_addresses: frozenset[bytes] = frozenset()) -> None:
        """`local_addresses` are the IP texts of this host. TemporaryError if a file is malformed or can't be read."""
        self.greeting = control.required("smtpgreeting")
        self.localiphost = control.line("localiphost")
        self.databytes = control.integer("databytes")
        self.timeout = control.integer("timeoutsmtpd")  # seconds
        self.check_recipients = bool(control.integer("rcptcheck"))
        self._local_addresses = local_addresses
        self._bad_senders = BadSenders(control.lines("badmailfrom"))
        self._hosts = RecipientHosts(control.lines("rcpthosts"), Follower(control.path("morercpthosts.cdb")))
        self._locals = frozenset(name.lower() for name in control.lines("locals"))
        self._limits = {
            "max_recipients": control.integer("maxrecipients"),
            "max_command_length": control.integer("maxcommandlength"),
            "max_line_length": control.integer("maxlinelength"),
            "max_bad_commands": control.integer("maxbadcommands"),
            "max_junk_commands": control.integer("maxjunkcommands"),
        }
        self._kept: dict[tuple[bytes | None, int, bool], Settings] = {}

    def settings(self, environment: Mapping[bytes, bytes], *, lmtp: bool = False) -> Settings:
        """Those of a connection; connections that are to be served alike share them.

        LMTP hands over what is to be delivered here: RELAYCLIENT does not count, and hosts in control/locals are taken too.
        """
        relayclient = None if lmtp else environment.get(b"RELAYCLIENT")
        size = environment.get(b"DATABYTES")
        databytes = self.databytes if size is None else leading_number(size)
        kept = self._kept.get((relayclient, databytes, lmtp))
        if kept is not None:
            return kept
        settings = Settings(
            greeting=self.greeting,
            databytes=databytes,
            relayclient=relayclient,
            accepts_host=self._takes_by_lmtp if lmtp else self._hosts.accepts,
            badmailfrom=self._bad_senders.refuses,
            local_addresses=self._local_addresses,
            localiphost=self.localiphost,
            check_recipients=self.check_recipients,
            lmtp=lmtp,
            **self._limits,
        )
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[relayclient, databytes, lmtp] = settings
        return settings

    def _takes_by_lmtp(self, host: bytes) -> bool:
        return host.lower() in self._locals or self._hosts.accepts(host)


def leading_number(text: bytes) -> int:
    """The decimal digits that the text begins with; 0 without one, as in qmail."""
    digits = text[: len(text) - len(text.lstrip(_DIGITS))]
    return int(digits.lstrip(b"0")[:18] or b"0")


def received(
    environment: Mapping[bytes, bytes], helo: bytes | None, seconds: float, protocol: bytes = b"SMTP"
) -> bytes:
    """The Received field that goes before the message; qmail says SMTP after EHLO too, and so do its readers expect."""
    get = environment.get
    local = get(b"TCPLOCALHOST") or get(b"TCPLOCALIP")
    return from_network(
        get(b"TCPREMOTEHOST"), get(b"TCPREMOTEIP"), get(b"TCPREMOTEINFO"), helo, local, protocol, seconds
    )


def recipient_reply(letter: bytes) -> bytes | None:
    """What a letter of users_protocol (K known, N unknown, T trouble) means at RCPT; None accepts."""
    if letter == b"K":
        return None
    return NO_MAILBOX if letter == b"N" else CANNOT_TELL


def queue_reply(letter: bytes, text: bytes, seconds: float) -> bytes:
    """The queue's answer (handover.Reply) as the reply to the message: K and its number, or Z or D and a text.

    A text that ends in an enhanced status code, `disk full (#4.3.0)`, has it moved to the front (RFC 2034 section 4).
    """
    if letter == b"K":
        return b"250 2.0.0 ok %d qp %b" % (seconds, text)
    text = text.translate(_PRINTABLE).strip()
    kind, code = (b"5", b"554") if letter == b"D" else (b"4", b"451")
    status = b".3.0"
    start = text.rfind(b"(#")
    if start >= 0 and text.endswith(b")"):
        parts = text[start + 2 : -1].split(b".")
        if len(parts) == 3 and all(part.isdigit() and len(part) <= 3 for part in parts):
            status = b".%b.%b" % (parts[1], parts[2])
            text = text[:start].rstrip()
    if kind == b"4" and status == b".3.1":
        code = b"452"  # RFC 5321 section 4.2.3: insufficient system storage
    return b"%b %b%b %b" % (code, kind, status, text[:_MAX_TEXT])
