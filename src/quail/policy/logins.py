"""Who has guessed passwords wrongly, and what comes of it: answers that take longer, then none for a while.
docs/decisions/0019-guessing.md says why so.

Failures are counted for each address (of IPv6 for each /64), for each user, and for each pair of the two. Counts age by
themselves. A right password takes back no more than what its own pair has brought: else whoever has an account could wash an
address clean between guesses at others, and each look of a user for mail the user's own count. The same wrong password again
is no new guess; it counts for its pair alone, and no other password of the pair is refused for it.

Attempts that are being judged count as if they had failed already: who tries many at once gets no more guesses by that.

Whoever has logged in from an address before can go on to do so while others guess, at that address or at that name; until
they fail too often themselves. Pure: times are given, in seconds of any clock that only goes forward. Tables are bounded; what
was not touched for longest is forgotten first.
"""

from quail.net.peers import network

MAX_KEPT = 20_000  # entries of a table
LONGEST_DELAY = 30.0  # seconds
FREE = 3  # failures that cost nothing: everybody mistypes
REFUSED_FROM = 10  # failures of one address, or of one pair
REFUSED_FROM_USER = 30  # failures at one name, from anywhere
FIRST_REFUSAL = 60.0  # seconds; twice as long with each failure more
LONGEST_REFUSAL = 3600.0
LONGEST_REFUSAL_OF_USER = 900.0  # others may be the ones who guess
TRUSTED_FAILURES = 5  # of somebody who has logged in from there before; and those that a right password takes back
BUSY = -1.0  # too many attempts are being judged: ask again when they have been
_PERIOD = 3600.0  # seconds, in which a count loses as many failures as it is refused from
_DAY = 86_400.0
_KEY = 64  # bytes of a name that count


class _Count:
    __slots__ = ("aged", "failures", "guesses", "last", "until")

    def __init__(self, aged: int) -> None:
        self.failures = 0
        self.guesses = 0  # those failures that were no repetition; of pairs alone
        self.last = -1  # a mark of the last wrong password; of pairs alone
        self.until = 0.0
        self.aged = aged  # how often counts had lost a failure when this one last did


