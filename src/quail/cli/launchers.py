"""The programs in a home's bin/: a few lines each that start the interpreter lean and lead to the code (decision 0009).

There is one for each module of quail/programs that has a main(), and those of _OF_CLI, which run services. Each looks for quail
first of all, before the library: no program has a module that could be taken for another. Those that run services and
qmail-remote, whose dependencies may share a folder with anything, look there last.
"""

import os
import shlex

from quail.cli import bundles
from quail.cli.code import dependency_folders, interpreter, package, package_parent
from quail.cli.home import DEFAULT_HOME
from quail.errors import PermanentError
from quail.queue.instead import is_null_client
from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import replace_file
from quail.storage.folders import make_folder

FOLDER = "bin"
_NO_PROGRAMS = ("__init__", "become", "chain", "run")
_OF_CLI = {"qmail-send": "quail.cli.qmail_send", "qmail-start": "quail.cli.qmail_start", "quail": "quail.cli.main"}
_WITH_DEPENDENCIES = (*_OF_CLI.values(), "quail.programs.qmail.qmail_remote")
# These ask name servers or check passwords, or become, without exec, another program that does.
_CHAINS = (
    "quail.programs.ucspi.", "quail.programs.daemontools.", "quail.programs.qmail.checkpassword",
    "quail.programs.qmail.config", "quail.programs.qmail.qmail_popup", "quail.programs.qmail.tcp_env",
)  # fmt: skip
# These serve no home: what they run may be of another one, and must not be told that it is of theirs.
_OF_NO_HOME = ("quail.programs.ucspi.", "quail.programs.daemontools.", "quail.programs.cdb.")
_LONGEST_SHEBANG = 127  # with its line feed, on Linux before 5.1 and most other systems


def programs() -> dict[str, str]:
    """The module of each program, by the name that people call: every file of quail/programs, and of the folders in it, but
    what all of them share.

    A module is named like its program, with _ for -, an underscore more if Python keeps the name, and _at for @.
    """
    found = dict(_OF_CLI)
    top = f"{package()}/programs"
    for folder in sorted(os.scandir(top), key=lambda entry: entry.name):
        if folder.is_dir() and folder.name != "__pycache__":
            found.update(_programs_in(folder.path, f"quail.programs.{folder.name}"))
    found.update(_programs_in(top, "quail.programs"))
    return found


def _programs_in(folder: str, package_name: str) -> dict[str, str]:
    found = {}
    for file in sorted(os.listdir(folder)):
        module, dot, ending = file.rpartition(".")
        if dot and ending == "py" and module not in _NO_PROGRAMS:
            name = module.removesuffix("_at") + "@" if module.endswith("_at") else module.rstrip("_")
            found[name.replace("_", "-")] = f"{package_name}.{module}"
    return found


def text(name: str, module: str, home: str) -> bytes:
    """The launcher of a program, and of its module, for an absolute home."""
    where = interpreter()
    own = package_parent()
    others = [folder for folder in dependency_folders() if folder != own]
    if module in _WITH_DEPENDENCIES:
        search = f"sys.path+={[own, *others]!r}"
    else:
        search = f"sys.path.insert(0,{own!r})"
        others = others if module.startswith(_CHAINS) else []
    for path in (where, home, own, *others):
        if not path.isprintable():
            raise PermanentError(f"programs can't be started by way of {path!r}: a path must be printable")
    lines = [*_first_lines(where), f"import sys;{search}"]
    if module not in _WITH_DEPENDENCIES and others:
        lines.append(f"sys.path+={others!r}")
    if os.path.realpath(home) != os.path.realpath(DEFAULT_HOME) and not module.startswith(_OF_NO_HOME):
        # Not by os, of which a program from a bundle needs little (bundle_start.py).
        lines.append(
            f"import posix;posix.putenv('QMAILHOME',posix.environ.setdefault(b'QMAILHOME',{os.fsencode(home)!r}))"
        )
    if name in bundles.NAMES:
        lines += bundles.lines(name, home)
    lines.append(f"from {module} import main;main()")
    return os.fsencode("\n".join(lines) + "\n")


def _first_lines(where: str) -> list[str]:
    """What starts the interpreter: the kernel, or a shell if it would not understand."""
    shebang = f"#!{where} -IS"
    if len(os.fsencode(shebang)) < _LONGEST_SHEBANG and not any(char in where for char in " \t"):
        return [shebang]
    # To the shell a command, to Python the beginning of a string that the next line ends.
    return ["#!/bin/sh", f"'''exec' {shlex.quote(where)} -IS \"$0\" \"$@\"", "' '''"]


def write(home: str, *, owner: tuple[int, int] | None = None, calls: SystemCalls = REAL) -> list[str]:
    """Make bin/ of the home, absolute, and what is missing in it or leads elsewhere; returns the names of these programs.

    owner: uid and gid of folder and files; the caller's without. OSError if it can't be written.
    """
    folder = f"{home}/{FOLDER}"
    make_folder(folder, owner=owner, calls=calls)
    changed = []
    for name, module in programs().items():
        if name in bundles.NAMES and bundles.write(home, name, module, owner=owner, calls=calls):
            changed.append(name)
        if name == "qmail-queue" and is_null_client(home):
            continue  # the administrator's link
        data = text(name, module, home)
        if _read(f"{folder}/{name}") != data:
            replace_file(f"{folder}/{name}", data, mode=0o755, owner=owner, tmp=f"{folder}/.{name}.tmp", calls=calls)
            changed.append(name)
    return list(dict.fromkeys(changed))


def refresh(home: str, *, owner: tuple[int, int] | None = None) -> list[str]:
    """What quail serve does, so that the programs always lead to the code that serves: after an upgrade, or in a home that was
    made before there were launchers. Nothing in a home that belongs to somebody else, whose links root must not follow.
    """
    return write(home, owner=owner) if os.stat(home).st_uid == os.geteuid() else []


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
