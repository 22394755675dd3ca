"""quail user passwd: passwords that Quail itself keeps, in users/passwords."""

import os
import sys

import click

from quail.cli.home import become_owner, home_option, must_be_home
from quail.control.places import SYSTEM
from quail.control.reader import Control
from quail.errors import PermanentError, UsageError
from quail.users import getpw, mailboxes, passwords
from quail.users.nss import by_name
from quail.users.owners import Owners


@click.command()
@click.argument("name")
@click.option("--cram", is_flag=True, help="Keep it readable too, for clients that log in by APOP or CRAM-MD5.")
@click.option("--remove", is_flag=True, help="Take the password away; of an account the machine's own counts again.")
@home_option
def passwd(name: str, cram: bool, remove: bool, home: str) -> None:
    """Set the password that NAME reads mail with: asked for twice, or one line of standard input."""
    if cram and remove:
        raise UsageError("--cram and --remove exclude each other")
    must_be_home(home)
    is_system = Control(f"{home}/control").line("mode") == SYSTEM.encode()
    if is_system and os.geteuid() != 0:
        raise PermanentError(f"the passwords of the system home {home} are root's to set: call this as root")
    if is_system:
        os.umask(0o022)
    else:
        become_owner(home)
    kept = os.fsencode(name).lower()  # as it was set: only ASCII's capitals have small ones
    if remove:
        if not passwords.remove(home, kept):
            raise PermanentError(f"{home}/{passwords.PATH} has no password of {name}")
        click.echo(f"{name} has no password in {home}/{passwords.PATH} any more")
        return
    kept = _system_user(home, name) if is_system else _mailbox(home, name)
    password = _ask()
    prepared = passwords.judge_password(password)
    is_new = passwords.put(home, passwords.make(kept, password, prepared=prepared, reversible=cram))
    click.echo(f"{os.fsdecode(kept)} has {'a' if is_new else 'a new'} password: {home}/{passwords.PATH}")


def _mailbox(home: str, name: str) -> bytes:
    """The name of a mailbox of a single home, as it is kept."""
    kept = mailboxes.fit_name(name)
    for row in mailboxes.rows(home):
        if row.name == kept:
            if row.maildir is not None:
                return kept.encode()
            raise PermanentError(f"{kept} is no mailbox but an alias, for {' and '.join(row.targets()) or 'nobody'}")
    raise PermanentError(f"there is no mailbox {kept} here: quail user add {kept}")


def _system_user(home: str, name: str) -> bytes:
    """The name of whoever gets mail under it in a system home; a warning if nobody does now, an account may come later."""
    kept = os.fsencode(name).lower()
    if not passwords.is_name(kept):
        raise UsageError(f"{name!r} can't be the name of a user")
    owner = Owners(True, home=home).assigned(kept)
    entry = by_name(kept)
    if owner is not None and not owner.dash:
        return kept
    if entry is None:
        click.echo(
            f"warning: there is no account {name} on this machine yet; nobody can log in with that name", err=True
        )
    elif not getpw.gets_mail(entry.name, entry.uid):
        raise PermanentError(f"nobody can read mail as {name}: it is root, or a service of the mail system")
    return kept


def _ask() -> bytes:
    """Never from the arguments: everybody on the machine can see those."""
    if not sys.stdin.isatty():
        line = sys.stdin.buffer.readline(2 * passwords.LONGEST + 2)
        return line.removesuffix(b"\n").removesuffix(b"\r")
    text: str = click.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True)
    return os.fsencode(text)
