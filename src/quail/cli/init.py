"""quail init: make a home."""

import contextlib
import os

import click

from quail.cli.home import DEFAULT_HOME, home_option
from quail.cli.init_single import POP3_PORT, SMTP_PORT, aliases, init_single
from quail.cli.system.install import Made, gets_mail, init_system
from quail.control.places import ALIASES, SYSTEM
from quail.control.reader import Control
from quail.errors import PermanentError, QuailError, UsageError


@click.command("init", options_metavar="--single DIR | --system DOMAIN [OPTIONS]")
@click.option("--single", metavar="DIR", help="Make a home in DIR that runs wholly as you, without root.")
@click.option(
    "--system",
    metavar="DOMAIN",
    is_flag=False,
    flag_value="",
    help="As root, make the home of this whole machine, for mail to DOMAIN; other options may come before the domain.",
)
@click.option("--name", help="single: the first mailbox; yours by default.")
@click.option(
    "--smtp-port",
    type=click.IntRange(0, 65535),
    default=SMTP_PORT,
    show_default=True,
    help="single: 0 takes any free one.",
)
@click.option(
    "--pop3-port",
    type=click.IntRange(0, 65535),
    default=POP3_PORT,
    show_default=True,
    help="single: the same.",
)
@click.option(
    "--admin", metavar="NAME", help="system: who gets the mail for root and postmaster; you, if you used sudo."
)
@click.option("--no-sendmail", is_flag=True, help="system: leave /usr/sbin/sendmail and its like as they are.")
@home_option
@click.argument("domain", required=False, metavar="")
def init(
    single: str | None,
    system: str | None,
    domain: str | None,
    name: str | None,
    smtp_port: int,
    pop3_port: int,
    admin: str | None,
    no_sendmail: bool,
    home: str,
) -> None:
    """Make a home: the folder with everything that an installation has and does."""
    wanted = [word for word in (system, domain) if word]
    if system is not None and not wanted and (name_of_home := _name(home)):
        wanted = [name_of_home]  # to complete a home its name need not be said again
    if (single is None) == (system is None) or len(wanted) != (system is not None):
        raise UsageError("say which: quail init --single DIR for yourself, or, as root, quail init --system DOMAIN")
    if single is not None:
        _init_single(single, name, smtp_port, pop3_port)
    else:
        _init_system(wanted[0], home, admin, sendmail=not no_sendmail)


def _init_single(directory: str, name: str | None, smtp_port: int, pop3_port: int) -> None:
    first = init_single(directory, name=name, smtp_port=smtp_port, pop3_port=pop3_port)
    home = os.path.abspath(directory)
    click.echo(f"{home} is a home of Quail now.")
    click.echo(f"Mailbox: {home}/mail/{first}/Maildir for {first}@localhost, {' and '.join(aliases(first))}")
    click.echo(f"To read it over POP3: quail user passwd {first} --home {directory}")
    click.echo(f"Programs, sendmail among them: {home}/bin")
    _tell_of_other_hosts(home, f" --home {directory}")
    click.echo(f"To start it: quail serve --home {directory}")
    if _is_root():
        click.echo("Made by root, it runs as root: fine for a trial, but better made by an ordinary user.", err=True)


def _init_system(domain: str, home: str, admin: str | None, *, sendmail: bool) -> None:
    if not _is_root():
        raise PermanentError(
            "a system home is made by root, because it has accounts of its own: sudo quail init --system"
            f" {domain}; without root, quail init --single DIR makes a home that runs as you"
        )
    wanted = admin
    if admin is None:
        caller = os.environ.get("SUDO_USER")
        admin = caller if caller and gets_mail(caller) else None
    home = os.path.abspath(home)
    made = init_system(domain, home, admin=admin, sendmail=sendmail)
    _tell(home, made, wanted)


def _is_root() -> bool:
    return os.geteuid() == 0


def _tell(home: str, made: Made, admin: str | None) -> None:
    """admin: the account that was asked for, whose name does not replace what an older home says."""
    if made.fresh:
        click.echo(f"{home} is the home of this machine's mail now, for {made.name}.")
    else:
        click.echo(f"{home} was a home already: its settings stay, and what was missing is made.")
        _tell_of_another_name(home, made.name)
    if made.accounts:
        click.echo(f"Groups and accounts made: {' '.join(made.accounts)}")
    where = _roots_mail(home)
    click.echo(f"Mail for root and postmaster goes {where}")
    if admin is not None and where != f"to {admin}":
        click.echo(
            f"  {home}/alias/.qmail-root was there before, and --admin does not change it: write &{admin} into it yourself",
            err=True,
        )
    if made.rules:
        click.echo(f"Who may connect and relay: {made.rules} (nobody relays)")
    if made.linked:
        click.echo(f"Programs of this machine send through Quail: {' '.join(made.linked)}")
    if made.taken:
        click.echo(
            f"Left alone, because another mail system has them: {' '.join(made.taken)}\n"
            "  When that is removed (on Debian: apt-get remove postfix, or what it is; packages that ask for a mail system,"
            " such as bsd-mailx, go with it), call this again.",
            err=True,
        )
    _tell_of_aliases(home)
    _tell_of_other_hosts(home)
    command = f"{home}/bin/quail serve"
    click.echo(f"To start it: {command}" if home == DEFAULT_HOME else f"To start it: {command} --home {home}")


def _tell_of_aliases(home: str) -> None:
    """Another mail system's aliases may run programs: whether they count is for the administrator to say."""
    path = f"{home}/alias/.qmail-default"
    if os.path.exists(ALIASES) and not os.path.lexists(path):
        click.echo(
            f"The aliases in {ALIASES} do not count yet; for that: {home}/bin/newaliases && echo '| fastforward -d"
            f" {ALIASES}.cdb' > {path}"
        )


def _tell_of_another_name(home: str, name: str) -> None:
    """Say so if an older home is for another domain than the one that this init was called with."""
    me = _name(home)
    if me and me.lower() != name:
        click.echo(
            f"  It is for {me}, not {name}; to change that: me, defaultdomain, plusdomain, locals and rcpthosts in"
            f" {home}/control (quail config set)",
            err=True,
        )


def _tell_of_other_hosts(home: str, option: str = "") -> None:
    """Where mail for them goes, and how to change that; nothing of a file that `quail config check` has to tell about."""
    option = option or ("" if home == DEFAULT_HOME else f" --home {home}")
    with contextlib.suppress(QuailError):
        if Control(f"{home}/control").integer("concurrencyremote"):
            click.echo(
                f"Mail for other hosts goes to them; to send it by a relay: quail config set smtproutes :RELAY{option}"
            )
        else:
            click.echo(
                f"Mail for other hosts waits in the queue; to send it: quail config set concurrencyremote 200{option}"
            )


def _name(home: str) -> str:
    """The domain of an older system home; empty if there is none, or it can't be read."""
    control = Control(f"{home}/control")
    with contextlib.suppress(QuailError):
        if os.path.exists(f"{home}/control/mode") and control.line("mode") == SYSTEM.encode():
            return os.fsdecode(control.line("me") or b"")
    return ""


def _roots_mail(home: str) -> str:
    path = f"{home}/alias/.qmail-root"
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read().strip()
    except OSError:
        text = "?"
    if not text:
        return f"to {home}/alias/Maildir/; to send root's to a person: echo '&NAME' > {path}"
    if text.startswith("&") and "\n" not in text:
        return f"to {text[1:]}"
    return f"where {path} says"
