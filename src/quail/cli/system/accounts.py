"""Making the accounts of a system home, or finding them already there and fit."""

import grp
import os
import pwd
import shutil
import subprocess

from quail.errors import PermanentError, TemporaryError
from quail.users.accounts import ALIAS, IN_QMAIL, NAMES, NOFILES, QMAIL, Accounts

GROUPS = (QMAIL, NOFILES)
_SHELLS = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    """The accounts of this machine. Tests have another one."""

    def complete(self, home: str) -> list[str]:
        """Make what is missing, for an absolute home; returns the names of what was made, groups first.

        PermanentError, before anything is made, if what is there does not fit or if this system has no tool to make accounts.
        """
        return _complete(home, self)

    def accounts(self) -> Accounts:
        """All of them, once they are there."""
        return Accounts.load()

    def group(self, name: str) -> int | None:
        """Its gid."""
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            return None

    def account(self, name: str) -> tuple[int, int, str] | None:
        """Its uid, gid and home."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return None
        return entry.pw_uid, entry.pw_gid, entry.pw_dir

    def has_tools(self) -> bool:
        """Whether accounts can be made here."""
        return all(shutil.which(tool, path=_PATH) for tool in ("groupadd", "useradd"))

    def make_group(self, name: str) -> None:
        """TemporaryError if that fails."""
        _call("groupadd", "--system", name)

    def make_account(self, name: str, group: str, home: str) -> None:
        """Without a password, a shell, or a home of its own that anybody makes. TemporaryError if that fails."""
        shell = next((shell for shell in _SHELLS if os.path.exists(shell)), _SHELLS[-1])
        words = ["--system", "--no-create-home", "--home-dir", home, "--gid", group, "--shell", shell]
        _call("useradd", *words, "--comment", "Quail mail system", name)


def _call(tool: str, *words: str) -> None:
    environment = {"PATH": _PATH, "LC_ALL": "C"}
    try:
        done = subprocess.run([tool, *words], capture_output=True, check=False, env=environment)  # noqa: S603  no words of others
    except OSError as error:
        raise TemporaryError(f"unable to run {tool}: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().replace("\n", "; ")
        raise TemporaryError(f"unable to make {words[-1]}: {said or f'{tool} ended with {done.returncode}'}")


def group_of(name: str) -> str:
    """The group of an account."""
    return QMAIL if name in IN_QMAIL else NOFILES


def home_of(name: str, home: str) -> str:
    """The folder that the account is at home in; mail is delivered in alias's."""
    return f"{home}/alias" if name == ALIAS else home


def _complete(home: str, machine: Machine) -> list[str]:
    _refuse_misfits(home, machine)
    missing_groups = [name for name in GROUPS if machine.group(name) is None]
    missing = [name for name in NAMES if machine.account(name) is None]
    if (missing or missing_groups) and not machine.has_tools():
        wanted = [f"group {name}" for name in missing_groups]
        wanted += [f"account {name} (group {group_of(name)}, home {home_of(name, home)}, no shell)" for name in missing]
        raise PermanentError(
            f"this system has no groupadd and useradd: make these yourself, then call this again: {'; '.join(wanted)}"
        )
    for name in missing_groups:
        machine.make_group(name)
    for name in missing:
        machine.make_account(name, group_of(name), home_of(name, home))
    return missing_groups + missing


def _refuse_misfits(home: str, machine: Machine) -> None:
    gids: dict[int, str] = {0: "root"}
    for name in GROUPS:
        gid = machine.group(name)
        if gid is not None and gids.setdefault(gid, name) != name:
            raise PermanentError(f"group {name} is gid {gid}, which is that of {gids[gid]}: give it one of its own")
    uids: dict[int, str] = {0: "root"}
    for name in NAMES:
        found = machine.account(name)
        if found is None:
            continue
        uid, gid, folder = found
        if uids.setdefault(uid, name) != name:
            raise PermanentError(f"account {name} is uid {uid}, which is that of {uids[uid]}: give it one of its own")
        if gid != machine.group(group_of(name)):
            raise PermanentError(
                f"there is an account {name} whose group is gid {gid} instead of {group_of(name)}: remove it, or call"
                f" usermod --gid {group_of(name)} {name}"
            )
        if name == ALIAS and os.path.normpath(folder) != home_of(name, home):
            raise PermanentError(
                f"there is an account {name} whose home is {folder} instead of {home_of(name, home)}: remove it, or call"
                f" usermod --home {home_of(name, home)} {name}"
            )
