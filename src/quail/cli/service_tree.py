"""quail service-tree: a directory that svscan runs a home from, with a service directory for each of its services.

Each has a run, which is `quail serve --only NAME`, and a log with multilog in it. So svc stops, starts and signals it alone
while the others go on; they connect again by themselves. A service directory appears whole, by one rename: svscan looks but
once whether there is a log.
"""

import os
import pwd
import shlex

import click

from quail.cli.home import home_option, must_be_home
from quail.cli.members import needed
from quail.control.places import SYSTEM
from quail.control.reader import Control
from quail.errors import PermanentError, TemporaryError
from quail.oserrors import words
from quail.storage.calls import REAL
from quail.storage.durable import replace_file, sync_directory
from quail.storage.folders import make_folder

_LOG_ACCOUNT = "qmaill"
_WHOLE = "quail"


@click.command("service-tree")
@click.argument("directory", metavar="DIR")
@click.option("--whole", is_flag=True, help="One service directory, quail, that runs all services.")
@home_option
def service_tree(home: str, directory: str, *, whole: bool) -> None:
    """Write service directories for svscan into DIR: one for each service that control/listen asks for."""
    must_be_home(home)
    home, directory = os.path.abspath(home), os.path.abspath(directory)
    control = Control(f"{home}/control")
    system = control.line("mode") == SYSTEM.encode()
    if system and os.geteuid() != 0:
        raise PermanentError(f"{home} is a system home: only root can make service directories for it")
    names = {_WHOLE: ""} if whole else {f"{_WHOLE}-{name}": f" --only {name}" for name in needed(control)}
    os.umask(0o022)
    try:
        make_folder(directory)
        for name, option in names.items():
            _write(f"{directory}/{name}", _scripts(home, option, system=system), system=system)
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else directory
        raise TemporaryError(f"unable to write {where}: {words(error)}") from error
    click.echo(f"{directory} has {', '.join(names)}: run svscan there, or link them into the directory where it runs.")


def _scripts(home: str, option: str, *, system: bool) -> dict[str, bytes]:
    programs = shlex.quote(f"{home}/bin")
    account = f"{programs}/setuidgid {_LOG_ACCOUNT} " if system else ""
    return {
        "run": os.fsencode(f"#!/bin/sh\nexec {programs}/quail serve --home {shlex.quote(home)}{option} 2>&1\n"),
        "log/run": os.fsencode(f"#!/bin/sh\nexec {account}{programs}/multilog t ./main\n"),
    }


def _write(folder: str, scripts: dict[str, bytes], *, system: bool) -> None:
    """One that is there already keeps its log; its scripts are renewed."""
    exists = os.path.isdir(folder)
    parent, name = os.path.split(folder)
    place = folder if exists else f"{parent}/.{name}.new"
    make_folder(f"{place}/log")
    owner = None
    if system:
        entry = pwd.getpwnam(_LOG_ACCOUNT)  # a system home has it
        owner = (entry.pw_uid, entry.pw_gid)
    make_folder(f"{place}/log/main", 0o750, owner=owner)
    for file, text in scripts.items():
        replace_file(f"{place}/{file}", text, mode=0o755)
    if not exists:
        REAL.rename(place, folder)
        sync_directory(REAL, parent)
