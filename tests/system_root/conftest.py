"""One served system home for all tests of a module, and homes of their own for tests that stop or change it."""

import contextlib

import pytest
from tests.system_root.harness_root import SystemHome


@contextlib.contextmanager
def system_home(test_root, folder, **control):
    with test_root.enter(SystemHome.folders(folder)) as box:
        home = SystemHome(box, folder, **control)
        try:
            yield home
        finally:
            home.close()


@pytest.fixture(scope="module")
def home(test_root, tmp_path_factory, request):
    """A home that is served, for all tests of a module; `CONTROL` in the module has its control files."""
    control = getattr(request.module, "CONTROL", {})
    with system_home(test_root, tmp_path_factory.mktemp("system"), **control) as home:
        home.start()
        yield home
        assert home.stop() == 0


@pytest.fixture
def own_home(test_root, tmp_path):
    """A home for one test, not started."""
    with system_home(test_root, tmp_path) as home:
        yield home
