"""quail config: look at control files, change them, check them."""

import glob
import json
import os

import click

from quail.cli import table
from quail.cli.home import become_owner, home_option, must_be_home
from quail.control import checks
from quail.control.reader import Control, parse_line, parse_list, parse_listen, parse_pairs
from quail.control.table import CDB, EACH_RUN, INTEGER, LINE, LIST, LISTEN, PAIRS, RESTART, TABLE, Entry, absent, bounds
from quail.control.view import NONE, View, view
from quail.errors import ConfigError, PermanentError, TemporaryError, UsageError
from quail.oserrors import words
from quail.storage.calls import REAL
from quail.storage.durable import replace_file, sync_directory
from quail.users.build import misfit


@click.group("config")
def config() -> None:
    """Look at the control files, change them, check them."""


@config.command("list")
@click.option("--all", "everything", is_flag=True, help="Also the files of what is not in this version.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list instead of a table.")
@home_option
def list_(everything: bool, as_json: bool, home: str) -> None:
    """Show every control file, its value and where that comes from."""
    must_be_home(home)
    control = Control(f"{home}/control")
    found = [(entry, view(control, entry)) for entry in TABLE.values() if everything or not absent(entry)]
    if as_json:
        click.echo(json.dumps([_describe(*each) for each in found], indent=2))
    else:
        _print_table(found)


@config.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all that is known.")
@home_option
def get(name: str, as_json: bool, home: str) -> None:
    """Print the value of the control file NAME, its default if there is no file: a line for each entry."""
    must_be_home(home)
    entry = _entry(name)
    seen = view(Control(f"{home}/control"), entry)
    if as_json:
        click.echo(json.dumps(_describe(entry, seen), indent=2))
        return
    if seen.trouble is not None:
        raise seen.trouble
    if entry.kind == CDB:
        raise PermanentError(f"{name} is compiled: its text is in {name.removesuffix('.cdb')}")
    for value in seen.values:
        click.echo(value)


@config.command("set")
@click.argument("name")
@click.argument("values", nargs=-1)
@click.option("--unset", is_flag=True, help="Remove the file, for the default.")
@home_option
def set_(name: str, values: tuple[str, ...], unset: bool, home: str) -> None:
    """Write the control file NAME: a line for each VALUE, and nothing of what was in it before. '' empties it."""
    become_owner(home)
    entry = _entry(name)
    if entry.kind == CDB:
        raise PermanentError(f"{name} is made by qmail-newmrh: set {name.removesuffix('.cdb')}, then call that")
    if name == "mode":
        raise PermanentError("the kind of a home is settled when quail init makes it")
    if unset == bool(values):
        raise UsageError(f"give {name} a value ('' for an empty file) or --unset, one of the two")
    path = os.path.realpath(f"{home}/control/{name}")
    try:
        if unset:
            _remove(path)
        else:
            _write(path, judge(entry, values))
    except OSError as error:
        raise TemporaryError(f"unable to change {path}: {words(error)}") from error
    click.echo(_next_step(home, entry))
    for problem in checks.check(home):
        if problem.path == f"control/{name}":
            click.echo(str(problem), err=True)


@config.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON list instead of a line for each problem.")
@home_option
def check(as_json: bool, home: str) -> None:
    """Check every file of the home. Exits 0 if nothing stops a service, else 100; warnings alone do not count."""
    problems = checks.check(home)
    if error := misfit(home):  # no more than a warning: what was made of it before goes on to count
        problems.append(checks.Problem("users/append", error.line, checks.WARNING, error.reason, error.remedy))
    if as_json:
        keys = ("path", "line", "severity", "reason", "remedy")
        click.echo(json.dumps([{key: getattr(problem, key) for key in keys} for problem in problems], indent=2))
    else:
        for problem in problems:
            click.echo(str(problem))
        if not problems:
            click.echo(f"{home}: all is well")
    if any(problem.severity == checks.ERROR for problem in problems):
        raise SystemExit(PermanentError.exit_code)


def _entry(name: str) -> Entry:
    if name in TABLE:
        return TABLE[name]
    like = checks.nearest(name)
    raise UsageError(
        f"there is no control file {name}; " + (f"did you mean {like}?" if like else "quail config list shows all")
    )


