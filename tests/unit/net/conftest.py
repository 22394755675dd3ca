"""What several tests of net/ share."""

import pytest
from tests.unit.net.resolving import Desk


@pytest.fixture
def desk():
    """A resolver and a DNS server for it."""
    made = Desk()
    yield made
    made.close()
