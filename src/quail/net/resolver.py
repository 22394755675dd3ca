"""Looking up names in the DNS: a stub resolver with a cache, for one event loop.

Equal questions that are asked at the same time are one; answers and failures are remembered, so that a queue full of mail to a
domain whose name servers are dead asks them now and then, not for each message. IP addresses in place of names are the
caller's matter.
"""

import asyncio
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import cast

import dns.name
from dns.rdatatype import RdataType

from quail.control.nameservers import Server
from quail.errors import QuailError, TemporaryError
from quail.net.resolvconf import Configuration, ResolvConf
from quail.net.resolver_cache import Cache
from quail.net.resolver_query import (
    AAAA,
    MOST_LINKS,
    MX,
    PTR,
    TXT,
    A,
    Answer,
    NoSuchHost,
    Record,
    ServerFailed,
    ask,
    plain_name,
    wire_name,
)

__all__ = ["NoSuchHost", "Resolver", "UnresolvedError"]

_FAILURE_HOLDS = 30.0  # seconds
_SLOW_HOLDS = 30.0  # seconds that a server which did not answer is asked last
_PLAIN_HOLDS = 600.0  # seconds that a server gets no EDNS after it seems not to bear it
_MOST_FLIGHTS = 10_000  # look-ups under way or waiting for their turn; callers may give up sooner than these do
_MOST_NAMES = 10  # of one address that are checked
_LOOPBACK: dict[RdataType, tuple[Record, ...]] = {A: ("127.0.0.1",), AAAA: ("::1",)}

_Key = tuple[bytes, RdataType]
_Outcome = tuple[Record, ...] | QuailError


class UnresolvedError(TemporaryError):
    """It can't be told now: no server answers, or none with anything that can be relied on."""


