"""What becomes of a remote delivery, in qmail-remote's words (facts 4.5 and 9.2), and how rspawn makes one report of them.

qmail-remote prints a record for each recipient (`r` accepted, `h` never, `s` later) and one for the message (K, Z, D); the
queue wants one letter and one text for each recipient.
"""

from collections.abc import Sequence

from quail.smtp.client_replies import Reply

ACCEPTED, HARD, SOFT = b"r", b"h", b"s"
DELIVERED, DEFERRED, FAILED = b"K", b"Z", b"D"
_VALUE = {DELIVERED: 1, DEFERRED: 0, FAILED: -1}
_LETTER = {1: DELIVERED, 0: DEFERRED, -1: FAILED}

# Codes of "too many recipients" (RFC 5321 s4.5.3.1.10). That of RFC 821 can mean a full mailbox, too: so it counts behind a
# recipient who was accepted alone, for whoever comes first in a transaction is not one too many.
TOO_MANY, TOO_MANY_OF_OLD = 452, 552

NO_RECIPIENT_HOST = b"Sorry, address must include host name. (#5.1.3)"
UNSENDABLE = b"Sorry, that address has a character in it which SMTP can't send. (#5.1.3)"
NEEDS_UTF8 = b"%b can't take this message: it needs SMTPUTF8, which that host does not offer. (#5.6.7)"
TOO_LARGE = b"%b takes messages of %d bytes at most; this one has %d. (#5.3.4)"
UNREADABLE = b"Unable to read message. (#4.3.0)"
NO_RESOURCES = b"System resources temporarily unavailable. (#4.3.0)"
NO_CONNECTION = b"Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)"
NO_SOCKET = b"Sorry, I wasn't able to connect to the LMTP server at %b: %b (%b). (#4.4.1)"
HOST_UNRESOLVED = b"Sorry, I couldn't find any host by that name. (#4.1.2)"
NO_SUCH_HOST = b"Sorry, I couldn't find any host named %b. (#5.1.2)"
NO_EXCHANGER = b"Sorry, I couldn't find a mail exchanger or IP address. (#5.4.4)"
NULL_MX = b"Sorry, %b says that it takes no mail: it has a null MX record. (#5.1.10)"
NO_RELAY = b"Sorry, I couldn't find %b, which control/smtproutes names. (#4.4.1)"
OWN_EXCHANGER = (
    b"Sorry. %b has this host as its best mail exchanger or as its address,\n"
    b"but it isn't in my control/locals file, so I don't treat it as local. (#5.4.6)"
)
TALKS_TO_ITSELF = b"Sorry. %b greets me with my own name, so the mail would come back to this host. (#5.4.6)"
DIED = b"Connected to %b but connection died. %b(#4.4.2)"
DUPLICATE = b"Possible duplicate! "


class Record:
    """A letter and its text, lines ended by LF; the code of the reply to a recipient that was refused, else 0."""

    __slots__ = ("code", "letter", "text")

    def __init__(self, letter: bytes, text: bytes = b"", code: int = 0) -> None:
        """As qmail-remote prints them."""
        self.letter = letter
        self.text = text
        self.code = code


RECIPIENT_ACCEPTED = Record(ACCEPTED)


class Result:
    """recipients: a record for each in their order, None where the host was not asked or did not say. message: how it ended.
    host_down: no host took the connection, so other messages for the same destination would fare no better just now.
    """

    __slots__ = ("host_down", "message", "recipients")

    def __init__(
        self, message: Record, recipients: list[Record | None] | None = None, *, host_down: bool = False
    ) -> None:
        """Without recipients nobody was asked about any."""
        self.message = message
        self.recipients = recipients or []
        self.host_down = host_down

    def of(self, place: int) -> tuple[bytes, bytes]:
        """Letter and text of the report about one recipient (facts 4.6, what rspawn makes of qmail-remote's output)."""
        record = self.recipients[place] if place < len(self.recipients) else None
        return reduced(record, self.message)

    def printed(self) -> bytes:
        """All records as qmail-remote prints them, each ended by NUL."""
        records = [*(record for record in self.recipients if record is not None), self.message]
        return b"".join(record.letter + record.text.replace(b"\0", b"?") + b"\0" for record in records)


