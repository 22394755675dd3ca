"""Copying: two ways at once, readers and writers that go, memory."""

import os
import threading

import pytest

from quail.net.copying import Way, exchange, filtered, write_all
from quail.net.line_ends import AddCr, DelCr, Plain


def pipe():
    return os.pipe()


def drain(fd, into):
    while data := os.read(fd, 65536):
        into.append(data)


def test_filtered():
    (source, sender), (receiver, sink) = pipe(), pipe()
    os.write(sender, b"a\r\nb\r")
    os.close(sender)
    filtered(DelCr(), source, sink)
    assert os.read(receiver, 100) == b"a\nb\r"


def test_both_ways_at_once():
    """More than the pipes hold, to a program that writes as it reads."""
    there_in, here_out = pipe()
    (to_program, from_copier), (to_copier, from_program) = pipe(), pipe()
    back_in, back_out = pipe()
    data = os.urandom(500_000)
    seen, got = [], []

    def program():
        while part := os.read(to_program, 1000):
            write_all(from_program, part)
        os.close(from_program)

    threads = [
        threading.Thread(target=program),
        threading.Thread(target=lambda: (write_all(here_out, data), os.close(here_out))),
        threading.Thread(target=drain, args=(back_in, got)),
    ]
    for thread in threads:
        thread.start()
    exchange(
        Way(there_in, from_copier, Plain(), seen.append), Way(to_copier, back_out, AddCr(), seen.append, closes=False)
    )
    os.close(back_out)
    for thread in threads:
        thread.join()
    assert b"".join(got) == data.replace(b"\n", b"\r\n")
    assert max(map(len, seen)) <= 4096
    assert seen.count(b"") == 2  # the ends
    assert sum(map(len, seen)) == 2 * len(data)


def test_a_reader_that_has_gone():
    """What it says is copied all the same. Then the other reader goes, and nothing is left to do."""
    there_in, here_out = pipe()
    (to_program, from_copier), (to_copier, from_program) = pipe(), pipe()
    back_in, back_out = pipe()
    os.close(to_program)
    os.write(here_out, b"nobody reads this")
    os.write(from_program, b"said")
    os.close(from_program)
    exchange(Way(there_in, from_copier, Plain()), Way(to_copier, back_out, Plain(), closes=False))
    assert os.read(back_in, 100) == b"said"
    os.close(back_in)
    again_in, again_out = pipe()
    os.write(again_out, b"x")
    way = Way(again_in, back_out, Plain(), closes=False)
    exchange(Way(there_in, os.dup(back_out), Plain()), way)
    assert way.ended


def test_a_source_that_can_not_be_read():
    sink = os.open("/dev/null", os.O_WRONLY)
    folder = os.open("/", os.O_RDONLY)
    way = Way(folder, sink, Plain())
    exchange(Way(os.dup(folder), os.dup(sink), Plain()), way)
    assert way.ended
    with pytest.raises(OSError):
        os.close(sink)  # it has been closed
