"""docs/formats says what the code does: sizes and offsets in its tables, and the limits that it names."""

import os
import re

import pytest

from quail.net import authd_protocol, lspawn_protocol, rspawn_protocol, users_protocol
from quail.queue import handover, journal, records, segments
from quail.services.authd import service as authd
from quail.services.queue import intake, shares
from quail.storage import maildrop, sizes, tcpto

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(name: str) -> str:
    with open(f"{ROOT}/docs/formats/{name}", encoding="utf-8") as file:
        return file.read()


def section(name: str, heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", read(name), flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(("heading", "size"), [("Batch", records.BATCH_HEADER), ("Record", records.RECORD_HEADER)])
def test_fields_follow_each_other_and_fill_the_header(heading, size):
    rows = re.findall(r"^\| (\d+) \| [^|]*\| (\d*)[^|]*\|", section("journal.md", heading), flags=re.MULTILINE)
    at = 0
    for offset, length in rows:
        assert int(offset) == at
        if at == size:
            break
        at += int(length)
    assert at == size


def test_records_of_slow_hosts():
    rows = re.findall(r"^\| (\d+) \| (\d+) \|", section("tcpto.md", "Record"), flags=re.MULTILINE)
    assert [int(at) for at, _ in rows] == [sum(int(length) for _, length in rows[:place]) for place in range(len(rows))]
    assert sum(int(length) for _, length in rows) == tcpto.RECORD
    text = read("tcpto.md")
    sets = f"then {tcpto.SETS} sets of {tcpto.SET} bytes, each of {tcpto.RECORDS} records"
    head = tcpto.HEAD.split(b"\n")[0].decode()
    for said in (sets, f"size of {tcpto.SIZE:,} bytes", f"`{head}`", f"`{tcpto.PATH}`"):
        assert said in text
    assert f"mod {tcpto.SETS}" in text
    assert f"more than {tcpto.GAP} seconds in the future" in text


def test_every_kind_of_record_is_described():
    _, _, table = section("journal.md", "Record").partition("| kind | name |")
    rows = re.findall(r"^\| (\d) \| (\w+) \| ", table, flags=re.MULTILINE)
    assert [int(kind) for kind, _ in rows] == list(records.KINDS)
    for kind, name in rows:
        assert getattr(records, name.upper()) == int(kind)


def test_every_letter_of_an_accepted_record_is_described():
    everything = records.Accepted(
        b"s", {3: b"r"}, uid=1, pid=2, attributes=((b"a", b"b"),), retry=(1, 2), held=True
    ).encode()
    letters = {part[:1].decode() for part in everything.split(b"\0")[:-1]}
    assert set(re.findall(r"^\| `(\w)` \| ", section("journal.md", "Record"), flags=re.MULTILINE)) == letters


def test_letters_of_the_hand_over():
    text = section("handover.md", "Frames")
    frame = handover.encode_envelope(b"s", [b"r"], [(b"a", b"b")])[4:]
    assert re.findall(r"^\| `(\w)` \| ", text, flags=re.MULTILINE) == [
        part[:1].decode() for part in frame.split(b"\0")[:-1]
    ]


LIMITS = {
    "journal.md": (records.BLOCK, journal.INLINE_BODY, records.MAX_TIME),
    "handover.md": (
        handover.MAX_ENVELOPE, intake.MAX_CHUNK, handover.MAX_ADDRESS, intake.MAX_AT_WORK, int(intake.DEADLINE),
        int(intake.IDLE_DEADLINE), shares.CONNECTIONS, shares.SERVICE_CONNECTIONS, shares.BYTES,
        handover.MAX_RECIPIENTS, journal.INLINE_BODY,
    ),
    "local-sockets.md": (
        users_protocol.MAX_REQUEST, users_protocol.MAX_REPLY, lspawn_protocol.MAX_JOB, lspawn_protocol.MAX_REPORT_TEXT,
        rspawn_protocol.MAX_JOB, rspawn_protocol.MAX_RECIPIENTS, rspawn_protocol.MAX_REPORT_TEXT,
        authd_protocol.MAX_FIELD, authd_protocol.MAX_REST, authd.MAX_WAITING, int(authd.PATIENCE),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_those_of_the_code(name):
    text = read(name)
    assert [limit for limit in LIMITS[name] if f"{limit:,}" not in text] == []


def test_mebibytes_of_the_journal():
    text = read("journal.md")
    assert f"up to {segments.SEGMENT_SIZE >> 20} MiB" in text
    assert f"up to {journal.MAX_BATCH >> 20} MiB" in text
    assert f"if {intake.INLINE_TOTAL >> 20} MiB of unfinished messages" in text


@pytest.mark.parametrize("text", [value for name, value in vars(intake).items() if isinstance(value, bytes)])
def test_every_answer_of_the_intake_is_listed(text):
    assert f"| `{text.decode()}` |" in section("handover.md", "Replies")


def test_what_messages_weigh():
    text = read("sizes.md")
    for said in (f"`{sizes.FILE} 1`", f"at most {sizes._LARGEST >> 20} MiB"):
        assert said in text
    assert f"at least {maildrop._WORTH_SAVING} messages, and at least one in {maildrop._PART_WORTH_SAVING}" in text
    assert sizes._HEAD % 0xABC == b"quail.sizes 1 00000abc\n"