_OF_RECIPIENT = {DELIVERED: ACCEPTED, DEFERRED: SOFT, FAILED: HARD}


def together(results: Sequence[tuple[Sequence[int], Result]]) -> Result:
    """One result of those of several transactions, each with the places of its recipients among all.

    Each recipient's record says it all, and the message counts as accepted if one transaction was.
    """
    if len(results) == 1:
        return results[0][1]
    # Unless somebody has the message, nothing is said of it that would stand behind what a record says already.
    nobody = Record(results[0][1].message.letter)
    whole = next((result.message for _, result in results if result.message.letter == DELIVERED), nobody)
    records: list[Record | None] = [None] * sum(len(places) for places, _ in results)
    for places, result in results:
        for at, place in enumerate(places):
            letter, text = result.of(at)
            if letter == DELIVERED:
                records[place] = result.recipients[at] or RECIPIENT_ACCEPTED
            else:
                records[place] = Record(_OF_RECIPIENT[letter], text)
    return Result(whole, records, host_down=any(result.host_down for _, result in results))


def reduced(record: Record | None, whole: Record) -> tuple[bytes, bytes]:
    """One letter and text of a recipient's record, if there is one, and the message's (facts 4.6)."""
    if record is None:
        return whole.letter, whole.text
    message = _VALUE[whole.letter]
    final = {ACCEPTED: message, SOFT: 0, HARD: -1}[record.letter]
    return _LETTER[final], record.text + (whole.text if message <= final else b"")


def later(text: bytes, *, host_down: bool = False) -> Result:
    """Put off, for this reason."""
    return Result(Record(DEFERRED, text + b"\n"), host_down=host_down)


def never(text: bytes) -> Result:
    """Failed for good, for this reason."""
    return Result(Record(FAILED, text + b"\n"))


def said(line: bytes, reply: Reply) -> bytes:
    """A line about the host, and what it said."""
    return b"%b\nRemote host said: %b\n" % (line, reply.text)


def by_code(reply: Reply) -> bytes:
    """D for a code of 500 and more, else Z: what a refusal of the message means."""
    return FAILED if reply.code >= 500 else DEFERRED


MOST_OUTPUT = 64 << 10  # bytes of a qmail-remote's output that are looked at
_UNABLE = b"Unable to run qmail-remote.\n"
NOT_RUN = Record(DEFERRED, _UNABLE)  # it may be there again soon; qmail bounces everything
_CRASHED = Record(DEFERRED, b"qmail-remote crashed.\n")
_SILENT = Record(DEFERRED, b"qmail-remote produced no output.\n")
_TRY_AGAIN = 111


def of_program(code: int, output: bytes) -> Record:
    """The one report that a run of qmail-remote for one recipient comes to: exit code (negative: a signal), and output."""
    if code < 0:
        return _CRASHED
    if code:
        return Record(DEFERRED if code == _TRY_AGAIN else FAILED, _UNABLE)
    return read_output(output)


def read_output(output: bytes) -> Record:
    """The one report that a program's records come to."""
    pieces = output.split(b"\0")
    records = [Record(piece[:1], piece[1:]) for piece in pieces[:-1] or pieces if piece]
    if not records:
        return _SILENT
    first = records[0]
    place = next((at for at, record in enumerate(records) if record.letter in _VALUE), None)
    whole = records[place] if place is not None else Record(FAILED)
    if first is whole:
        return first
    if first.letter not in (b"r", b"s", b"h"):
        first = Record(HARD, first.text)
    return Record(*reduced(first, whole))
