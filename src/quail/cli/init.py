"""quail init: make a home.

A single home is complete, and a home at all, from the moment at which control/mode appears: that is written last, by one
rename. Until then control/.mode.new marks what an interrupted init has begun, and the next init goes on with it.
"""

import os
import pwd

import click

from quail.control.table import TABLE
from quail.errors import PermanentError, TemporaryError, UsageError
from quail.net.tcprules import compile_rules
from quail.oserrors import words
from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import replace_file, sync_directory
from quail.users.mailboxes import ALIASES, add_alias, add_user, fit_name

SMTP_PORT = 2525

# What only the services need, and what people may look at. The queue makes queue/lock, serve the sockets in run/.
_PRIVATE = ("queue", "queue/journal", "queue/mess", "queue/drop", "queue/damaged", "run")
_OPEN = ("alias", "etc", "etc/tcprules.d", "mail", "users")

_RULES = b"""\
# Who may connect to the SMTP server, and who may relay through it. To let a host relay, put a line like this before the last:
#   192.0.2.7:allow,RELAYCLIENT=""
# and compile the rules, in this folder:
#   tcprules qmail-smtp.cdb qmail-smtp.tmp < qmail-smtp
:allow
"""


@click.command("init")
@click.option("--single", metavar="DIR", help="Make a home in DIR that runs wholly as you, without root.")
@click.option("--system", metavar="DOMAIN", help="Make the home of a whole machine (not in this version).")
@click.option("--name", help="Name of the first mailbox; yours by default.")
@click.option(
    "--smtp-port", type=click.IntRange(0, 65535), default=SMTP_PORT, show_default=True, help="0 takes any free one."
)
def init(single: str | None, system: str | None, name: str | None, smtp_port: int) -> None:
    """Make a home: the folder with everything that an installation has and does."""
    if system is not None:
        raise PermanentError(
            "a system home, with accounts and ports of its own, is not in this version: quail init --single DIR makes one that"
            " runs as you"
        )
    if single is None:
        raise UsageError("say where: quail init --single DIR")
    first = init_single(single, name=name, smtp_port=smtp_port)
    home = os.path.abspath(single)
    click.echo(f"{home} is a home of Quail now.")
    click.echo(f"Mailbox: {home}/mail/{first}/Maildir for {first}@localhost, {' and '.join(_aliases(first))}")
    click.echo(f"To start it: quail serve --home {single}")
    if os.geteuid() == 0:
        click.echo("Made by root, it runs as root: fine for a trial, but better made by an ordinary user.", err=True)


def init_single(
    directory: str, *, name: str | None = None, smtp_port: int = SMTP_PORT, calls: SystemCalls = REAL
) -> str:
    """Make a single home, or complete one that an interrupted call has begun; returns the name of its first mailbox.

    name: of the mailbox, the caller's account by default. smtp_port: 0 to 65535, on 127.0.0.1. UsageError for a bad name,
    PermanentError if the directory is a home already or has something else in it, TemporaryError if it can't be written.
    """
    home = os.path.abspath(directory)
    first = fit_name(name) if name is not None else _own_name()
    if any(char in home for char in ":\n"):
        raise PermanentError(
            f"{home!r} can't be a home: users/assign has no way to write a path with a colon or a line feed"
        )
    mask = os.umask(0o022)
    try:
        _refuse_what_is_there(home)
        _make(home, first, smtp_port, calls)
    except OSError as error:
        file = error.filename if isinstance(error.filename, str) else home
        raise TemporaryError(f"unable to write {file}: {words(error)}") from error
    finally:
        os.umask(mask)
    return first


NAMELESS = "me"  # the first mailbox of a starter whose uid has no name, as in many containers


def _own_name() -> str:
    try:
        return fit_name(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        return NAMELESS
    except UsageError as error:
        raise UsageError(f"{error}; give the mailbox another one with --name") from error


def _refuse_what_is_there(home: str) -> None:
    """Raise PermanentError unless there is nothing, an empty folder, or the work of an interrupted init."""
    if os.path.lexists(f"{home}/control/mode"):
        raise PermanentError(f"{home} is a home already: quail serve --home {home} starts it")
    if os.path.lexists(f"{home}/control/.mode.new"):
        return
    try:
        found = os.listdir(home)
        if found == ["control"] and os.listdir(f"{home}/control") in ([], [".mode.new.tmp"]):
            return  # interrupted while the mark was made
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise PermanentError(f"{home} is not a folder") from None
    if "control" in found:
        raise PermanentError(f"{home} is a home of qmail or another program: choose a new folder")
    if found:
        raise PermanentError(f"{home} has other things in it: choose a new folder, or empty it")


def _make(home: str, first: str, smtp_port: int, calls: SystemCalls) -> None:
    _folder(home, 0o755, calls)
    _folder(f"{home}/control", 0o755, calls)
    unfinished = f"{home}/control/.mode.new"
    replace_file(unfinished, b"", calls=calls)
    for name in _PRIVATE:
        _folder(f"{home}/{name}", 0o700, calls)
    for name in _OPEN:
        _folder(f"{home}/{name}", 0o755, calls)
    for name, line in _settings(smtp_port).items():
        replace_file(f"{home}/control/{TABLE[name].name}", f"{line}\n".encode(), calls=calls)
    rules = f"{home}/etc/tcprules.d/qmail-smtp"
    replace_file(rules, _RULES, calls=calls)
    replace_file(f"{rules}.cdb", compile_rules(_RULES, rules), calls=calls)
    add_user(home, first, os.geteuid(), os.getegid(), calls=calls)
    for alias in _aliases(first):
        add_alias(home, alias, first, calls=calls)
    replace_file(f"{home}/control/mode", b"single\n", tmp=unfinished, calls=calls)


def _settings(smtp_port: int) -> dict[str, str]:
    return {
        "me": "localhost",
        "locals": "localhost",
        "rcpthosts": "localhost",
        "defaultdelivery": "./Maildir/",
        "concurrencylocal": "100",  # deliveries wait for syncs, which they share: the more at once, the fewer
        "concurrencyremote": "0",
        "listen": f"smtp 127.0.0.1:{smtp_port}",
    }


def _aliases(first: str) -> list[str]:
    return [alias for alias in ALIASES if alias != first]


def _folder(path: str, mode: int, calls: SystemCalls) -> None:
    """Make a folder, and those above it, durably; fine if it is there."""
    parent = os.path.dirname(path)
    try:
        calls.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    except FileNotFoundError:
        _folder(parent, 0o755, calls)
        calls.mkdir(path, mode)
    sync_directory(calls, parent)
