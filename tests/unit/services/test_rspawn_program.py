"""QMAILREMOTE: real programs in qmail-remote's place, and what their output comes to (facts 4.6)."""

import asyncio
import os

import pytest

from quail.delivery.remote.message import Mail
from quail.delivery.remote.report import read_output
from quail.services.rspawn.program import deliver


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
    result = asyncio.run(deliver(program, mail))
    return [result.of(place) for place in range(len(mail.recipients))]


def test_it_is_called_for_each_recipient_and_reads_the_whole_message_each_time(tmp_path):
    program = script(tmp_path / "remote", 'printf "r\\0K%s %s %s %s\\0" "$1" "$2" "$3" "$(cksum | cut -d" " -f2)"')
    assert run(program, b"a@far.example", b"b@far.example") == [
        (b"K", b"far.example s@x a@far.example 18"),
        (b"K", b"far.example s@x b@far.example 18"),
    ]


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
