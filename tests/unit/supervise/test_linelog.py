"""Log lines: whole, prefixed, stamped for people, and never an error."""

import os
import re

import pytest

from quail.supervise.log import LineLog


@pytest.fixture
def pipe():
    read, write = os.pipe()
    os.set_blocking(read, False)
    yield read, write
    for fd in (read, write):
        try:
            os.close(fd)
        except OSError:
            pass


def test_a_line_with_its_prefix(pipe):
    log = LineLog("smtpd: ", fd=pipe[1])
    log("hello")
    assert os.read(pipe[0], 100) == b"smtpd: hello\n"


def test_lines_of_one_turn_are_one_write(pipe, monkeypatch):
    writes = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(data) or real(fd, data))
    LineLog("q: ", fd=pipe[1]).lines(["one", "two"])
    assert writes == [b"q: one\nq: two\n"]


def test_a_stamp_for_people(pipe):
    LineLog("q: ", stamp=True, fd=pipe[1])("hello")
    assert re.fullmatch(rb"\d\d:\d\d:\d\d q: hello\n", os.read(pipe[0], 100))


def test_another_writer_of_the_same_log(pipe):
    LineLog("x: ", stamp=True, fd=pipe[1]).named("y: ")("hello")
    assert re.fullmatch(rb"\d\d:\d\d:\d\d y: hello\n", os.read(pipe[0], 100))


def test_text_that_is_no_utf8_is_written_all_the_same(pipe):
    LineLog(fd=pipe[1])("odd \udcff name")
    assert os.read(pipe[0], 100) == b"odd \\udcff name\n"


def test_nobody_can_write_a_line_of_his_own(pipe):
    log = LineLog("q: ", fd=pipe[1])
    log.lines(["drop/new.\nend msg 5\x1b[31m\r\0\x85\u2028x is none", "grüße \\n"])
    first = b"q: drop/new.\\nend msg 5\\x1b[31m\\r\\x00\\x85\\u2028x is none\n"
    assert os.read(pipe[0], 1000) == first + "q: grüße \\n\n".encode()


def test_short_writes_go_on(pipe, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
    LineLog(fd=pipe[1])("hello")
    assert os.read(pipe[0], 100) == b"hello\n"


def test_a_log_that_nobody_reads_stops_nobody(pipe):
    os.close(pipe[0])
    LineLog(fd=pipe[1])("hello")
    os.close(pipe[1])
    LineLog(fd=pipe[1])("hello")
