"""What a test does on a machine that lacks something: a developer's may, CI's may not."""

import os
from typing import NoReturn

import pytest


def without(what: str) -> NoReturn:
    """Say plainly that the test did not run; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run this test, which needs {what}", pytrace=False)
    pytest.skip(f"did not run: needs {what}")
