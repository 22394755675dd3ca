"""What a QMTP session is served with, and what QMTP and QMQP servers say: one behaviour for the services and the programs.

Rules are one state of the control files; `environment` is as in quail.policy.smtp. Replies are K, Z or D and a text.
"""

from _collections_abc import Mapping

from quail.cdb.file import Follower
from quail.control.reader import Control
from quail.policy.rcpthosts import RecipientHosts
from quail.policy.smtp import leading_number
from quail.qmtp.server import Settings

LIFETIME = 3600  # seconds that a connection may last, as with qmail's servers
NO_MAILBOX = b"Dsorry, no mailbox here by that name (#5.1.1)"
CANNOT_TELL = b"Zsorry, I can't tell whether that mailbox exists; try again later (#4.3.0)"
QUEUE_GONE = b"Zthe queue is not available; try again later (#4.3.0)"

_MAX_KEPT = 256
_MAX_TEXT = 400  # bytes of a reply
_PRINTABLE = bytes(byte if 32 <= byte < 127 else ord("?") for byte in range(256))


class Rules:
    """One state of the control files. Not changed after it is made: a re-read makes another."""

    __slots__ = ("_check_recipients", "_databytes", "_hosts", "_kept", "_max_recipients")

    def __init__(self, control: Control) -> None:
        """TemporaryError if a file is malformed or can't be read."""
        self._databytes = control.integer("databytes")
        self._check_recipients = bool(control.integer("rcptcheck"))
        self._max_recipients = control.integer("maxrecipients")
        self._hosts = RecipientHosts(control.lines("rcpthosts"), Follower(control.path("morercpthosts.cdb")))
        self._kept: dict[tuple[bytes | None, int], Settings] = {}

    def settings(self, environment: Mapping[bytes, bytes]) -> Settings:
        """Those of a connection; connections that are to be served alike share them."""
        relayclient = environment.get(b"RELAYCLIENT")
        size = environment.get(b"DATABYTES")
        databytes = self._databytes if size is None else leading_number(size)
        kept = self._kept.get((relayclient, databytes))
        if kept is not None:
            return kept
        settings = Settings(
            databytes=databytes,
            relayclient=relayclient,
            accepts_host=self._hosts.accepts,
            max_recipients=self._max_recipients,
            check_recipients=self._check_recipients,
        )
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[relayclient, databytes] = settings
        return settings


def recipient_reply(letter: bytes) -> bytes | None:
    """What a letter of users_protocol (K known, N unknown, T trouble) means for a recipient; None accepts."""
    if letter == b"K":
        return None
    return NO_MAILBOX if letter == b"N" else CANNOT_TELL


def queue_reply(letter: bytes, text: bytes, seconds: float) -> bytes:
    """The queue's answer (handover.Reply) as the reply to the message: K and its number, or Z or D and a text."""
    if letter == b"K":
        return b"Kok %d qp %b" % (seconds, text)
    return letter + text.translate(_PRINTABLE)[:_MAX_TEXT]
