"""Every target on its seeds, its corpus and some mutants; and that work and memory grow with the input, no faster."""

import os
from functools import partial

import pytest
from tests.fuzz.engine import CORPUS, corpus, fuzz, instructions, memory, seconds, seeded, targets

from quail.supervise.multilog.pattern import matches

ALL = targets()
MANY = 60  # times the mutants of CI
NASTY = [(name, what) for name, target in ALL.items() for what in target.nasty]


@pytest.fixture(params=list(ALL))
def target(request):
    return ALL[request.param]


def test_seeds_and_corpus(target):
    for data in target.seeds:
        target.check(data)
    for _, data in corpus(target.name):
        target.check(data)


def test_every_kept_file_is_of_a_target():
    for name in set(os.listdir(CORPUS)) - set(ALL):
        assert os.path.exists(os.path.join(os.path.dirname(CORPUS), f"{name}_target.py"))


def test_mutants(target):
    assert fuzz(target, target.count, seeded()) == target.count


@pytest.mark.long
def test_many_mutants(target):
    assert fuzz(target, target.count * MANY, seeded()) == target.count * MANY


@pytest.mark.parametrize(("name", "what"), NASTY, ids=[f"{name}-{what}" for name, what in NASTY])
def test_work_and_memory_are_linear_in_the_input(name, what):
    target = ALL[name]
    make, parse = target.nasty[what], target.parse
    small, large = make(600), make(2400)
    parse(small)  # what it loads and remembers at its first call does not count
    work = [instructions(partial(parse, data)) for data in (small, large)]
    assert work[1] <= 4.5 * work[0] + 2000
    held = [memory(partial(parse, data)) for data in (small, large)]
    assert held[1] <= 5.5 * held[0] + 20_000  # lists grow by steps


@pytest.mark.long
@pytest.mark.parametrize(("name", "what"), NASTY, ids=[f"{name}-{what}" for name, what in NASTY])
def test_time_is_linear_in_the_input(name, what):
    """Also of what is done by functions that are not written in Python."""
    target = ALL[name]
    assert linear(target.parse, target.nasty[what])


def linear(parse, make):
    """Whether eight times the input takes about eight times as long, with room for what a busy machine does to it."""
    small, large = (seconds(partial(parse, make(size))) for size in (20_000, 160_000))
    return large <= 8 * 3 * small + 0.1


def test_the_count_notices_quadratic_work():
    """Somebody who begins a line of multilog again for each byte."""

    def work(size):
        return instructions(
            lambda: [matches(b"*b", b"a" * end) or matches(b"a" * end, b"a" * end) for end in range(size)]
        )

    assert work(200) > 4.5 * work(50) + 2000


@pytest.mark.long
def test_the_time_notices_quadratic_work():
    """Somebody who copies what is left of the input for each byte."""

    def eat(data):
        while data:
            data = data[1:]

    assert not linear(eat, bytes)
