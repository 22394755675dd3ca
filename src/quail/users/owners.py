"""Whose is a local part? The whole chain: users/cdb, then in a system home the machine's accounts, then alias.

A line of users/cdb whose deliveries would have to run as root, or as one of the accounts of Quail's services, does not count
in a system home: nothing may run as those, and the mail would be put off until it bounces. It goes on to the account alias.
"""

from quail.net.users_protocol import Owner
from quail.users import getpw
from quail.users.lookup import Lookup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from quail.users.getpw import ByName


class Owners:
    """The owners of one home, for as long as a program or service runs: each look-up sees the files as they are now."""

    __slots__ = ("_by_name", "_lookup", "_system")

    def __init__(self, system: bool, *, home: str, by_name: "ByName | None" = None) -> None:
        """`system`: whether control/mode says so. `home`: path. by_name: nss.by_name or its like."""
        self._system = system
        self._lookup = Lookup(f"{home}/users/cdb", required=not system)
        self._by_name = by_name

    def find(self, local: bytes) -> Owner | None:
        """The owner; None, in a single home only, if there is none. TemporaryError if it can't be told."""
        owner = self.assigned(local)
        return self.account(local) if owner is None and self._system else owner

    def assigned(self, local: bytes) -> Owner | None:
        """What users/cdb says, which is told at once; not for several threads. Raises as Lookup.find."""
        owner = self._lookup.find(local)
        if owner is not None and self._system and not getpw.gets_mail(owner.user, owner.uid):
            return None
        return owner

    def account(self, local: bytes) -> Owner:
        """What the machine's accounts say, which may take as long as the name service and the disks of homes do.

        Any number of threads may call it at once. Raises as getpw.find.
        """
        return getpw.find(local, self._by_name)
