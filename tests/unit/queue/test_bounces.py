"""Bounces as they are queued: QSBMF (facts 7.7), double and triple ones, how much of the message they carry."""

import pytest
from tests.unit.queue.dispatching import BIRTH, MemoryStore, routes

from quail.queue import bounces, records
from quail.queue.records import Accepted
from quail.queue.store import Entry

TELLER = bounces.Teller(b"MAILER-DAEMON", b"here.example", b"postmaster@here.example")


@pytest.fixture
def store():
    return MemoryStore()


def put(store, *failures, sender=b"alice@x.org", body=b"Received: one\n\nhello\n"):
    """A message; failures are (address, report)."""
    recipients = {n: address for n, (address, _) in enumerate(failures)}
    store.put(1, Accepted(sender, recipients, uid=1, pid=1), BIRTH, body)
    for number, (_, report) in enumerate(failures):
        store.apply(Entry(records.FAILED, 1, 0, records.encode_failure(number, report)))


def compose(store, *, teller=TELLER, copy=100_000):
    return bounces.compose(store, teller, routes(), 1, 812_123_456.0, copy=copy)


def test_the_whole_of_a_single_bounce(store):
    put(store, (b"joe@far.org", b"no such user\n"), (b"sue@here", b"mailbox is closed"))
    bounce = compose(store)
    assert (bounce.sender, bounce.recipient) == (b"", b"alice@x.org")
    lines = bounce.body.split(b"\n")
    assert lines[0].startswith(b"Date: ")
    assert lines[1:6] == [
        b"From: MAILER-DAEMON@here.example",
        b"To: alice@x.org",
        b"Subject: failure notice",
        b"",
        b"Hi. This is the qmail-send program at here.example.",
    ]
    assert bounce.body.partition(b"\n\n")[2].startswith(b"Hi. This is the")
    assert lines[8:] == [
        b"",
        b"<joe@far.org>:",
        b"no such user",
        b"",
        b"<sue@here>:",
        b"mailbox is closed",
        b"",
        b"--- Below this line is a copy of the message.",
        b"",
        b"Return-Path: <alice@x.org>",
        b"Received: one",
        b"",
        b"hello",
        b"",
    ]


def test_a_double_bounce(store):
    put(store, (b"joe@far.org", b"no\n"), sender=b"")
    bounce = compose(store)
    assert (bounce.sender, bounce.recipient) == (b"#@[]", b"postmaster@here.example")
    assert b"\n--- Below this line is the original bounce.\n\nReturn-Path: <>\n" in bounce.body
    assert b"To: postmaster@here.example\n" in bounce.body


def test_a_triple_bounce_is_none(store):
    put(store, (b"joe@far.org", b"no\n"), sender=b"#@[]")
    assert compose(store) is None


def test_an_empty_doublebounceto_drops_double_bounces(store):
    put(store, (b"joe@far.org", b"no\n"), sender=b"")
    assert compose(store, teller=bounces.Teller(b"M", b"here.example", b"")) is None


def test_a_list_with_variable_senders_hears_at_its_plain_address(store):
    put(store, (b"joe@far.org", b"no\n"), sender=b"list-@x.org-@[]")
    bounce = compose(store)
    assert (bounce.sender, bounce.recipient) == (b"", b"list-@x.org")
    assert b"\nReturn-Path: <list-@x.org>\n" in bounce.body


def test_the_prepend_of_a_virtual_domain_does_not_show(store):
    put(store, (b"info@Virtual.org", b"no\n"))
    assert b"\n<info@Virtual.org>:\nno\n" in compose(store).body


def test_failures_come_in_the_order_of_failing(store):
    store.put(1, Accepted(b"a@x", {0: b"a@here", 1: b"b@here"}, uid=1, pid=1), BIRTH, b"x\n")
    for number in (1, 0):
        store.apply(Entry(records.FAILED, 1, 0, records.encode_failure(number, b"no\n")))
    body = compose(store).body
    assert body.index(b"<b@here>") < body.index(b"<a@here>")


def test_no_more_of_the_message_than_wanted(store):
    put(store, (b"joe@far.org", b"no\n"), body=b"0123456789" * 100)
    body = compose(store, copy=15).body
    assert b"\n012345678901234\n--- The rest of the message is left out here: it has 1000 bytes in all.\n" in body
    assert body.endswith(b"1000 bytes in all.\n")
    assert compose(store, copy=1000).body.endswith(b"6789")


def test_a_large_body_is_read_no_further_than_wanted_and_closed(store, tmp_path):
    import os

    put(store, (b"joe@far.org", b"no\n"), body=b"0123456789" * 100)
    file = tmp_path / "body"
    file.write_bytes(b"0123456789" * 100)
    real = store.read
    opened = []

    def read(number, *, body):
        stored = real(number, body=False)
        if body:
            stored.fd = os.open(file, os.O_RDONLY)
            opened.append(stored.fd)
        return stored

    store.read = read
    store.read_descriptor = lambda fd, length: os.pread(fd, length, 0)
    store.close_descriptor = os.close
    assert b"\n01234\n---" in compose(store, copy=5).body
    put(store, (b"joe@far.org", b"no\n"), sender=b"#@[]")
    assert compose(store) is None
    for fd in opened:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)
    assert len(opened) >= 1


def test_a_damaged_body_is_no_reason_not_to_tell(store):
    put(store, (b"joe@far.org", b"no\n"))
    store.damaged.add(1)
    bounce = compose(store)
    assert b"<joe@far.org>:\nno\n" in bounce.body
    assert b"hello" not in bounce.body
    assert bounce.body.endswith(
        b"Return-Path: <alice@x.org>\n\n--- The message itself has been damaged on disk and is left out.\n"
    )


def test_a_body_that_cannot_be_read_now_is_tried_later(store):
    put(store, (b"joe@far.org", b"no\n"))
    store.unreadable.add(1)
    with pytest.raises(OSError, match="Input/output"):
        compose(store)
