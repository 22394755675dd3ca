"""The table of dotqmail_cases.py, by qmail-local and by a delivery worker: the same reports, files and forwarded mail."""

import contextlib

import pytest
from tests.system.dotqmail_cases import CASES, DRY, Case
from tests.system.dotqmail_house import House, Launcher

LETTERS = {0: b"K", 100: b"D", 111: b"Z"}


@pytest.fixture(scope="module")
def launcher():
    with contextlib.closing(Launcher()) as launcher:
        yield launcher


@pytest.fixture
def make_house(launcher):
    with contextlib.ExitStack() as stack:
        yield lambda case: stack.enter_context(contextlib.closing(House(case, launcher)))


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_by_a_worker(make_house, case):
    house = make_house(case)
    assert house.worker() == (LETTERS[case.code], house.named(case.text))
    house.check()


@pytest.mark.parametrize("case", [case for case in CASES if case.programs], ids=repr)
def test_by_qmail_local(make_house, case):
    house = make_house(case)
    assert house.program() == (case.code, house.named(case.text))
    house.check()


@pytest.mark.parametrize("options", [["-n"], ["-Nn", "--"]], ids=repr)
@pytest.mark.parametrize("case", DRY, ids=repr)
def test_dry_run(make_house, case, options):
    house = make_house(case)
    assert house.program(*options) == (case.code, house.named(case.text))
    house.check()


def test_the_last_option_counts(make_house):
    house = make_house(Case("do it", "./M/\n", mail={"M": 1}))
    assert house.program("-nN", "-n", "-N") == (0, b"did 1+0+0\n")
    house.check()


def test_there_are_enough_cases():
    assert len(CASES) >= 150
