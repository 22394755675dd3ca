"""Dot-qmail files, messages and local frames of any content."""

import os

from hypothesis import given
from hypothesis import strategies as st

from quail.delivery import message as message_module
from quail.delivery.instructions import FORWARD, MAILDIR, MBOX, PROGRAM, REFUSE, parse
from quail.delivery.message import Message
from quail.errors import PeerError
from quail.net import lspawn_protocol, users_protocol
from quail.net.frames import LENGTH_BYTES, Splitter
from quail.net.lspawn_protocol import decode_job, decode_report, decode_task, encode_job, encode_task

WORDS = st.binary(max_size=40).map(lambda word: word.replace(b"\0", b""))
LINES = st.lists(
    st.sampled_from([b"./M/", b"./M", b"|true", b"&a@b", b"a@b", b"#", b"", b"+list", b"+", b" ", b"\0", b"\xff"])
)
DELIVERED_TO = b"Delivered-To: a@b\n"
HEADERS = st.lists(st.sampled_from([DELIVERED_TO, b"A: b\n", b"\n", b"Delivered-To: a@b", b" ", b"x"]), max_size=12)


@given(st.binary() | LINES.map(b"\n".join), st.booleans())
def test_steps_stay_in_order_and_forward_only_holds(content, forward_only):
    steps = parse(content, forward_only=forward_only)
    numbers = [step.line for step in steps]
    assert numbers == sorted(set(numbers))
    assert all(step.kind in (FORWARD, REFUSE) for step in steps) or not forward_only
    for step in steps:
        assert b"\0" not in step.value
        assert b"\n" not in step.value
        assert step.kind != MAILDIR or step.value.endswith(b"/")
        assert step.kind not in (MAILDIR, MBOX) or step.value[:1] in (b".", b"/")
        assert step.kind != PROGRAM or b"|" + step.value in content


@given(HEADERS.map(b"".join), st.integers(0, 40), st.integers(1, 9))
def test_header_has_agrees_with_reading_line_by_line(content, at, piece):
    header = content.split(b"\n\n")[0] if not content.startswith(b"\n") else b""
    lines = content[: len(header) + 1].split(b"\n")[:-1] if header else []
    fd = os.memfd_create("message")
    before = message_module.PIECE
    try:
        os.write(fd, content[at:])
        message_module.PIECE = piece
        assert Message(content[:at], fd).header_has(DELIVERED_TO) is (DELIVERED_TO[:-1] in lines)
    finally:
        message_module.PIECE = before
        os.close(fd)


@given(
    st.integers(0, 0xFFFFFFFF), WORDS, WORDS, st.integers(0, 1), st.binary(), st.binary(max_size=50), st.integers(1, 20)
)
def test_jobs_survive_the_wire_and_lspawn(tag, sender, recipient, flags, body, owner, cut):
    wire = encode_job(tag, sender, recipient, flags, body)
    splitter = Splitter(len(wire))
    frames = [one for start in range(0, len(wire), cut) for one in splitter.feed(wire[start : start + cut])]
    job = decode_job(*frames)
    assert (job.tag, job.sender, job.recipient, job.flags, job.body) == (tag, sender, recipient, flags, body)
    got, task = decode_task(encode_task(3, owner, job)[LENGTH_BYTES:])
    assert (got, task.tag, task.sender, task.recipient, task.flags, task.body) == (
        owner,
        3,
        sender,
        recipient,
        flags,
        body,
    )


@given(st.binary(max_size=60))
def test_rubbish_is_the_peers_error_and_nothing_else(frame):
    for decode in (decode_job, decode_task, decode_report, users_protocol.decode, users_protocol.decode_owner):
        try:
            decode(frame)
        except PeerError:
            pass


@given(st.builds(users_protocol.Owner, WORDS, st.integers(0, 1 << 32), st.integers(0, 1 << 32), WORDS, WORDS, WORDS))
def test_owners_survive(owner):
    again = users_protocol.decode_owner(users_protocol.encode_owner(owner))
    assert all(getattr(again, name) == getattr(owner, name) for name in users_protocol.Owner.__slots__)


def test_the_longest_job_fits_a_task():
    longest_owner = users_protocol.MAX_REPLY
    assert lspawn_protocol.MAX_JOB + longest_owner <= lspawn_protocol.MAX_TASK
