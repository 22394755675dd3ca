"""quail init: make a home."""

import os

import click

from quail.cli.home import home_option
from quail.cli.init_single import SMTP_PORT, aliases, init_single
from quail.cli.system.install import Made, gets_mail, init_system
from quail.errors import PermanentError, UsageError


@click.command("init")
@click.option("--single", metavar="DIR", help="Make a home in DIR that runs wholly as you, without root.")
@click.option("--system", metavar="DOMAIN", help="As root, make the home of this whole machine, for mail to DOMAIN.")
@click.option("--name", help="single: the first mailbox; yours by default.")
@click.option(
    "--smtp-port",
    type=click.IntRange(0, 65535),
    default=SMTP_PORT,
    show_default=True,
    help="single: 0 takes any free one.",
)
@click.option(
    "--admin", metavar="NAME", help="system: who gets the mail for root and postmaster; you, if you used sudo."
)
@click.option("--no-sendmail", is_flag=True, help="system: leave /usr/sbin/sendmail and its like as they are.")
@home_option
def init(
    single: str | None,
    system: str | None,
    name: str | None,
    smtp_port: int,
    admin: str | None,
    no_sendmail: bool,
    home: str,
) -> None:
    """Make a home: the folder with everything that an installation has and does."""
    if (single is None) == (system is None):
        raise UsageError("say which: quail init --single DIR for yourself, or, as root, quail init --system DOMAIN")
    if single is not None:
        _init_single(single, name, smtp_port)
    elif system is not None:
        _init_system(system, home, admin, sendmail=not no_sendmail)


def _init_single(directory: str, name: str | None, smtp_port: int) -> None:
    first = init_single(directory, name=name, smtp_port=smtp_port)
    home = os.path.abspath(directory)
    click.echo(f"{home} is a home of Quail now.")
    click.echo(f"Mailbox: {home}/mail/{first}/Maildir for {first}@localhost, {' and '.join(aliases(first))}")
    click.echo(f"Programs, sendmail among them: {home}/bin")
    click.echo(f"To start it: quail serve --home {directory}")
    if _is_root():
        click.echo("Made by root, it runs as root: fine for a trial, but better made by an ordinary user.", err=True)


def _init_system(domain: str, home: str, admin: str | None, *, sendmail: bool) -> None:
    if not _is_root():
        raise PermanentError(
            "a system home is made by root, because it has accounts of its own: sudo quail init --system"
            f" {domain}; without root, quail init --single DIR makes a home that runs as you"
        )
    if admin is None:
        caller = os.environ.get("SUDO_USER")
        admin = caller if caller and gets_mail(caller) else None
    home = os.path.abspath(home)
    made = init_system(domain, home, admin=admin, sendmail=sendmail)
    _tell(home, made)


def _is_root() -> bool:
    return os.geteuid() == 0


def _tell(home: str, made: Made) -> None:
    if made.fresh:
        click.echo(f"{home} is the home of this machine's mail now, for {made.name}.")
    else:
        click.echo(f"{home} was a home already: its settings stay, and what was missing is made.")
    if made.accounts:
        click.echo(f"Groups and accounts made: {' '.join(made.accounts)}")
    click.echo(f"Mail for root and postmaster goes {_roots_mail(home)}")
    if made.rules:
        click.echo(f"Who may connect and relay: {made.rules} (nobody relays)")
    if made.linked:
        click.echo(f"Programs of this machine send through Quail: {' '.join(made.linked)}")
    if made.taken:
        click.echo(
            f"Left alone, because another mail system has them: {' '.join(made.taken)}\n"
            "  When that is removed (on Debian: apt-get remove postfix, or what it is), call this again.",
            err=True,
        )
    click.echo("Mail for other hosts waits in the queue: remote delivery is not in this version.")
    command = "quail serve" if home == "/var/qmail" else f"quail serve --home {home}"
    click.echo(f"To start it: {command}")


def _roots_mail(home: str) -> str:
    path = f"{home}/alias/.qmail-root"
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read().strip()
    except OSError:
        text = "?"
    if not text:
        return f"to {home}/alias/Maildir/; to send it to a person: echo '&NAME' > {path}"
    if text.startswith("&") and "\n" not in text:
        return f"to {text[1:]}"
    return f"where {path} says"
