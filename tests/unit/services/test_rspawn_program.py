"""QMAILREMOTE: real programs in qmail-remote's place, and what their output comes to (facts 4.6)."""

import asyncio
import errno
import os

import pytest

from quail.delivery.remote.message import Mail
from quail.delivery.remote.report import NO_RESOURCES, read_output
from quail.net.rspawn_protocol import Job
from quail.services.rspawn.program import deliver
from quail.services.rspawn.service import Rspawn


@pytest.mark.parametrize(
    ("output", "letter", "text"),
    [
        (b"r\0Kgood\n\0", b"K", b"good\n"),
        (b"hno\n\0DGiving up\n\0", b"D", b"no\nGiving up\n"),
        (b"swait\n\0DGiving up\n\0", b"Z", b"wait\nGiving up\n"),
        (b"Zno connection\n\0", b"Z", b"no connection\n"),
        (b"Dnull MX\n\0", b"D", b"null MX\n"),
        (b"r\0Zdied\n\0", b"Z", b"died\n"),
        (b"hno\n\0Kgood\n\0", b"D", b"no\n"),
        (b"what?\0", b"D", b"hat?"),
        (b"Kgood, without its end", b"K", b"good, without its end"),
        (b"", b"Z", b"qmail-remote produced no output.\n"),
        (b"\0\0", b"Z", b"qmail-remote produced no output.\n"),
    ],
)
def test_reports_of_outputs(output, letter, text):
    record = read_output(output)
    assert (record.letter, record.text) == (letter, text)


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return os.fsencode(path)


def run(program, *recipients, body=b"Subject: x\n\nhello\n", fd=-1):
    mail = Mail(b"far.example", b"s@x", list(recipients or [b"r@far.example"]), body, fd)
    told = []
    asyncio.run(deliver(program, mail, told.append))
    return [(record.letter, record.text) for record in told]


def test_it_is_called_for_each_recipient_and_reads_the_whole_message_each_time(tmp_path):
    program = script(tmp_path / "remote", 'printf "r\\0K%s %s %s %s\\0" "$1" "$2" "$3" "$(cksum | cut -d" " -f2)"')
    assert run(program, b"a@far.example", b"b@far.example") == [
        (b"K", b"far.example s@x a@far.example 18"),
        (b"K", b"far.example s@x b@far.example 18"),
    ]


class Reports:
    """The queue's connection."""

    def __init__(self, seen=lambda: None):
        self.seen, self.reports, self.is_done = seen, [], False

    def report(self, tag, letter, text, *, host_down):
        assert not host_down
        self.reports.append((tag, letter, text))
        self.seen()

    def done(self, _job):
        self.is_done = True


def do(program, reports, *recipients):
    """What the service does with a job for these; what it logs."""
    lines = []
    service = Rspawn.__new__(Rspawn)
    service._program, service._log = program, lines.append
    job = Job(b"s@x", 0, list(range(10, 10 + len(recipients))), list(recipients), b"hello\n")
    asyncio.run(service._do(reports, job, -1))
    assert reports.is_done
    return lines


def test_each_report_goes_out_at_once(tmp_path):
    """A restart while the others are on their way must not have this one delivered again."""
    told = tmp_path / "told"
    program = script(tmp_path / "remote", f'[ -e {told} ] && printf "r\\0Ksecond\\0" || printf "r\\0Kfirst\\0"')
    reports = Reports(told.touch)
    assert do(program, reports, b"a@far.example", b"b@far.example") == []
    assert reports.reports == [(10, b"K", b"first"), (11, b"K", b"second")]


def test_who_has_the_message_has_it_even_if_there_is_no_process_for_the_next(tmp_path, monkeypatch):
    start, left = asyncio.create_subprocess_exec, [1]

    async def start_one(*words, **options):
        if not left:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        left.pop()
        return await start(*words, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start_one)
    reports = Reports()
    (line,) = do(script(tmp_path / "remote", 'printf "r\\0Kgood\\0"'), reports, b"a@x", b"b@x", b"c@x")
    assert "unable to run" in line
    later = NO_RESOURCES + b"\n"
    assert reports.reports == [(10, b"K", b"good"), (11, b"Z", later), (12, b"Z", later)]


def test_a_large_message_is_read_from_its_own_descriptor(tmp_path):
    (tmp_path / "body").write_bytes(b"x" * 300_000)
    fd = os.open(tmp_path / "body", os.O_RDONLY)
    try:
        program = script(tmp_path / "remote", 'printf "r\\0K%s\\0" "$(wc -c)"')
        assert run(program, b"a@x", b"b@x", body=b"", fd=fd) == [(b"K", b"300000")] * 2
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("exit 111", (b"Z", b"Unable to run qmail-remote.\n")),
        ("exit 1", (b"D", b"Unable to run qmail-remote.\n")),
        ("kill -9 $$", (b"Z", b"qmail-remote crashed.\n")),
        ("exit 0", (b"Z", b"qmail-remote produced no output.\n")),
    ],
)
def test_ends_of_programs(tmp_path, text, report):
    assert run(script(tmp_path / "remote", text)) == [report]


def test_a_program_that_is_not_there_puts_mail_off(tmp_path):
    assert run(os.fsencode(tmp_path / "nowhere")) == [(b"Z", b"Unable to run qmail-remote.\n")]


def test_endless_output_is_not_kept(tmp_path):
    (report,) = run(script(tmp_path / "remote", "printf K; head -c 1000000 /dev/zero | tr '\\0' x"))
    assert report[0] == b"K"
    assert len(report[1]) < 65_536
