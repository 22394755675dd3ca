"""Homes in the test root; and failed asserts of the modules that tests of remote delivery share show their values too."""

import pytest
from tests.system_root.conftest import system_home

pytest.register_assert_rewrite(
    "tests.remote.stage",
    "tests.remote.cases_connecting",
    "tests.remote.cases_lmtp",
    "tests.remote.cases_messages",
    "tests.remote.cases_smuggling",
)


@pytest.fixture
def own_home(test_root, tmp_path):
    """A home for one test, not started."""
    with system_home(test_root, tmp_path) as home:
        yield home
