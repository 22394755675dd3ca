import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.errors import PeerError
from quail.net.frames import LENGTH_BYTES, Splitter
from quail.net.rspawn_protocol import (
    DESCRIPTOR,
    MAX_JOB,
    MAX_RECIPIENTS,
    MAX_REPORT_TEXT,
    UTF8,
    decode_job,
    decode_report,
    encode_job,
    encode_report,
)

address = st.binary(max_size=1002).map(lambda text: text.replace(b"\0", b"x"))


def fields(job):
    return job.sender, job.flags, list(zip(job.tags, job.recipients, strict=True)), job.body


def test_job_on_the_wire():
    wire = encode_job(b"s@x", UTF8, [(7, b"u@h"), (8, b"vw@h")], b"body\n")
    assert wire[:4] == (len(wire) - LENGTH_BYTES).to_bytes(4, "big")
    assert wire[4:] == b"\0\x03s@x\x02\0\x02\0\0\0\x07\0\x03u@h\0\0\0\x08\0\x04vw@hbody\n"


@given(
    address,
    st.sampled_from([0, UTF8, DESCRIPTOR, DESCRIPTOR | UTF8]),
    st.lists(st.tuples(st.integers(0, 2**32 - 1), address), min_size=1, max_size=MAX_RECIPIENTS),
    st.binary(max_size=300),
)
def test_jobs_come_out_as_they_went_in(sender, flags, recipients, body):
    (frame,) = Splitter(MAX_JOB).feed(encode_job(sender, flags, recipients, body))
    assert fields(decode_job(frame)) == (sender, flags, recipients, body)


def test_every_cut_in_a_job_is_an_error_until_the_body():
    frame = encode_job(b"s@x", 0, [(7, b"u@h"), (8, b"v@h")], b"")[LENGTH_BYTES:]
    decode_job(frame)
    for size in range(len(frame)):
        with pytest.raises(PeerError):
            decode_job(frame[:size])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_job_or_an_error(frame):
    try:
        job = decode_job(frame)
    except PeerError:
        return
    assert encode_job(job.sender, job.flags, zip(job.tags, job.recipients, strict=True), job.body)[4:] == frame


@pytest.mark.parametrize(
    ("sender", "flags", "recipients"),
    [
        (b"s\0@x", 0, [(1, b"u@h")]),
        (b"s@x", 0, [(1, b"u@\0h")]),
        (b"s@x", 4, [(1, b"u@h")]),
        (b"s@x", 0, []),
        (b"s@x", 0, [(1, b"u@h")] * (MAX_RECIPIENTS + 1)),
    ],
)
def test_refused_jobs(sender, flags, recipients):
    with pytest.raises(PeerError):
        decode_job(encode_job(sender, flags, recipients, b"")[LENGTH_BYTES:])


def test_report_on_the_wire():
    wire = encode_report(7, b"Z", b"later\n", host_down=True)
    assert wire == b"\0\0\0\x0c\0\0\0\x07Z\x01later\n"
    assert decode_report(wire[LENGTH_BYTES:]) == (7, b"Z", b"later\n", True)


def test_the_text_of_a_report_ends_at_its_nul_and_where_the_queue_would_cut_it():
    assert decode_report(encode_report(1, b"D", b"a\0b", host_down=False)[LENGTH_BYTES:])[2] == b"a"
    text = decode_report(encode_report(1, b"D", b"x" * 20_000, host_down=False)[LENGTH_BYTES:])[2]
    assert text == b"x" * MAX_REPORT_TEXT


@pytest.mark.parametrize("frame", [b"", b"\0\0\0\x07Z", b"\0\0\0\x07X\0what", b"\0\0\0\x07K\x02"])
def test_no_report(frame):
    with pytest.raises(PeerError):
        decode_report(frame)
