"""The lab finds every hole that is planted in a toy store, and none in the store without them."""

import pytest
from tests.crash.lab import BrokenPromiseError, Lab
from tests.crash.toystore import HOLES, ToySubject


def sweep(lab, hole):
    calls = lab.cuts(ToySubject(hole, 1), per_call=40, depth=1)
    lab.failures(lambda: ToySubject(hole, 1), calls, per_call=3, lasting=(1, 3))
    lab.recovery_failures(ToySubject(hole, 1), share=0.5)


def test_nothing_is_found_in_a_store_without_holes(lab):
    sweep(lab, "")
    assert lab.states > 5000


ROUNDS = 16  # one round misses the rarest hole in one of six seeds


@pytest.mark.parametrize("hole", HOLES)
def test_planted_hole_is_found(hole, lab):
    for seed in range(lab.seed, lab.seed + ROUNDS):
        found = finding(seed, hole)
        if found:
            assert f"seed {seed}" in found
            return
    pytest.fail(f"not found with {ROUNDS} seeds from {lab.seed}")


def finding(seed, hole):
    try:
        sweep(Lab(seed), hole)
    except BrokenPromiseError as error:
        return str(error)
    return ""


def test_same_seed_same_way(lab):
    texts = []
    for _ in range(2):
        with pytest.raises(BrokenPromiseError) as caught:
            sweep(Lab(lab.seed), "no sync of the log")
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
