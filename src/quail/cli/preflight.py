"""What must hold before a system home runs: every account can get at its code and its home, and root alone can change them.

Otherwise the services would not start, or whoever can write in one of these folders would soon be root.
"""

import os
import stat

from quail.cli.code import dependency_folders, interpreter, library, package, package_parent
from quail.cli.system.layout import FOLDERS
from quail.control.reader import Control
from quail.errors import PermanentError, TemporaryError
from quail.oserrors import words
from quail.users.accounts import Accounts

_MOST_LINKS = 40  # as the kernel


def check(home: str, accounts: Accounts) -> None:
    """Raise PermanentError, naming folder and remedy, unless a system home can run here: its places, whose folders it has, and
    that the Unix sockets of control/listen stay where they are put.

    `home` is absolute and complete.
    """
    check_places(home)
    check_sockets(home)
    for path, user, _, _ in FOLDERS:
        folder = f"{home}/{path}" if path else home
        wanted = 0 if user == "root" else accounts[user].uid
        try:
            uid = os.stat(folder).st_uid
        except FileNotFoundError:
            raise PermanentError(f"{folder} is missing: quail init --system makes it") from None
        except OSError as error:
            raise TemporaryError(f"unable to look at {folder}: {words(error)}") from error
        if uid != wanted:
            raise PermanentError(f"{folder} belongs to uid {uid} instead of {user}: chown -R {user} {folder}")


def check_places(home: str) -> None:
    """Raise PermanentError unless interpreter, library, quail, its dependencies and the home can be entered by all accounts
    and written by root alone. What of the absolute `home` is not there yet does not count.
    """
    places = {interpreter(): "the Python interpreter", **dict.fromkeys(library(), "the library of Python")}
    places |= dict.fromkeys(dependency_folders(), "what Quail needs")
    places |= {package_parent(): "Quail", package(): "Quail"}
    for place, what in places.items():
        _check_way(place, f"{what} is in {place}" if os.path.isdir(place) else f"{what} is {place}", listed=True)
    _check_way(home, f"the home is {home}", listed=False)


def check_sockets(home: str) -> None:
    """Raise PermanentError if everybody can write where control/listen wants a Unix socket: somebody could put another one
    there, and get the mail. A folder may be another account's, such as Postfix's own.
    """
    for service, place, _ in Control(f"{home}/control").listen():
        if "/" not in place:
            continue
        for path in _way(os.path.dirname(os.path.join(home, place))):
            if os.lstat(path).st_mode & stat.S_IWOTH:
                raise PermanentError(
                    f"control/listen wants {place} for {service}, and everybody can write in the folder {path}: chmod o-w"
                    f" {path}, or choose another place"
                )


def _check_way(place: str, what: str, *, listed: bool) -> None:
    """Everything on the way from the root of the file system, also by links. `listed`: it must be readable at its end."""
    try:
        way = _way(place)
        for path in way:
            status = os.lstat(path)
            _check(path, status, what, readable=listed and path == way[-1])
    except OSError as error:
        raise TemporaryError(f"unable to look at {place}: {words(error)}") from error


def _way(place: str) -> list[str]:
    """Each folder on the way to an absolute path, then the place itself, with links followed; up to what is not there."""
    found, here, links = ["/"], "/", 0
    left = place.split("/")[::-1]
    while left:
        part = left.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            here = os.path.dirname(here)
            continue
        path = os.path.join(here, part)
        try:
            target = os.readlink(path) if os.path.islink(path) else None
            if target is None:
                os.lstat(path)
        except FileNotFoundError:
            break
        if target is None:
            found.append(path)
            here = path
            continue
        links += 1
        if links > _MOST_LINKS:
            raise PermanentError(f"{place} is a circle of links")
        left += target.split("/")[::-1]
        if target.startswith("/"):
            here = "/"
    return found


def _check(path: str, status: os.stat_result, what: str, *, readable: bool) -> None:
    is_folder = stat.S_ISDIR(status.st_mode)
    name = f"the folder {path}" if is_folder else path
    if status.st_uid != 0:
        raise PermanentError(
            f"{what}, and {name} belongs to uid {status.st_uid}, who could change what runs as root: give it to root"
            f" (chown root {path}), or install Quail elsewhere"
        )
    if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid != 0):
        whom = "everybody" if status.st_mode & stat.S_IWOTH else f"group {status.st_gid}"
        raise PermanentError(
            f"{what}, and {whom} can write in {name}, and so change what runs as root: chmod go-w {path}, or choose"
            " another place"
        )
    needed = stat.S_IXOTH * is_folder | stat.S_IROTH * (readable and is_folder) | stat.S_IXOTH * (not is_folder)
    if status.st_mode & needed != needed:
        raise PermanentError(
            f"{what}, and the accounts of the services can't enter {name}: chmod o+{'rx' if readable else 'x'} {path}, or"
            " choose another place, outside of /root and of people's homes"
        )
