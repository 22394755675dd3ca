"""The installed commands: every program module is one, under its own name, and what is installed can be called."""

import os
import tomllib
from importlib import import_module

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
with open(f"{ROOT}/pyproject.toml", "rb") as file:
    SCRIPTS = tomllib.load(file)["project"]["scripts"]
LIBRARY = {"__init__", "run"}
MODULES = sorted(
    {name.removesuffix(".py") for name in os.listdir(f"{ROOT}/src/quail/programs") if name.endswith(".py")} - LIBRARY
)


@pytest.mark.parametrize("module", MODULES)
def test_every_program_is_installed_and_says_how_it_is_called(module):
    name = module.rstrip("_").replace("_", "-")
    assert SCRIPTS[name] == f"quail.programs.{module}:main"
    program = import_module(f"quail.programs.{module}")
    assert callable(program.main)
    assert program.__doc__.startswith(f"usage: {name}")
