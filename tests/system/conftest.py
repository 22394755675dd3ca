"""Servers that are ended with the test."""

import pytest
from tests.system.harness import Server


@pytest.fixture
def make_server(tmp_path):
    """Make a home, not started; its control files by name."""
    made = []

    def make(folder="home", **control):
        made.append(Server(tmp_path / folder, **control))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def server(make_server):
    """A server that runs, as quail init has made it."""
    return make_server().start()
