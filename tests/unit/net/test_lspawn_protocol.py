import pytest

from quail.errors import PeerError
from quail.net.frames import LENGTH_BYTES, Splitter
from quail.net.lspawn_protocol import (
    DEFERRED,
    DESCRIPTOR,
    LOG,
    MAX_JOB,
    decode_job,
    decode_report,
    decode_task,
    encode_job,
    encode_report,
    encode_task,
)


def fields(job):
    return job.tag, job.sender, job.recipient, job.flags, job.body


def test_job_on_the_wire():
    wire = encode_job(7, b"s@x", b"u@h", DESCRIPTOR, b"body\n")
    assert wire[:4] == (len(wire) - LENGTH_BYTES).to_bytes(4, "big")
    assert wire[4:] == b"\0\0\0\x07\0\x03s@x\0\x03u@h\x01body\n"
    (frame,) = Splitter(MAX_JOB).feed(wire)
    assert fields(decode_job(frame)) == (7, b"s@x", b"u@h", DESCRIPTOR, b"body\n")


def test_every_cut_in_a_job_is_an_error_until_the_flags():
    frame = encode_job(7, b"s@x", b"u@h", 0, b"")[LENGTH_BYTES:]
    assert fields(decode_job(frame)) == (7, b"s@x", b"u@h", 0, b"")
    for size in range(len(frame)):
        with pytest.raises(PeerError):
            decode_job(frame[:size])


@pytest.mark.parametrize(
    ("sender", "recipient", "flags"), [(b"s\0@x", b"u@h", 0), (b"s@x", b"u@\0h", 0), (b"s@x", b"u@h", 2)]
)
def test_refused_jobs(sender, recipient, flags):
    with pytest.raises(PeerError):
        decode_job(encode_job(7, sender, recipient, flags, b"")[LENGTH_BYTES:])


def test_task_is_the_job_behind_its_owner():
    job = decode_job(encode_job(7, b"s@x", b"u@h", DESCRIPTOR, b"body\n")[LENGTH_BYTES:])
    frame = encode_task(99, b"owner\0fields", job)[LENGTH_BYTES:]
    owner, again = decode_task(frame)
    assert owner == b"owner\0fields"
    assert fields(again) == (99, *fields(job)[1:])
    for size in range(len(frame) - len(b"body\n")):
        with pytest.raises(PeerError):
            decode_task(frame[:size])


def test_report_on_the_wire():
    wire = encode_report(7, DEFERRED, b"later\n")
    assert wire == b"\0\0\0\x0b\0\0\0\x07Zlater\n"
    report = decode_report(wire[LENGTH_BYTES:])
    assert (report.tag, report.letter, report.text) == (7, b"Z", b"later\n")


@pytest.mark.parametrize("frame", [b"", b"\0\0\0\x07", b"\0\0\0\x07Xwhat", b"\0\0\0\x07Lline"])
def test_no_report(frame):
    with pytest.raises(PeerError):
        decode_report(frame)


def test_log_lines_come_from_workers_alone():
    assert decode_report(b"\0\0\0\0Lline", b"KZD" + LOG).text == b"line"