def judge(entry: Entry, values: tuple[str, ...]) -> bytes:
    """The content of a file with these values, of which nothing would be misread; UsageError says why there is none."""
    if entry.kind in {LINE, INTEGER} and len(values) > 1:
        raise UsageError(f"{entry.name} has a single value: put quotes around words that belong together")
    lines = [os.fsencode(value) for value in values if value]
    for line in lines:
        if line.strip(b" \t\n") != line or b"\n" in line:
            raise UsageError(f"{entry.name}: a value neither begins nor ends with a blank, and is one line")
        if entry.kind not in {LINE, INTEGER} and line.startswith(b"#"):
            raise UsageError(f"{entry.name}: a line that begins with # is a comment, not a value")
    data = b"".join(line + b"\n" for line in lines)
    try:
        _parse(entry, data)
        checks.judge_values(entry, entry.name, data)
    except ConfigError as error:
        raise UsageError(f"{entry.name}: {error.reason}; {error.remedy}") from error
    return data


def _parse(entry: Entry, data: bytes) -> None:
    """What the reader would refuse, and what it would take for something else."""
    control = Control()
    if entry.kind == LINE:
        control.judge_line(entry, parse_line(entry.name, data))
    elif entry.kind == INTEGER:
        text = data.removesuffix(b"\n")
        if not text.isdigit() or len(text) > 20 or not entry.low <= int(text) <= entry.high:
            words = (f"{entry.name} is a whole number", f"of {entry.unit}" if entry.unit else "", bounds(entry))
            raise UsageError(" ".join(word for word in words if word))
    elif entry.kind == LIST:
        if not parse_list(entry.name, data) and not entry.blank:
            raise UsageError(f"{entry.name} must not be empty: --unset brings back the default")
    elif entry.kind == PAIRS:
        parse_pairs(entry.name, data)
    elif entry.kind == LISTEN:
        parse_listen(entry.name, data)


def _write(path: str, data: bytes) -> None:
    try:
        mode = os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        mode = 0o644
    folder, name = os.path.split(path)
    replace_file(path, data, mode=mode, tmp=f"{folder}/.{name}.tmp")


def _remove(path: str) -> None:
    try:
        REAL.unlink(path)
    except FileNotFoundError:
        return
    sync_directory(REAL, os.path.dirname(path))


def _next_step(home: str, entry: Entry) -> str:
    """What makes the change count."""
    if reason := absent(entry):
        return f"Nothing reads {entry.name} yet: {reason}."
    who = " and ".join(entry.readers)
    if entry.name == "morercpthosts":
        return "Now call qmail-newmrh: it makes morercpthosts.cdb, which counts."
    if entry.effect == EACH_RUN:
        return f"This counts from the next run of {who} on."
    pids = _serving(home, entry)
    if not pids:
        return "This counts when quail serve starts next."
    if entry.effect == RESTART:
        named = f"process{'es' if len(pids) > 1 else ''} {' and '.join(map(str, pids))}"
        return f"This counts when quail serve ({named}) is stopped and started again."
    return f"To make {who} read it now: kill -HUP {' '.join(map(str, pids))}"


def _serving(home: str, entry: Entry) -> list[int]:
    """The processes that serve readers of the file in this home: run/pids.json names the one that serves all of it, and
    run/pids.NAMES.json one that serves these. They are in the home, not later ones of that number.
    """
    found = []
    for path in sorted(glob.glob(f"{glob.escape(home)}/run/pids*.json")):
        try:
            with open(path, "rb") as file:
                pids = json.load(file)
            pid = int(pids["serve"][0])
            reads = os.path.basename(path) == "pids.json" or any(reader in pids for reader in entry.readers)
            if reads and os.path.samefile(f"/proc/{pid}/cwd", home):
                found.append(pid)
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            continue
    return found


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _describe(entry: Entry, seen: View) -> dict[str, object]:
    """What --json tells of a file; these keys stay."""
    values: object = [_text(value) for value in seen.values]
    if entry.kind == INTEGER:
        values = int(seen.values[0]) if seen.values else None
    elif entry.kind == LINE:
        values = _text(seen.values[0]) if seen.values else None
    return {
        "name": entry.name,
        "kind": entry.kind,
        "value": values,
        "source": seen.source,
        "trouble": None if seen.trouble is None else str(seen.trouble),
        "unit": entry.unit,
        "readers": list(entry.readers),
        "effect": entry.effect,
        "not_yet": absent(entry),
        "doc": entry.doc,
    }


def _print_table(found: list[tuple[Entry, View]]) -> None:
    rows = []
    for entry, seen in found:
        shown = "\n".join(_text(value) for value in seen.values[:5])
        if len(seen.values) > 5:
            shown += f"\n({len(seen.values) - 5} more)"
        if seen.trouble is not None:
            shown = str(seen.trouble).partition(f"/{entry.name}")[2].lstrip(": ")
        elif entry.unit and shown:
            shown += f" {entry.unit}"
        source = "" if seen.source == NONE else seen.source
        rows.append((entry.name, shown, source, entry.doc))
    table.show(("Name", "Value", "From", "Meaning"), rows)
