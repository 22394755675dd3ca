"""Every lab's seed and the states that it covered are printed at the end of the run, also when it passed."""

import os

import pytest
from tests.crash.lab import Lab


@pytest.fixture
def lab(request, record_property):
    """A lab with the seed of QUAIL_CRASH_SEED, or a fresh one."""
    given = os.environ.get("QUAIL_CRASH_SEED")
    made = Lab(int(given) if given else int.from_bytes(os.urandom(4), "little"))
    yield made
    if made.states:
        record_property("crash", f"{request.node.name}: {made}")


def pytest_terminal_summary(terminalreporter):
    lines = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "crash" and report.when == "teardown"
    ]
    if lines:
        terminalreporter.section("crash states")
        for line in sorted(set(lines)):
            terminalreporter.write_line(line)
