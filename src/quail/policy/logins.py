"""Who has guessed passwords wrongly, and what comes of it: answers that take longer, then none for a while.

Failures are counted for each address (of IPv6 for each /64, which one guest has whole) and for each user. Pure: times are
given, in seconds of any clock that only goes forward. Tables are bounded; what was not touched for longest is forgotten
first.

Whoever has logged in from an address before can go on to do so while others guess, at that address or at that name; until
they fail too often themselves.
"""

from ipaddress import IPv6Address, ip_address

MAX_KEPT = 20_000  # entries of a table
FORGOTTEN_AFTER = 3600.0  # seconds without a failure
LONGEST_DELAY = 30.0  # seconds
FREE = 3  # failures that cost nothing: everybody mistypes
REFUSED_FROM = 10  # failures of one address
REFUSED_FROM_USER = 30  # failures at one name, from anywhere
FIRST_REFUSAL = 60.0  # seconds; twice as long with each failure more
LONGEST_REFUSAL = 3600.0
LONGEST_REFUSAL_OF_USER = 900.0  # others may be the ones who guess
TRUSTED_FAILURES = 5  # of somebody who has logged in from there before
_KEY = 64  # bytes of a name that count


class _Count:
    __slots__ = ("failures", "last", "until")

    def __init__(self, now: float) -> None:
        self.failures = 0
        self.last = now
        self.until = now


class Table:
    """Counts by key, those that were touched last at the end."""

    __slots__ = ("_counts", "_most")

    def __init__(self, most: int = MAX_KEPT) -> None:
        self._counts: dict[bytes, _Count] = {}
        self._most = most

    def __len__(self) -> int:
        return len(self._counts)

    def get(self, key: bytes, now: float) -> _Count | None:
        count = self._counts.get(key)
        if count is not None and now >= count.until and now - count.last > FORGOTTEN_AFTER:
            del self._counts[key]
            return None
        return count

    def touch(self, key: bytes, now: float) -> _Count:
        count = self.get(key, now) or _Count(now)
        self._counts.pop(key, None)
        self._counts[key] = count
        if len(self._counts) > self._most:
            del self._counts[next(iter(self._counts))]
        return count

    def forget(self, key: bytes) -> None:
        self._counts.pop(key, None)


class Guard:
    """The counts of one service."""

    __slots__ = ("_addresses", "_trusted", "_users")

    def __init__(self, most: int = MAX_KEPT) -> None:
        self._addresses = Table(most)
        self._users = Table(most)
        self._trusted = Table(most)  # user at address: failures since the last log-in there

    def __len__(self) -> int:
        return len(self._addresses) + len(self._users) + len(self._trusted)

    def refused_for(self, peer: str, user: bytes, now: float) -> float:
        """Seconds until this user may try again from this address; 0.0: now."""
        address, name = _network(peer), _name(user)
        trusted = self._trusted.get(address + b" " + name, now)
        if trusted is not None and trusted.failures < TRUSTED_FAILURES:
            return 0.0
        counts = (self._addresses.get(address, now), self._users.get(name, now))
        return max([0.0, *(count.until - now for count in counts if count is not None)])

    def failed(self, peer: str, user: bytes, now: float) -> float:
        """Count a wrong password; seconds that the answer is to wait."""
        address, name = _network(peer), _name(user)
        trusted = self._trusted.get(address + b" " + name, now)
        if trusted is not None:
            trusted.failures += 1
            trusted.last = now
        delays = [
            _count(self._addresses.touch(address, now), now, REFUSED_FROM, LONGEST_REFUSAL),
            _count(self._users.touch(name, now), now, REFUSED_FROM_USER, LONGEST_REFUSAL_OF_USER),
        ]
        return max(delays)

    def succeeded(self, peer: str, user: bytes, now: float) -> None:
        """The right password: what was wrong before is forgotten."""
        address, name = _network(peer), _name(user)
        self._addresses.forget(address)
        self._users.forget(name)
        trusted = self._trusted.touch(address + b" " + name, now)
        trusted.failures = 0
        trusted.until = now + _DAY


_DAY = 86_400.0


def _count(count: _Count, now: float, refused_from: int, longest: float) -> float:
    """One failure more; the delay that it brings."""
    count.failures += 1
    count.last = now
    over = count.failures - refused_from
    if over >= 0:
        count.until = now + min(FIRST_REFUSAL * 2.0 ** min(over, 32), longest)
    over = count.failures - FREE
    return min(2.0 ** min(over - 1, 32), LONGEST_DELAY) if over > 0 else 0.0


def _network(peer: str) -> bytes:
    """What an address counts as."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer.encode()
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return address.packed[:8].hex().encode()
        address = address.ipv4_mapped
    return str(address).encode()


def _name(user: bytes) -> bytes:
    return user.lower()[:_KEY]
