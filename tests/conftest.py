"""The test root for whoever needs it.

A test that takes the fixture test_root carries the marker `root`; where the root cannot be had it is skipped, with the
reason, and fails when CI=true: there the root is part of the promise.
"""

import os
import signal

import pytest
from tests.lacking import without
from tests.root.image import RootUnavailableError
from tests.root.testroot import TestRoot


def pytest_configure():
    """Files that tests make can be read by all, as their programs' other users must, whatever the caller's umask."""
    os.umask(0o022)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if "test_root" in getattr(item, "fixturenames", ()):
            item.add_marker("root")
        elif item.get_closest_marker("root"):
            item.fixturenames.insert(0, "test_root")


@pytest.fixture(scope="session")
def test_root():
    """The machine's TestRoot; call its enter() for a box."""
    try:
        return TestRoot.get()
    except RootUnavailableError as error:
        without(f"the test root ({error})")


@pytest.fixture(autouse=True)
def _broken_pipes_are_errors():
    """A test that lets a signal have its default, as what it tests does before exec, must not end the tests after it."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGXFSZ)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
