"""Mutants of what clients send to the queue and of what lies on its disk."""

import random

import pytest
from tests.fuzz.engine import seeded
from tests.fuzz.queue_target import JournalTarget, check_client, clients_words, fuzz

from quail.net.frames import Splitter
from quail.queue.handover import ABANDON


@pytest.mark.parametrize("index", range(len(clients_words())))
def test_well_behaved_clients(index):
    for seed in range(5):
        check_client(random.Random(seed), clients_words()[index])


def test_mutants(tmp_path):
    assert fuzz(200, seeded(), JournalTarget(tmp_path)) == 200


@pytest.mark.long
def test_many_mutants(tmp_path):
    assert fuzz(20_000, seeded(), JournalTarget(tmp_path)) == 20_000


def test_a_frame_that_comes_byte_by_byte_costs_what_it_is_long():
    """Not the square of it: a Splitter looks at the length alone until the frame is whole."""
    splitter = Splitter(1 << 20)
    splitter.feed((1 << 20).to_bytes(4, "big"))
    before = splitter._buffer
    for _ in range(1000):
        assert splitter.feed(b"x" * 1000) == []
    assert splitter._buffer is before
    assert len(splitter.feed(b"x" * ((1 << 20) - 1_000_000))) == 1
    assert len(splitter._buffer) == 0


def test_an_endless_row_of_abandoned_messages_costs_nothing():
    half = clients_words()[2]
    assert half.endswith(ABANDON)
    check_client(random.Random(1), half * 2000)
