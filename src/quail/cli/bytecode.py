"""Compiled modules: a program that starts once for a message must not compile what it imports each time."""

import compileall
import os

from quail.cli.code import package


def compile_quail() -> bool:
    """Compile what of the package has changed, where its folder can be written; returns whether all is compiled now."""
    folder = package()
    return os.access(folder, os.W_OK) and bool(compileall.compile_dir(folder, quiet=2))
