"""What a qmail-send says to a spawn daemon, and hears from it (facts 4.6): both sides. Pure.

The daemon first says how many deliveries it takes at a time, in one byte. A command is a byte, the number of the delivery; then
the message (its path below queue/mess), the sender and the recipient, each ended by NUL. A report is the number, a letter (K, Z
or D) and a text, ended by NUL. Reports come in any order.
"""

from quail.net.lspawn_protocol import DEFERRED, FAILED

LIMIT = 120  # deliveries at a time, as the originals have it
_MAX_PATH = 100  # bytes of a message's name
_MAX_ADDRESS = 1 << 16  # bytes: no queue has such addresses
_MAX_REPORT = 10_000  # bytes of a text that are kept
_FIELDS = 3
_IN_PATH = frozenset(b"0123456789/")

NO_MEMORY = DEFERRED, b"qmail-spawn out of memory. (#4.3.0)\n"
TOO_BIG = DEFERRED, b"Internal error: delnum too big. (#4.3.5)\n"
IN_USE = DEFERRED, b"Internal error: delnum in use. (#4.3.5)\n"
NO_NUMBER = FAILED, b"Internal error: messid has nonnumerics. (#5.3.5)\n"
LONG_PATH = FAILED, b"Internal error: messid too long. (#5.3.5)\n"
SHORT_PATH = FAILED, b"Internal error: messid too short. (#5.3.5)\n"
NO_HOST = FAILED, b"Sorry, address must include host name. (#5.1.3)\n"

Report = tuple[bytes, bytes]
"""Letter and text."""


class Command:
    """One delivery, to `local@host`. `trouble`: the report to give at once, None for a command that can be followed."""

    __slots__ = ("host", "local", "number", "path", "sender", "trouble")

    def __init__(self, number: int, path: bytes, sender: bytes, recipient: bytes) -> None:
        """Fields as they came, of any length and content."""
        self.number = number
        self.path = path
        self.sender = sender
        self.local, at, self.host = recipient.rpartition(b"@")
        self.trouble = _trouble(path, sender, recipient) or (None if at else NO_HOST)


def _trouble(path: bytes, sender: bytes, recipient: bytes) -> Report | None:
    if max(len(sender), len(recipient)) > _MAX_ADDRESS:
        return NO_MEMORY
    if len(path) > _MAX_PATH:
        return LONG_PATH
    if not path:
        return SHORT_PATH
    return NO_NUMBER if path.startswith(b"/") or not _IN_PATH.issuperset(path) else None


class Commands:
    """Bytes in, commands out. Of a field that is too long a little more is kept than may be: enough to see that."""

    __slots__ = ("_field", "_fields", "_number")

    def __init__(self) -> None:
        """At the start of a command."""
        self._number: int | None = None
        self._fields: list[bytes] = []
        self._field = bytearray()

    def feed(self, data: bytes) -> list[Command]:
        """Those that are whole now."""
        found = []
        place = 0
        while place < len(data):
            if self._number is None:
                self._number = data[place]
                place += 1
                continue
            end = data.find(b"\0", place)
            piece = data[place : end if end >= 0 else len(data)]
            self._field += piece[: _MAX_ADDRESS + 1 - len(self._field)]
            if end < 0:
                break
            place = end + 1
            self._fields.append(bytes(self._field))
            self._field.clear()
            if len(self._fields) == _FIELDS:
                found.append(Command(self._number, *self._fields))
                self._number = None
                self._fields = []
        return found


def encode_command(number: int, path: bytes, sender: bytes, recipient: bytes) -> bytes:
    """One command; no field has a NUL."""
    return b"%c%b\0%b\0%b\0" % (number, path, sender, recipient)


class Reports:
    """Bytes in; (number, letter, text) out. Of a long text the first 10,000 bytes are kept, and a letter may be anything."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        """At the start of a report."""
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes, bytes]]:
        """Those that are whole now."""
        found = []
        begin = 0
        while begin < len(data):
            if not self._rest:  # the number may be a NUL, which ends nothing
                self._rest.append(data[begin])
                begin += 1
            end = data.find(b"\0", begin)
            piece = data[begin : end if end >= 0 else len(data)]
            self._rest += piece[: _MAX_REPORT + 2 - len(self._rest)]
            if end < 0:
                break
            begin = end + 1
            found.append((self._rest[0], bytes(self._rest[1:2]), bytes(self._rest[2:])))
            self._rest.clear()
        return found


def encode_report(number: int, report: Report) -> bytes:
    """One report; its text ends at its first NUL."""
    letter, text = report
    return b"%c%b%b\0" % (number, letter, text.partition(b"\0")[0])
