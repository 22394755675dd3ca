"""The installed commands: every program module is one, under its own name, and what is installed can be called."""

import os
import tomllib
from importlib import import_module

import pytest

from quail.cli import launchers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
with open(f"{ROOT}/pyproject.toml", "rb") as file:
    PROJECT = tomllib.load(file)
SCRIPTS = PROJECT["project"]["scripts"]
FILES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-scripts"]
PROGRAMS = {name: module for name, module in launchers.programs().items() if name != "quail"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_is_installed_and_says_how_it_is_called(name):
    module = PROGRAMS[name]
    if "@" in name:
        with open(f"{ROOT}/src/scripts/{name}", encoding="utf-8") as file:
            assert file.read() == (
                f"#!python\nimport sys\nfrom {module} import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
            )
        assert FILES[f"src/scripts/{name}"] == name
    else:
        assert SCRIPTS[name] == f"{module}:main"
    program = import_module(module)
    assert callable(program.main)
    assert program.__doc__.startswith(f"usage: {name}")


def test_nothing_else_is_installed():
    assert {*SCRIPTS, *FILES.values()} == {*PROGRAMS, "quail"}
