"""A message in memory: whose turn it is, by destination, for few recipients and for many."""

import os

import pytest

from quail.queue import active as module
from quail.queue.active import Active, destination_of
from quail.queue.records import Accepted


def message(*recipients):
    accepted = Accepted(b"", {n: address for n, (_, address) in enumerate(recipients)}, uid=0, pid=0)
    return Active(1, accepted, 0, 0, dict(enumerate(recipients)))


@pytest.mark.parametrize("few", [0, 100])
def test_due_at_a_destination(monkeypatch, few):
    monkeypatch.setattr(module, "_FEW", few)
    item = message(
        ("local", b"a@here"),
        ("remote", b"x@Far.org"),
        ("local", b"A@other"),
        ("remote", b"y@far.org"),
        ("local", b"b@here"),
    )
    assert list(item.due("local", b"a")) == [0, 2]
    assert list(item.due("remote", b"far.org")) == [1, 3]
    assert list(item.due("remote", b"a")) == []
    assert list(item.destinations("local")) == [b"a", b"b"]
    item.in_flight.add(0)
    item.tried.add(1)
    del item.left[4]
    assert list(item.due("local", b"a")) == [2]
    assert list(item.due("remote", b"far.org")) == [3]
    assert list(item.due("local", b"b")) == []
    assert list(item.destinations("local")) == [b"a"]


@pytest.mark.parametrize(
    ("channel", "address", "destination"),
    [
        ("local", b"Joe-List@here", b"joe"),  # one user must not have many turns by many addresses
        ("local", b"a@b@here", b"a@b"),
        ("remote", b"a@b@Far.ORG", b"far.org"),
        ("local", b"@here", b""),
        ("remote", b"x@", b""),
    ],
)
def test_what_shares_a_limit(channel, address, destination):
    assert destination_of(channel, address) == destination


def test_a_forgotten_body_closes_its_descriptor():
    item = message(("local", b"a@here"))
    item.body, item.fd = b"x", os.open(os.devnull, os.O_RDONLY)
    fd = item.fd
    item.forget_body()
    item.forget_body()
    assert (item.body, item.fd) == (None, -1)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
