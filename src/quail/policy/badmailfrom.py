"""Senders from whom nothing is accepted: control/badmailfrom (qmail-smtpd(8))."""

from _collections_abc import Iterable


class BadSenders:
    """Entries are whole addresses, or `@host` for everybody there; letter case does not matter, in the local part neither."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Iterable[bytes]) -> None:
        self._entries = frozenset(entry.lower() for entry in entries)

    def refuses(self, sender: bytes) -> bool:
        """`sender` is the envelope sender; the empty one has no host."""
        if not self._entries:
            return False
        sender = sender.lower()
        at = sender.rfind(b"@")
        return sender in self._entries or (at >= 0 and sender[at:] in self._entries)
