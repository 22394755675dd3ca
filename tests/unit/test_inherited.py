"""The environment that a process was given, for what it starts: services and programs of users among it."""

import os
import subprocess
import sys

import pytest

MAIN = """
import atexit, os, sys
atexit.register(lambda: print(os.environ.get("LC_CTYPE", "none")))
sys.argv = ["quail", "--version"]
from quail.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("given", "found"), [({}, "none"), ({"LC_CTYPE": "C"}, "C"), ({"LC_CTYPE": "C.UTF-8"}, "C.UTF-8")]
)
def test_serve_has_the_language_that_was_given(given, found):
    """And so has whatever it forks. Python itself would have C.UTF-8 in all three."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(sys.path), **given}
    done = subprocess.run([sys.executable, "-c", MAIN], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == found
