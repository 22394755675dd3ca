"""Fuzz targets of the journal: records whose sums are right whatever they say, files that are not ours, envelopes.

What a disk makes of a journal is tests.fuzz.queue_target: there nearly no record survives.
"""

import os
import shutil

from tests.fuzz.engine import Target, new_folder
from tests.fuzz.queue_target import JournalTarget, NoSync

from quail.errors import PeerError, TemporaryError
from quail.queue import records, recovery, replay, state
from quail.queue.recovery import open_journal

SECRET = bytes(range(16))
SEPARATOR = b"\x1e"
TIME = 1_700_000_000 * 1_000_000
NUMBERS = (1, 2, 3, 4, 77, (1 << 32) + 5, (1 << 63) - 1, (1 << 64) - 1)


def check_envelopes(data):
    for decode in (
        records.Accepted.decode,
        records.decode_failure,
        records.decode_number,
        records.decode_schedule,
    ):
        try:
            found = decode(data)
        except PeerError:
            continue
        if decode == records.Accepted.decode:
            again = found.encode()
            assert records.Accepted.decode(again).encode() == again
            assert all(records.decode_schedule(b"%d,%d" % pair) == pair for pair in [found.retry])
        elif decode == records.decode_schedule:
            assert max(found) <= records.MAX_TIME
    for offset in (0, 1):
        records.parse_record(data, offset, SECRET)
        try:
            records.parse_batch(data, offset, SECRET)
        except records.UnknownFormatError:
            pass
    assert 0 <= records.announced_length(data) <= records.BATCH_HEADER + records.MAX_ENDS * records.END_SIZE


ENVELOPES = [
    records.Accepted(b"a@b", {0: b"c@d", 3: b"e@f"}, uid=1, pid=2, attributes=((b"smtputf8", b""),)).encode(),
    records.Accepted(b"", {}, uid=0, pid=0, retry=(5, 6), held=True).encode(),
    b"17\0no such user\n",
    b"1700000000,0",
    b"".join(records.record(SECRET, records.DONE, 1, TIME, b"0")),
    records.batch_header(SECRET, 1, (0, 0), 2, 100, [(1, 5000)]),
]


class Journals:
    """A journal of one segment for each input: its names of files, and its records, between separators.

    A record: kind and number, its letters; flags; then its envelope. The body is one line.
    """

    def __init__(self):
        self._parent = None

    def build(self, directory, data):
        names, *parts = data.split(SEPARATOR)
        for folder in ("journal", "mess", "drop", "damaged", "damaged/seen"):
            os.makedirs(f"{directory}/{folder}", 0o700)
        for at, name in enumerate(names.split(b"/")[:6]):
            if name.strip(b".") and b"\0" not in name and len(name) < 200:
                folder = ("mess", "journal", "damaged")[at % 3]
                with open(os.path.join(os.fsencode(directory), folder.encode(), name), "wb") as file:
                    file.write(b"stray")
        written = []
        for part in parts:
            kind, number, flags = (part + b"\0\0\0")[:3]
            kind = kind % 8
            written += records.record(
                SECRET,
                kind,
                NUMBERS[number % len(NUMBERS)],
                TIME,
                part[3:],
                (b"body\n",) if kind == records.ACCEPTED else (),
                body_file_length=5 if flags & 1 and kind == records.ACCEPTED else None,
                known_body_sum=1 if flags & 2 else None,
            )
        body = b"".join(written)
        header = records.batch_header(SECRET, 1, (0, 0), 100, len(body), [])
        with open(f"{directory}/journal/00000001.seg", "wb") as file:
            file.write(header + body)
        with open(f"{directory}/secret", "wb") as file:
            file.write(SECRET)

    def check(self, data):
        if self._parent is None:
            self._parent = new_folder()
        directory = f"{self._parent}/queue"
        self.build(directory, data)
        try:
            before = None
            for _ in range(3):
                try:
                    opened = open_journal(directory, calls=NoSync(), segment_size=200_000)
                except TemporaryError:
                    assert before is None
                    return
                try:
                    JournalTarget.look(opened.journal)
                    live = list(opened.journal.state)
                    # What one start has understood, the next one finds.
                    assert before is None or live == before
                    before = live
                finally:
                    opened.journal.close()
                    os.close(opened.lock)
        finally:
            shutil.rmtree(directory)


def record(kind, number, envelope, flags=0):
    return SEPARATOR + bytes((kind, number, flags)) + envelope


ACCEPTED = ENVELOPES[0]
JOURNALS = [
    record(1, 0, ACCEPTED) + record(1, 1, ACCEPTED) + record(2, 0, b"0") + record(4, 1, b"3\0no\n") + record(5, 0, b""),
    b"7/x/y"
    + record(1, 2, ACCEPTED, 1)
    + record(3, 2, b"5,6")
    + record(6, 2, b"")
    + record(7, 2, b"")
    + record(6, 3, b""),
    b"stray" + record(1, 0, ACCEPTED) + record(1, 0, b"u0\0p0\0Fx\0N3\0Te@f\0") + record(1, 0, ACCEPTED, 2),
    record(1, 5, ACCEPTED) + record(2, 5, b"4294967296"),
]

TARGETS = (
    Target(
        "records",
        check_envelopes,
        seeds=ENVELOPES,
        tokens=(b"\0", b"N", b"T", b"F", b"u", b"p", b"A", b"R", b"H", b"=", b",", b"4294967296", b"9" * 25, b"QuailBt\1"),
        nasty={
            "recipients": lambda n: b"u0\0p0\0F\0" + b"T\0" * (n // 2),
            "numbers": lambda n: b"u0\0p0\0F\0" + b"N1\0T\0" * (n // 5),
            "attributes": lambda n: b"A=\0" * (n // 3) + b"F\0",
            "digits": lambda n: b"9" * n,
        },
        modules=[records],
    ),
    Target(
        "journal",
        Journals().check,
        seeds=JOURNALS,
        tokens=(
            SEPARATOR, *JOURNALS[0].split(SEPARATOR)[1:], b"N7\0", b"N18446744073709551616\0", b"R4294967295,0\0",
            b"\x1e\5\0\0", b"\x1e\1\7\0F\0T\0", b"18446744073709551615", b"\xc2\xb2/\xc2\xb2.seg/",
            b"9" * 30 + b"/" + b"9" * 30 + b".seg/",
            b"H\0",
        ),
        nasty={
            "messages": lambda n: record(1, 0, b"F\0") * (n // 7),
            "marks": lambda n: record(1, 0, b"F\0T\0") + record(2, 0, b"0") * (n // 5),
            "failures": lambda n: record(1, 0, b"F\0T\0") + record(4, 0, b"0\0") * (n // 6),
            "strays": lambda n: b"".join(record(6, at % 8, b"") for at in range(n // 4)),
        },
        modules=[recovery, replay, state],
        count=120,
    ),
)  # fmt: skip
