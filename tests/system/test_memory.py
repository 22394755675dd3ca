"""What a crowd of clients and a long queue may cost; bench/crowd.py measures. Whole with the marker long, sampled otherwise."""

import shutil
import signal

import pytest
from bench import crowd

MB = crowd.MB


@pytest.fixture
def home(tmp_path):
    crowd.raise_limit()
    made = crowd.new_home(tmp_path / "home")
    yield made
    made.finish(signal.SIGKILL)
    shutil.rmtree(made.path)


@pytest.mark.parametrize(
    ("clients", "whole", "most"), [(60, 2, 120), pytest.param(1000, 20, 300, marks=pytest.mark.long)]
)
def test_large_messages(home, clients, whole, most):
    """Clients that stop 1 MB into 50 MB, and whole ones of 50 MB beside them: MB of all processes together."""
    figures = crowd.large(home, clients, whole)
    assert figures["most"] < most * MB
    # One that stops keeps nothing in memory of what it has sent: 1 MB is with the queue, on disk.
    assert figures["stopped"] - figures["empty"] < 20 * MB + clients * 50_000


@pytest.mark.parametrize("clients", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_idle_connections(home, clients):
    figures = crowd.idle(home, clients)
    assert figures["idle"] - figures["empty"] < 8 * MB + clients * 20_000


@pytest.mark.parametrize("count", [5000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_a_long_queue(home, count):
    """500 bytes a message at most, beside the bodies that are kept for their first delivery."""
    figures = crowd.queued(home, count)
    assert figures["queued"] < 100 * MB + count * 400
    assert figures["started"] < 30 * MB + count * 400
    assert max(figures["queued"], figures["started"]) < 500 * MB
