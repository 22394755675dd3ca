"""Bundles: all modules that a program starts with, compiled, in one file of bin/.code/ (decision 0009).

A start that takes them from there neither looks for files nor runs the import system, which is half of its time. A bundle
says which sources it is made of; one that has changed since turns it off, and the modules are imported as ever.

The file is marshal's form of (code of bundle_start, sources, modules), named after the interpreter, whose byte code it is:
sources are (path, modification time in nanoseconds, size), modules (name, its folder if it is a package, path, code), each
behind those that it imports.
"""

import ast
import functools
import marshal
import os
import sys
from types import CodeType

from quail.cli import bundle_start
from quail.cli.code import package_parent
from quail.cli.compact import compiled
from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import replace_file
from quail.storage.folders import make_folder

FOLDER = "bin/.code"
# Programs that run once for a message or a connection. People, who call the others, do not notice a few milliseconds.
NAMES = frozenset((
    "bouncesaying", "condredirect", "except", "forward", "preline", "qmail-inject", "qmail-lmtp", "qmail-lmtpd",
    "qmail-local", "qmail-qmqpc", "qmail-qmqpd", "qmail-qmtpd", "qmail-queue", "qmail-smtpd", "sendmail",
))  # fmt: skip
# What a program imports later, but nearly always.
_ALSO = {"quail.programs.qmail.sendmail": ("quail.programs.qmail.qmail_inject",)}


def lines(name: str, home: str) -> list[str]:
    """What a launcher has to say so that its program starts from the bundle, if that is there and not outdated."""
    prefix = f"{home}/{FOLDER}/{name}."
    return [
        "import marshal",
        f"try:bundle=marshal.loads(open({prefix!r}+sys.implementation.cache_tag,'rb',0).read())",
        "except Exception:bundle=None",
        "if bundle:exec(bundle[0]);start(bundle)",
    ]


def write(
    home: str, name: str, module: str, *, owner: tuple[int, int] | None = None, calls: SystemCalls = REAL
) -> bool:
    """Make the bundle of a program, unless it is there and made of the sources as they are; returns whether it was made."""
    path = f"{home}/{FOLDER}/{name}.{sys.implementation.cache_tag}"
    if _is_current(path):
        return False
    make_folder(f"{home}/{FOLDER}", owner=owner, calls=calls)
    replace_file(path, build(module), owner=owner, calls=calls)
    return True


def build(module: str) -> bytes:
    """The bundle of a program, given its module."""
    names: dict[str, None] = {}
    for name in (*_ALSO.get(module, ()), module):
        _add(name, names)
    sources, modules = [], []
    for name in names:
        path = _source(name)
        status = os.stat(path)
        sources.append((path, status.st_mtime_ns, status.st_size))
        folder = os.path.dirname(path) if path.endswith("/__init__.py") else None
        modules.append((name, folder, path, _compiled(path, status.st_mtime_ns, status.st_size)))
    return marshal.dumps((_start(), tuple(sources), tuple(modules)))


def _start() -> CodeType:
    path = bundle_start.__file__
    status = os.stat(path)
    return _compiled(path, status.st_mtime_ns, status.st_size)


@functools.cache
def _compiled(path: str, _when: int, _size: int) -> CodeType:
    """Once for all bundles: most modules are in most of them. Another file than before is another call."""
    with open(path, "rb") as file:
        return compiled(file.read(), path)


def _is_current(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            start, sources, _ = marshal.loads(file.read())  # noqa: S302  of our own folder
        if start != _start():
            return False
        found = [os.stat(source) for source, _, _ in sources]
    except (OSError, ValueError, EOFError, TypeError):
        return False
    return all(
        (status.st_mtime_ns, status.st_size) == (when, size)
        for status, (_, when, size) in zip(found, sources, strict=True)
    )


def _add(name: str, names: dict[str, None]) -> None:
    """Put a module behind all that it imports when it is loaded."""
    if name in names:
        return
    parent = name.rpartition(".")[0]
    if parent:
        _add(parent, names)
    for imported in _imported(name):
        _add(imported, names)
    names[name] = None


@functools.cache
def _imported(name: str) -> tuple[str, ...]:
    """Modules of quail that this one imports as it is loaded, not those that a function of it imports later."""
    with open(_source(name), "rb") as file:
        tree = ast.parse(file.read())
    found = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] == "quail"]
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.module.split(".")[0] == "quail":
            within = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [node.module, *(module for module in within if _exists(module))]
    return tuple(found)


def _source(name: str) -> str:
    path = f"{package_parent()}/{name.replace('.', '/')}"
    return f"{path}/__init__.py" if os.path.isdir(path) else f"{path}.py"


def _exists(name: str) -> bool:
    return os.path.exists(_source(name))
