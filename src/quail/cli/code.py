"""Where the code that runs is: the interpreter, its library, and the folders that quail and its dependencies are imported
from.

Launchers lead there, and a system home starts only if service accounts can read it and nobody else can change it.
"""

import functools
import importlib.util
import os
import sys
import sysconfig

# What `quail` imports beside the library; the last three come with rich, cffi (whose code lies beside its folder) with
# argon2. A test holds them to pyproject.toml.
DEPENDENCIES = (
    "uvloop", "dns", "idna", "click", "rich", "argon2", "_argon2_cffi_bindings", "cffi", "pycparser",
    "markdown_it", "mdurl", "pygments",
)  # fmt: skip


def interpreter() -> str:
    """The real one: of a virtual environment the one that it was made with, without links on the way."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


def library() -> list[str]:
    """Folders of the interpreter's own modules."""
    paths = sysconfig.get_paths()
    dynamic = sysconfig.get_config_var("DESTSHARED")
    found = [paths["stdlib"], paths["platstdlib"], *([dynamic] if isinstance(dynamic, str) else [])]
    return [path for path in dict.fromkeys(found) if os.path.isdir(path)]


def package() -> str:
    """The folder quail itself."""
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def package_parent() -> str:
    """The folder that has quail in it."""
    return os.path.dirname(package())


@functools.cache
def dependency_folders() -> tuple[str, ...]:
    """The folders that have the dependencies in them; one that is not installed is left out."""
    found: dict[str, None] = {}
    for name in DEPENDENCIES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            found[os.path.dirname(os.path.abspath(spec.submodule_search_locations[0]))] = None
    return tuple(found)
