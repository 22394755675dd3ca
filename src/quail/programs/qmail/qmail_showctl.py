"""usage: qmail-showctl

Tells how this installation is set up: where it is, whose accounts it uses, and for each control file what counts now. Exit 0,
or 111 if there is no installation. Source: the page qmail-showctl(8); the files come from quail.control.table.
"""

import grp
import os
import pwd
from _collections_abc import Iterator

from quail.control.checks import Problem, check
from quail.control.reader import Control
from quail.control.table import CDB, INTEGER, LINE, TABLE, Entry, absent
from quail.control.view import FILE, View, view
from quail.errors import TemporaryError
from quail.oserrors import words
from quail.programs.run import enter_home, home, output, program

ACCOUNTS = ("alias", "qmaild", "qmaill", "root", "qmailp", "qmailq", "qmailr", "qmails")
GROUPS = ("qmail", "nofiles")
_UNPRINTABLE = bytes([*range(32), *range(127, 256)])
_AS_QUESTION_MARK = bytes.maketrans(_UNPRINTABLE, b"?" * len(_UNPRINTABLE))


@program("qmail-showctl", takes=0)
def main(_args: list[bytes]) -> None:
    enter_home()
    try:
        present = sorted(os.listdir("control"))
    except OSError as error:
        raise TemporaryError(f"unable to list {home()}/control: {words(error)}") from error
    problems = check(".")
    lines = [*_installation()]
    for entry in TABLE.values():
        lines += ["", *_file(entry, [problem for problem in problems if problem.path == f"control/{entry.name}"])]
    for name in present:
        if name not in TABLE and not name.startswith("."):
            lines += ["", f"{name}: I have no idea what this file does."]
    output("".join(f"{_printable(os.fsencode(line))}\n" for line in lines).encode())


def _installation() -> Iterator[str]:
    single = view(Control(), TABLE["mode"]).values == [b"single"]
    yield f"qmail home directory: {home()}."
    yield "user-ext delimiter: -."
    yield f"paternalism (in decimal): {0o002}."
    yield f"concurrency limit: {TABLE['concurrencylocal'].high} local, {TABLE['concurrencyremote'].high} remote."
    yield "subdirectory split: none, the queue is a journal."
    if single:
        owner = os.stat(".")
        yield f"user ids: {owner.st_uid} for all (single home)."
        yield f"group ids: {owner.st_gid} for all (single home)."
    else:
        yield f"user ids: {', '.join(_uid(name) for name in ACCOUNTS)}."
        yield f"group ids: {', '.join(_gid(name) for name in GROUPS)}."


def _uid(name: str) -> str:
    try:
        return str(pwd.getpwnam(name).pw_uid)
    except KeyError:
        return f"no {name}"


def _gid(name: str) -> str:
    try:
        return str(grp.getgrnam(name).gr_gid)
    except KeyError:
        return f"no {name}"


def _file(entry: Entry, problems: list[Problem]) -> Iterator[str]:
    seen = view(Control(), entry)
    head = f"{entry.name}: " if seen.source == FILE else f"{entry.name}: (Default.) "
    if seen.trouble is not None:
        yield head + ("Oops! Trouble reading this file." if seen.source == FILE else "Undefined.")
    else:
        yield head + _sentence(entry, seen)
        if entry.kind not in {LINE, INTEGER}:
            yield from (_printable(value) for value in seen.values)
    if reason := absent(entry):
        yield f"Nothing reads this file: {reason}."
    else:
        for problem in problems:
            where = f"Line {problem.line} " if problem.line else "It "
            yield f"Oops! {where}{problem.reason}; {problem.remedy}."


def _sentence(entry: Entry, seen: View) -> str:
    meaning = entry.doc[0].upper() + entry.doc[1:]
    if entry.kind == CDB:
        return f"{meaning}{'.' if seen.source == FILE else ': not there.'}"
    if entry.kind not in {LINE, INTEGER}:
        return f"{meaning}: {'as follows.' if seen.values else 'none.'}"
    value = _printable(seen.values[0]) if seen.values else ""
    unit = f" {entry.unit}" if value and entry.unit else ""
    return f"{meaning}: {value or 'nothing'}{unit}."


def _printable(value: bytes) -> str:
    return value.translate(_AS_QUESTION_MARK).decode("ascii")


if __name__ == "__main__":
    main()