class Resolver:
    """Belongs to the loop that it is first used in. A caller that is cancelled takes nothing from others who wait as well."""

    def __init__(
        self,
        *,
        nameservers: list[Server] | None = None,
        resolv_conf: str = "/etc/resolv.conf",
        max_entries: int = 20_000,
        max_queries: int = 500,
        patience: float = 20.0,
        timeout: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`nameservers` go before those of `resolv_conf`, which is read again when it changes.

        `max_entries` bounds the records that are remembered, `max_queries` the look-ups at once, `patience` (seconds) each
        with all its tries. `timeout` is the seconds of a first try, if not as resolv_conf says.
        """
        self._fixed = Configuration(nameservers) if nameservers else None
        self._file = ResolvConf(resolv_conf, clock)
        self._cache: Cache[_Key, _Outcome] = Cache(max_entries, clock)
        self._slots = asyncio.Semaphore(max_queries)
        self._patience = patience
        self._timeout = timeout
        self._clock = clock
        self._flights: dict[_Key, asyncio.Task[_Outcome]] = {}
        self._slow: dict[Server, float] = {}
        self._plain: dict[Server, float] = {}
        self._turn = 0

    async def mx(self, host: bytes) -> list[tuple[int, bytes]]:
        """Preference and name of each exchanger, as received; none if there are no MX records.

        A null MX (RFC 7505) is (0, b""). NoSuchHost, UnresolvedError.
        """
        return cast(list[tuple[int, bytes]], _records(await self._outcome(host, MX)))

    async def txt(self, name: bytes) -> list[bytes]:
        """The text of each TXT record, its strings put together; none if there are none. NoSuchHost, UnresolvedError."""
        return cast(list[bytes], _records(await self._outcome(name, TXT)))

    async def addresses(self, host: bytes, *, want_ipv6: bool) -> list[str]:
        """Its addresses, those of IPv6 first if they are wanted at all; none if it has none. NoSuchHost, UnresolvedError.

        One kind is enough: a server that fails for the other kind takes nothing away.
        """
        if not want_ipv6:
            return cast(list[str], _records(await self._outcome(host, A)))
        six, four = self._known(host, AAAA), self._known(host, A)
        if six is None or four is None:
            six, four = await asyncio.gather(self._outcome(host, AAAA), self._outcome(host, A))
        both = six, four
        found = [each for outcome in both if isinstance(outcome, tuple) for each in outcome]
        failures = [outcome for outcome in both if isinstance(outcome, QuailError)]
        if failures and not found:
            # What may go away counts first; and a name that has nothing of one kind exists, whatever is said of the other.
            failures.sort(key=lambda failure: isinstance(failure, NoSuchHost))
            if len(failures) == 2 or isinstance(failures[0], UnresolvedError):
                _records(failures[0])
        return cast(list[str], found)

    async def name_of(self, ip: str, *, patience: float = 5.0) -> bytes | None:
        """The first name of an address that has the address itself; None if no such name is found in so many seconds."""
        try:
            address = ip_address(ip.partition("%")[0])
            if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
                address = address.ipv4_mapped
            async with asyncio.timeout(patience):
                names = _records(await self._outcome(address.reverse_pointer.encode(), PTR))
                for name in cast(list[bytes], names[:_MOST_NAMES]):
                    if await self._leads_to(name, address):
                        return name
        except (QuailError, TimeoutError, ValueError):
            pass
        return None

    async def _leads_to(self, name: bytes, address: IPv4Address | IPv6Address) -> bool:
        try:
            found = _records(await self._outcome(name, AAAA if address.version == 6 else A))
        except QuailError:
            return False
        return any(ip_address(cast(str, each)) == address for each in found)

    def _known(self, host: bytes, kind: RdataType) -> _Outcome | None:
        """Without waiting."""
        return self._cache.get((host, kind))

    async def _outcome(self, host: bytes, kind: RdataType) -> _Outcome:
        outcome = self._known(host, kind)
        if outcome is None:
            name = plain_name(host)
            outcome = self._known(name, kind)
            if outcome is None:
                outcome = await self._share((name, kind))
        return outcome

    async def _share(self, key: _Key) -> _Outcome:
        name = key[0]
        if name == b"localhost" or name.endswith(b".localhost"):  # RFC 6761 s6.3
            return _LOOPBACK.get(key[1], ())
        flight = self._flights.get(key)
        if flight is None:
            if len(self._flights) >= _MOST_FLIGHTS:
                raise UnresolvedError(f"too many names are looked up, {name.decode()} has to wait")
            flight = self._flights[key] = asyncio.get_running_loop().create_task(self._fly(key))
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        try:
            return await asyncio.shield(flight)
        except asyncio.CancelledError:
            if flight.cancelled():  # by close(), not the caller
                raise UnresolvedError("looking up names has ended") from None
            raise

    async def _fly(self, key: _Key) -> _Outcome:
        async with self._slots:
            outcome: _Outcome
            try:
                outcome, ttl = await self._find(*key)
            except UnresolvedError as error:
                outcome, ttl = UnresolvedError(str(error)), _FAILURE_HOLDS
            self._cache.put(key, outcome, ttl, len(outcome) if isinstance(outcome, tuple) else 1)
            return outcome

    async def _find(self, name: bytes, kind: RdataType) -> tuple[_Outcome, float]:
        """Records or NoSuchHost, and for how many seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        owner, links, ttl = wire_name(name), 0, float("inf")
        while links <= MOST_LINKS:
            answer = await self._ask_all(owner, kind, deadline)
            ttl, links = min(ttl, answer.ttl), links + answer.links
            if answer.follow is None:
                return answer.records if answer.exists else NoSuchHost(f"{name.decode()} does not exist"), ttl
            owner = answer.follow
        raise UnresolvedError(f"{name.decode()} is an alias that leads nowhere")

    async def _ask_all(self, name: dns.name.Name, kind: RdataType, deadline: float) -> Answer:
        """The first answer of any server that can be relied on."""
        loop = asyncio.get_running_loop()
        configuration = self._fixed or self._file.current()
        servers = self._order(configuration)
        timeout = self._timeout or configuration.timeout
        reason = "no answer"
        for attempt in range(configuration.attempts):
            for others, server in zip(range(len(servers) - 1, -1, -1), list(servers), strict=True):
                left = deadline - loop.time()
                if left <= 0:
                    break
                edns = not attempt and self._plain.get(server, 0.0) <= self._clock()
                patience = min(left / (others + 1), timeout * (1 << attempt))  # the last one must have its turn, too
                try:
                    answer = await ask(server, name, kind, edns=edns, tcp=configuration.use_tcp, patience=patience)
                except ServerFailed as error:
                    servers.remove(server)  # it would say the same again
                    reason = f"{server[0]} {error}"
                except TimeoutError:
                    self._slow[server] = self._clock() + _SLOW_HOLDS
                except OSError as error:
                    self._slow[server] = self._clock() + _SLOW_HOLDS
                    servers.remove(server)
                    reason = f"{server[0]}: {error.strerror}"
                else:
                    self._slow.pop(server, None)
                    if attempt and not edns:
                        self._plain[server] = self._clock() + _PLAIN_HOLDS
                    return answer
        raise UnresolvedError(f"{name.to_text(omit_final_dot=True)} {kind.name}: {reason}")

    def _order(self, configuration: Configuration) -> list[Server]:
        servers = configuration.servers
        if configuration.rotate:
            self._turn = (self._turn + 1) % len(servers)
            servers = servers[self._turn :] + servers[: self._turn]
        now = self._clock()
        return sorted(servers, key=lambda server: self._slow.get(server, 0.0) > now)

    def close(self) -> None:
        """Whoever still waits gets UnresolvedError."""
        for flight in list(self._flights.values()):
            flight.cancel()


def _records(outcome: _Outcome) -> list[Record]:
    """The caller's own list, or an error whose traceback is the caller's."""
    if isinstance(outcome, tuple):
        return list(outcome)
    raise type(outcome)(str(outcome))
