"""quail user: the mailboxes of a home. In a system home they are the machine's accounts, and `useradd` makes them."""

import json
import os
from typing import cast

import click

from quail.cli import table
from quail.cli.home import become_owner, home_option, must_be_home
from quail.cli.passwd import passwd
from quail.control.reader import Control
from quail.errors import PermanentError
from quail.users import build, machine, mailboxes, passwords
from quail.users.nss import by_name

_ADD = (
    "make an account with `useradd -m NAME`; for an address without an account write alias/.qmail-NAME or users/append"
)
_REMOVE = (
    "remove the account with `userdel NAME` and its password for mail, if it has one, with `quail user passwd NAME --remove`; "
    "or name it in users/exclude"
)


@click.group("user")
def user() -> None:
    """Add, remove and list the mailboxes of a home, and set their passwords."""


user.add_command(passwd)


@user.command()
@click.argument("name")
@home_option
def add(name: str, home: str) -> None:
    """Make the mailbox NAME; mail for it comes there from now on, and for NAME-EXT as its .qmail-EXT files say."""
    uid, gid = _enter_single(home, _ADD)
    kept = mailboxes.fit_name(name)
    if kept != name:
        click.echo(f"Names are kept in lower case: {kept}.", err=True)
    is_new = mailboxes.add_user(home, kept, uid, gid)
    maildir = os.path.join(os.path.abspath(home), "mail", kept, "Maildir")
    click.echo(f"{kept} is a mailbox now: {maildir}" if is_new else f"{kept} was a mailbox already: {maildir}")


@user.command()
@click.argument("name")
@click.option("--keep-mail/--delete-mail", default=True, help="What happens to the mail in it; it is kept by default.")
@click.option("--yes", is_flag=True, help="Delete the mail without asking.")
@home_option
def remove(name: str, keep_mail: bool, yes: bool, home: str) -> None:
    """Remove the mailbox NAME; mail for it is refused from now on."""
    _enter_single(home, _REMOVE)
    kept = mailboxes.fit_name(name)
    maildir = os.path.join(os.path.abspath(home), "mail", kept, "Maildir")
    if not keep_mail and not yes and os.path.isdir(maildir):
        new, read = mailboxes.count_mail(maildir)
        click.confirm(f"Delete {maildir} with {new} new and {read} read messages?", abort=True, err=True)
    mailboxes.must_be_removable(home, kept)
    # First: whoever gets this name next must get no password with it, whatever fails behind this.
    passwords.remove(home, kept.encode())
    folder = mailboxes.remove_user(home, kept)
    if keep_mail:
        click.echo(f"{kept} is no mailbox any more; its mail stays in {folder}")
    else:
        mailboxes.delete_mail(folder)
        click.echo(f"{kept} is no mailbox any more; {folder} is deleted")


@user.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON list instead of a table.")
@home_option
def list_(as_json: bool, home: str) -> None:
    """Show the mailboxes. In a single home with how much mail is in them, and the other addresses."""
    if single := _is_single(home):
        found = [_describe(row) for row in mailboxes.rows(home)]
    else:
        found = [_describe_user(user) for user in machine.mail_users(home, machine.listed())]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif not found:
        click.echo(f"There is no mailbox yet. To make one: {'quail user add NAME' if single else 'useradd -m NAME'}")
    elif single:
        _print_table(found)
    else:
        _print_users(found)


@user.command()
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong.")
@home_option
def rebuild(quiet: bool, home: str) -> None:
    """Make users/assign and users/cdb again of users/append and, in a system home, of the machine's accounts."""
    if _is_single(home):
        become_owner(home)
        count = len(build.rebuild(home))
        said = f"users/assign and users/cdb have the {count} lines of users/append now"
    else:
        if os.geteuid() != 0:
            raise PermanentError(f"users/assign of the system home {home} is root's to make: call this as root")
        os.umask(0o022)
        count, changed = build.rebuild_of_accounts(home, machine.listed(), by_name)
        state = "made anew" if changed else "up to date"
        said = f"users/assign and users/cdb are {state}: {count} lines, from the machine's accounts and users/append"
    if not quiet:
        click.echo(said)


def _describe(row: mailboxes.Row) -> dict[str, object]:
    """What the list shows of an address; these are the keys of --json, and stay."""
    about: dict[str, object] = {"name": row.name, "uid": row.uid, "gid": row.gid}
    if row.maildir is None:
        return about | {"kind": "alias", "file": row.file, "forwards_to": row.targets()}
    new, read = mailboxes.count_mail(row.maildir)
    return about | {"kind": "mailbox", "maildir": row.maildir, "new": new, "read": read}


def _print_table(found: list[dict[str, object]]) -> None:
    rows = []
    for about in found:
        targets = about.get("forwards_to")
        where = (
            f"to {', '.join(targets)}"
            if isinstance(targets, list) and targets
            else about.get("maildir", about.get("file"))
        )
        cells = (about["name"], about.get("new", ""), about.get("read", ""), where)
        rows.append([str(cell) for cell in cells])
    table.show(("Name", "New", "Read", "Where it goes"), rows, numbers=("New", "Read"))


def _describe_user(user: machine.MailUser) -> dict[str, object]:
    """What the list shows of a user of a system home; these are the keys of --json, and stay."""
    return {
        "name": user.name,
        "uid": user.uid,
        "gid": user.gid,
        "kind": "account",
        "home": user.home,
        "maildir": user.maildir,
        "has_maildir": user.has_maildir,
    }


def _print_users(found: list[dict[str, object]]) -> None:
    there = {True: "yes", False: "not yet", None: "can't be seen"}
    rows = [
        [str(about["name"]), str(about["uid"]), str(about["home"]), there[cast("bool | None", about["has_maildir"])]]
        for about in found
    ]
    table.show(("Name", "Uid", "Home", "Maildir"), rows, numbers=("Uid",))


def _is_single(home: str) -> bool:
    must_be_home(home)
    return Control(f"{home}/control").line("mode") == b"single"


def _enter_single(home: str, instead: str) -> tuple[int, int]:
    """Become the owner of a single home; PermanentError, which says what to do instead, if it is a system home."""
    if _is_single(home):
        return become_owner(home)
    rebuild_it = ", then call `quail user rebuild`" if os.path.exists(f"{home}/users/cdb") else ""
    raise PermanentError(
        f"{home} is a system home, whose users are the accounts of this machine: {instead}{rebuild_it}"
    )
