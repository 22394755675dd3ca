"""The accounts of a system home: who runs what (DESIGN.md, Two kinds of home; facts 1)."""

import grp
import pwd

from quail.errors import PermanentError

ALIAS = "alias"
NAMES = (ALIAS, "qmaild", "qmaill", "qmailp", "qmailq", "qmailr", "qmails", "qmailpop")
QMAIL, NOFILES = "qmail", "nofiles"
IN_QMAIL = ("qmailq", "qmailr", "qmails")  # the others' group is nofiles, to which no file belongs
_REMEDY = "quail init --system makes what is missing"


class Account:
    """One of them: a service that runs as it has this uid and this group, and no other."""

    __slots__ = ("gid", "name", "uid")

    def __init__(self, name: str, uid: int, gid: int) -> None:
        """`gid` is the account's own group."""
        self.name = name
        self.uid = uid
        self.gid = gid


class Accounts:
    """All of them, by name; with the numbers of the two groups."""

    __slots__ = ("_by_name", "nofiles_gid", "qmail_gid")

    def __init__(self, accounts: list[Account], qmail_gid: int, nofiles_gid: int) -> None:
        """As the machine has them: see load()."""
        self._by_name = {account.name: account for account in accounts}
        self.qmail_gid = qmail_gid
        self.nofiles_gid = nofiles_gid

    @classmethod
    def load(cls) -> "Accounts":
        """As the name service has them now. PermanentError if one is missing, is uid 0, or shares its uid with another."""
        groups = [_group(name) for name in (QMAIL, NOFILES)]
        accounts = [_account(name) for name in NAMES]
        owners: dict[int, str] = {0: "root"}
        for account in accounts:
            other = owners.setdefault(account.uid, account.name)
            if other != account.name:
                raise PermanentError(
                    f"accounts {other} and {account.name} share uid {account.uid}: each must have its own"
                )
        return cls(accounts, *groups)

    def __getitem__(self, name: str) -> Account:
        return self._by_name[name]

    def uids(self) -> dict[str, int]:
        """Of each account, by its name."""
        return {name: account.uid for name, account in self._by_name.items()}


def _account(name: str) -> Account:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise PermanentError(f"there is no account {name} on this machine: {_REMEDY}") from None
    return Account(name, entry.pw_uid, entry.pw_gid)


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise PermanentError(f"there is no group {name} on this machine: {_REMEDY}") from None
