"""A large message whose body file is gone: known by name, held by the queue, never a crash or an endless retry."""

import os

import pytest

from quail.queue import records
from quail.queue.records import Accepted
from quail.queue.recovery import open_journal
from quail.queue.store import DamagedBodyError, Entry


def test_a_body_file_that_is_gone_is_damage(tmp_path):
    opened = open_journal(str(tmp_path))
    journal = opened.journal
    number = journal.new_number()
    large = journal.new_large_body(number)
    journal.large_write(large, b"body")
    envelope = Accepted(b"s@x", {0: b"r@y"}, uid=1, pid=2).encode()
    assert journal.commit([Entry(records.ACCEPTED, number, 0, envelope, (), large)])
    os.unlink(tmp_path / "mess" / str(number))
    with pytest.raises(DamagedBodyError, match=f"body of message {number} is missing"):
        journal.read(number, body=True)
    assert journal.read(number, body=False).accepted.sender == b"s@x"
    journal.close()
    os.close(opened.lock)
