"""The table of cases_*.py, played all at once in a system home with IPv6, and a part of it in one without."""

import pytest
from tests.remote import cases_connecting, cases_lmtp, cases_messages, cases_names, cases_replies, cases_smuggling
from tests.remote.stage import Stage, check
from tests.system_root.conftest import system_home

MODULES = (cases_replies, cases_connecting, cases_names, cases_messages, cases_lmtp, cases_smuggling)
CASES = [case for module in MODULES for case in module.CASES]
CONTROL = {"concurrencyremote": "1000", "timeoutconnect": "5", "timeoutremote": "10"}


@pytest.fixture(scope="module")
def stage(test_root, tmp_path_factory):
    with system_home(test_root, tmp_path_factory.mktemp("remote"), **CONTROL) as home:
        stage = Stage(home, CASES)
        try:
            stage.play()
            yield stage
            assert home.stop() == 0
        finally:
            home.close()
            stage.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(stage, case):
    check(stage, case)


def test_there_are_enough_and_none_has_the_name_of_another():
    assert len({case.name for case in CASES}) == len(CASES) >= 200
