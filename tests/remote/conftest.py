"""Failed asserts of the modules that tests of remote delivery share show their values too."""

import pytest

pytest.register_assert_rewrite(
    "tests.remote.stage", "tests.remote.cases_connecting", "tests.remote.cases_messages", "tests.remote.cases_names"
)
