"""A running server for each test of real clients."""

import pytest
from tests.peers.quail_process import QuailProcess


@pytest.fixture
def quail_home(tmp_path):
    """A home that the test starts itself; stopped afterwards, with exit 0."""
    process = QuailProcess(tmp_path / "home")
    yield process
    assert process.stop() in (0, None), process.lines[-30:]


@pytest.fixture
def quail_server(quail_home):
    """Quail, serving."""
    return quail_home.start()
