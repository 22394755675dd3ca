"""Run a classic program as its users do: its own process, its own descriptors, nothing else inherited."""

import functools
import os
import subprocess
import sys
from collections.abc import Mapping

from quail.cli import launchers


@functools.cache
def _modules() -> dict[str, str]:
    return launchers.programs()


def module(name: str) -> str:
    """Where the program is."""
    return _modules()[name]


def launch(
    name: str,
    *args: str | bytes,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[bytes]:
    """Run `quail.programs.NAME` by module; the console scripts call the same main()."""
    return subprocess.run(
        [sys.executable, "-m", module(name), *args],
        input=stdin,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", **(env or {})},
        cwd=cwd,
        timeout=timeout,
        check=False,
    )
