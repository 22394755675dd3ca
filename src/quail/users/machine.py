"""The mail users of a system home: accounts of the machine, as the name service lists them, and lines of users/assign.

A name service need not list all that it knows (an LDAP client often does not): then the list has fewer than get mail.
"""

import os
import pwd
import stat

from quail.users.getpw import ALIAS, NoAliasError
from quail.users.mailboxes import rows
from quail.users.nss import Entry
from quail.users.owners import Owners


class MailUser:
    """A local part with a mailbox of its own. `has_maildir` is None if that can't be seen from here."""

    __slots__ = ("gid", "has_maildir", "home", "maildir", "name", "uid")

    def __init__(self, name: str, uid: int, gid: int, home: str) -> None:
        """`home` is absolute."""
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home
        self.maildir = f"{home}/Maildir"
        self.has_maildir = _is_folder(self.maildir)


def listed() -> list[Entry]:
    """Every account that the name service lists, in its order."""
    return [
        Entry(os.fsencode(entry.pw_name), entry.pw_uid, entry.pw_gid, os.fsencode(entry.pw_dir))
        for entry in pwd.getpwall()
    ]


def mail_users(home: str, entries: list[Entry]) -> list[MailUser]:
    """Whoever of these accounts gets mail under the account's name, and each mailbox of users/assign, by name.

    `home` is that of the installation. TemporaryError if users/assign, users/cdb or a user's home can't be read or followed.
    """
    found = {row.name: MailUser(row.name, row.uid, row.gid, row.home) for row in rows(home) if row.maildir is not None}
    table = {entry.name: entry for entry in entries}
    owners = Owners(True, home=home, by_name=table.get)
    for entry in entries:
        name = os.fsdecode(entry.name)
        if entry.name == ALIAS or name in found:
            continue
        try:
            owner = owners.find(entry.name)
        except NoAliasError:
            continue
        if owner is not None and owner.user == entry.name and not owner.dash:
            found[name] = MailUser(name, owner.uid, owner.gid, os.fsdecode(owner.home))
    found.pop(os.fsdecode(ALIAS), None)
    return [found[name] for name in sorted(found)]


def _is_folder(path: str) -> bool | None:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
