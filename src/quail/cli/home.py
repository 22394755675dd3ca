"""Which home a command is about, and acting in it as its owner."""

import os

import click

from quail.errors import PermanentError, TemporaryError
from quail.oserrors import words

DEFAULT_HOME = "/var/qmail"


def _resolve(context: click.Context, _parameter: click.Parameter, value: str | None) -> str:
    """The command's own --home, that of `quail` itself, $QMAILHOME, or the classic place."""
    return value or context.find_object(str) or os.environ.get("QMAILHOME") or DEFAULT_HOME


home_option = click.option(
    "--home", metavar="DIR", callback=_resolve, help="The home; else $QMAILHOME, else /var/qmail."
)


def must_be_home(home: str) -> None:
    """Raise PermanentError if there is no installation."""
    if not os.path.isdir(f"{home}/control"):
        raise PermanentError(
            f"{home} is no home of Quail: name one with --home, or make one: `quail init --single DIR` for yourself, or, as"
            " root, `quail init --system DOMAIN` for this machine"
        )


def become_owner(home: str) -> tuple[int, int]:
    """Check that the home is ours to change, as root become its owner; returns the owner's uid and gid.

    Root must not write where the links of somebody else's home lead.
    """
    must_be_home(home)
    os.umask(0o022)
    try:
        status = os.stat(home)
        if os.geteuid() == 0 and status.st_uid != 0:
            os.setgroups([])
            os.setegid(status.st_gid)
            os.seteuid(status.st_uid)
    except OSError as error:
        raise TemporaryError(f"unable to enter {home}: {words(error)}") from error
    if os.geteuid() != status.st_uid:
        raise PermanentError(f"{home} belongs to uid {status.st_uid}: call this as that user, or as root")
    return status.st_uid, status.st_gid
