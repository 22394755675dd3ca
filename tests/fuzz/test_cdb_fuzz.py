"""The fuzz target of cdb on some inputs."""

import os
import random

import pytest
from tests.fuzz.cdb_target import fuzz


def seeded():
    seed = int(os.environ.get("QUAIL_SEED") or random.randrange(1 << 32))
    print(f"QUAIL_SEED={seed}")
    return seed


def test_mutants():
    assert fuzz(400, seeded()) == 400


@pytest.mark.long
def test_many_mutants():
    assert fuzz(60_000, seeded()) == 60_000