class Table:
    """Counts by key, those that were touched last at the end, and how many attempts of each key are being judged."""

    __slots__ = ("_age", "_counts", "_judged", "_limit", "_longest", "_most")

    def __init__(self, limit: int, longest: float, most: int) -> None:
        """limit: failures from which a key is refused; longest: seconds of a refusal; most: entries."""
        self._counts: dict[bytes, _Count] = {}
        self._judged: dict[bytes, int] = {}
        self._limit = limit
        self._longest = longest
        self._most = most
        self._age = _PERIOD / limit

    def __len__(self) -> int:
        return len(self._counts) + len(self._judged)

    def get(self, key: bytes, now: float) -> _Count | None:
        """Aged; None if nothing is left of it. All counts of a limit age at the same moments, so that a pair has never more
        than its address still has of it.
        """
        count = self._counts.get(key)
        if count is None:
            return None
        moment = int(now // self._age)
        steps, count.aged = moment - count.aged, moment
        count.failures = max(0, count.failures - steps)
        count.guesses = max(0, count.guesses - steps)
        if count.failures == 0 and now >= count.until:
            del self._counts[key]
            return None
        return count

    def touch(self, key: bytes, now: float) -> _Count:
        count = self.get(key, now) or _Count(int(now // self._age))
        self._counts.pop(key, None)
        self._counts[key] = count
        if len(self._counts) > self._most:
            del self._counts[next(iter(self._counts))]
        return count

    def forget(self, key: bytes) -> None:
        self._counts.pop(key, None)

    def refused_for(self, key: bytes, now: float) -> float:
        """Seconds; BUSY if only those stand in the way that are being judged."""
        count = self.get(key, now)
        if count is not None and count.until > now:
            return count.until - now
        # Whose refusal has ended gets one attempt, whatever the count is.
        room = max(1, self._limit - count.failures) if count is not None else self._limit
        return BUSY if self._judged.get(key, 0) >= room else 0.0

    def begin(self, key: bytes) -> None:
        self._judged[key] = self._judged.get(key, 0) + 1

    def end(self, key: bytes) -> None:
        left = self._judged.pop(key, 0) - 1
        if left > 0:
            self._judged[key] = left

    def being_judged(self, key: bytes) -> int:
        return self._judged.get(key, 0)

    def fail(self, key: bytes, now: float) -> float:
        """One failure more; seconds that the answer is to wait."""
        count = self.touch(key, now)
        count.failures += 1
        over = count.failures - self._limit
        if over >= 0:
            count.until = now + min(FIRST_REFUSAL * 2.0 ** min(over, 32), self._longest)
        over = count.failures - FREE
        return min(2.0 ** min(over - 1, 32), LONGEST_DELAY) if over > 0 else 0.0

    def take_back(self, key: bytes, failures: int, now: float) -> None:
        """So many of them were somebody who mistyped. A refusal lasts."""
        count = self.get(key, now)
        if count is not None:
            count.failures = max(0, count.failures - failures)


class _Trust:
    """Pairs that have logged in: failures since then, and until when that counts."""

    __slots__ = ("_most", "_pairs")

    def __init__(self, most: int) -> None:
        self._pairs: dict[bytes, tuple[int, float]] = {}
        self._most = most

    def __len__(self) -> int:
        return len(self._pairs)

    def renew(self, pair: bytes, now: float) -> None:
        self._pairs.pop(pair, None)
        self._pairs[pair] = (0, now + _DAY)
        if len(self._pairs) > self._most:
            del self._pairs[next(iter(self._pairs))]

    def fail(self, pair: bytes) -> None:
        if pair in self._pairs:
            failures, until = self._pairs[pair]
            self._pairs[pair] = (failures + 1, until)

    def left(self, pair: bytes, now: float) -> int:
        """Failures that the pair may still have."""
        failures, until = self._pairs.get(pair, (TRUSTED_FAILURES, 0.0))
        if now >= until:
            self._pairs.pop(pair, None)
            return 0
        return max(0, TRUSTED_FAILURES - failures)


class Guard:
    """The counts of one service. Each attempt that begin() lets pass is ended by failed(), succeeded() or undecided()."""

    __slots__ = ("_addresses", "_pairs", "_trust", "_users")

    def __init__(self, most: int = MAX_KEPT) -> None:
        self._addresses = Table(REFUSED_FROM, LONGEST_REFUSAL, most)
        self._users = Table(REFUSED_FROM_USER, LONGEST_REFUSAL_OF_USER, most)
        self._pairs = Table(REFUSED_FROM, LONGEST_REFUSAL, most)
        self._trust = _Trust(most)

    def __len__(self) -> int:
        return sum(len(table) for table in (self._addresses, self._users, self._pairs)) + len(self._trust)

    def begin(self, peer: str, user: bytes, now: float, secret: bytes | None = None) -> float:
        """0.0: the password may be judged; else as refused_for()."""
        seconds = self.refused_for(peer, user, now, secret)
        if seconds == 0.0:
            for table, key in self._counted(peer, user):
                table.begin(key)
        return seconds

    def refused_for(self, peer: str, user: bytes, now: float, secret: bytes | None = None) -> float:
        """Seconds until this user may try again from this address, with this password if one is given; 0.0: now; BUSY: when
        others have been judged.
        """
        counted = self._counted(peer, user)
        waits = [table.refused_for(key, now) for table, key in counted]
        if waits[-1] > 0.0 and secret is not None and self._is_fresh(counted[-1][1], secret, now):
            waits[-1] = 0.0
        longest = max(waits)
        if longest == 0.0 and BUSY not in waits:
            return 0.0
        pair = counted[-1][1]
        left = self._trust.left(pair, now)
        if left:
            return 0.0 if self._pairs.being_judged(pair) < left else BUSY
        return longest if longest > 0.0 else BUSY

    def _is_fresh(self, pair: bytes, secret: bytes, now: float) -> bool:
        """Whether the pair is refused for repetitions alone, of another password than this: it is the user's own old device
        that repeats, and the user may be next to it.
        """
        count = self._pairs.get(pair, now)
        return count is not None and count.guesses < REFUSED_FROM and _mark(secret) != count.last

    def failed(self, peer: str, user: bytes, secret: bytes, now: float) -> float:
        """Count a wrong password; seconds that the answer is to wait."""
        *shared, (pairs, pair) = self._end(peer, user)
        self._trust.fail(pair)
        delays = [pairs.fail(pair, now)]
        count = pairs.touch(pair, now)
        mark = _mark(secret)
        if mark != count.last:
            count.last = mark
            count.guesses += 1
            delays += [table.fail(key, now) for table, key in shared]
        return max(delays)

    def succeeded(self, peer: str, user: bytes, now: float) -> None:
        """The right password: what this user has mistyped here is forgotten, nothing of what others have."""
        *shared, (pairs, pair) = self._end(peer, user)
        count = pairs.get(pair, now)
        if count is not None:
            for table, key in shared:
                table.take_back(key, min(count.guesses, TRUSTED_FAILURES), now)
            pairs.forget(pair)
        self._trust.renew(pair, now)

    def undecided(self, peer: str, user: bytes) -> None:
        """Whether the password is right could not be told."""
        self._end(peer, user)

    def _end(self, peer: str, user: bytes) -> tuple[tuple[Table, bytes], ...]:
        counted = self._counted(peer, user)
        for table, key in counted:
            table.end(key)
        return counted

    def _counted(self, peer: str, user: bytes) -> tuple[tuple[Table, bytes], ...]:
        """What an attempt counts for; the pair last."""
        address, name = network(peer), user.lower()[:_KEY]
        return (self._addresses, address), (self._users, name), (self._pairs, address + b" " + name)


def _mark(secret: bytes) -> int:
    """Sixteen bits of a hash with a seed of this process tell nothing of the password, and nobody can aim at them."""
    return hash(secret) & 0xFFFF
