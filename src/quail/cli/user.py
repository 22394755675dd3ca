"""quail user: the mailboxes of a single home. In a system home they are the machine's accounts, and `adduser` makes them."""

import json
import os

import click

from quail.cli import table
from quail.cli.home import become_owner, home_option, must_be_home
from quail.control.reader import Control
from quail.errors import PermanentError
from quail.users import build, mailboxes


@click.group("user")
def user() -> None:
    """Add, remove and list the mailboxes of a single home."""


@user.command()
@click.argument("name")
@home_option
def add(name: str, home: str) -> None:
    """Make the mailbox NAME; mail for it comes there from now on, and for NAME-EXT as its .qmail-EXT files say."""
    uid, gid = _enter_as_owner(home)
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
    _enter_as_owner(home)
    kept = mailboxes.fit_name(name)
    maildir = os.path.join(os.path.abspath(home), "mail", kept, "Maildir")
    if not keep_mail and not yes and os.path.isdir(maildir):
        new, read = mailboxes.count_mail(maildir)
        click.confirm(f"Delete {maildir} with {new} new and {read} read messages?", abort=True, err=True)
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
    """Show the mailboxes, how much mail is in them, and the other addresses."""
    _must_be_single(home)
    found = [_describe(row) for row in mailboxes.rows(home)]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif found:
        _print_table(found)
    else:
        click.echo("There is no mailbox yet. To make one: quail user add NAME")


@user.command()
@home_option
def rebuild(home: str) -> None:
    """Make users/assign and users/cdb again after users/append was edited by hand."""
    _enter_as_owner(home)
    count = len(build.rebuild(home))
    click.echo(f"users/assign and users/cdb have the {count} lines of users/append now")


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


def _must_be_single(home: str) -> None:
    must_be_home(home)
    if Control(f"{home}/control").line("mode") != b"single":
        raise PermanentError(
            f"{home} is a system home, whose users are the accounts of this machine: use adduser and deluser"
        )


def _enter_as_owner(home: str) -> tuple[int, int]:
    _must_be_single(home)
    return become_owner(home)
