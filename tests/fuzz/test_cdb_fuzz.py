"""The fuzz target of cdb on some inputs."""

import pytest
from tests.fuzz.cdb_target import fuzz
from tests.fuzz.engine import seeded


def test_mutants():
    assert fuzz(400, seeded()) == 400


@pytest.mark.long
def test_many_mutants():
    assert fuzz(60_000, seeded()) == 60_000
