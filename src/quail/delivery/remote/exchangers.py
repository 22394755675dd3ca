"""Where mail for a host goes: control/smtproutes, an address literal, or the DNS (RFC 5321 s5.1, RFC 7505; facts 9.1).

Hosts come in groups of equal preference, best first, and a group is looked up when the ones before it have failed. Where this
host itself is in a group, that group and all after it are left out: what could not be delivered to better hosts waits here.
"""

import asyncio
import ipaddress
import os
import random
from operator import itemgetter

from quail.control.routes import SMTP, Relay
from quail.delivery.remote import report
from quail.delivery.remote.report import Result
from quail.delivery.remote.settings import Settings
from quail.net.resolver import NoSuchHost, Resolver, UnresolvedError

SMTP_PORT = 25
_MOST_HOSTS = 100  # the best, that are looked up; more is no honest setup, and each may take the resolver's patience
_MOST_ADDRESSES = 100  # of a host, and of all of equal preference; one answer may have thousands


class Target:
    """One address to connect to. `direct`: found by the DNS or as a literal, not named by the operator. `is_path`: it is a
    Unix socket's path.
    """

    __slots__ = ("address", "direct", "port", "protocol")

    def __init__(self, address: str, port: int, protocol: str, *, direct: bool) -> None:
        """`address` is an IP address or an absolute path; `protocol` smtp, qmtp or lmtp."""
        self.address = address
        self.port = port
        self.protocol = protocol
        self.direct = direct

    @property
    def is_path(self) -> bool:
        """Whether it is a Unix socket."""
        return self.address.startswith("/")

    @property
    def key(self) -> tuple[str, int, str]:
        """What connections that lead to the same place have in common."""
        return self.address, self.port, self.protocol


class NoTargetError(Exception):
    """There is nobody to connect to; `result` is what the delivery comes to."""

    def __init__(self, result: Result) -> None:
        """See report.py."""
        super().__init__(result.message.text)
        self.result = result


def literal(host: bytes) -> str | None:
    """The IP address that a host part is: `[192.0.2.1]`, `[IPv6:2001:db8::1]` (RFC 5321 s4.1.3) or a bare 192.0.2.1."""
    text = host.decode("ascii", "replace")
    if text.startswith("[") and text.endswith("]"):
        inner = text[1:-1]
        if inner[:5].lower() == "ipv6:":
            inner = inner[5:]
        return _ip(inner)
    return _ip(text) if text.count(".") == 3 and text[-1:].isdigit() else None


def _ip(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text else None
    except ValueError:
        return None


class Search:
    """Who takes mail for one host; ask next_group() until mail is delivered or there is nobody left.

    trouble: some name could not be looked up, and may be another time.
    """

    def __init__(self, resolver: Resolver, host: bytes, settings: Settings) -> None:
        """Nothing is looked up yet."""
        self._resolver = resolver
        self._host = host
        self._settings = settings
        self._groups: list[list[bytes]] | None = (
            None  # names of equal preference, the best last; None before the first call
        )
        self._found = False  # some address
        self.trouble = False
        self._is_over = False

    async def next_group(self) -> list[Target] | None:
        """The next best targets, in the order in which to try them. NoTargetError when there is none at all."""
        if self._is_over:
            return None
        host, settings = self._host, self._settings
        if self._groups is None:
            relay = settings.routes.relay(host)
            if relay is not None:
                self._is_over = True
                return await self._relay(relay)
            address = literal(host)
            if address is not None:
                self._is_over = True
                if settings.is_own(address):
                    raise NoTargetError(report.never(report.OWN_EXCHANGER % host))
                return [Target(address, SMTP_PORT, SMTP, direct=True)]
            self._groups = await self._exchangers()
        own = False
        while self._groups and not own:
            names = self._groups.pop()
            # A host that is called as this one is this one, even if a router has given it another address.
            own = not settings.own_names.isdisjoint(name.lower() for name in names if name != host)
            if not own:
                addresses, unresolved = await self._addresses(names)
                self.trouble = self.trouble or unresolved
                own = any(map(settings.is_own, addresses))
                if addresses and not own:
                    self._found = True
                    return [Target(address, SMTP_PORT, SMTP, direct=True) for address in addresses[:_MOST_ADDRESSES]]
        self._is_over = True
        if self._found:
            return None
        if self.trouble:
            raise NoTargetError(report.later(report.HOST_UNRESOLVED, host_down=True))
        raise NoTargetError(report.never(report.OWN_EXCHANGER % host if own else report.NO_EXCHANGER))

    async def _relay(self, relay: Relay) -> list[Target]:
        """By its addresses alone, without MX. That it does not exist is the operator's mistake: mail waits for him."""
        if relay.host.startswith(b"/"):
            addresses = [os.fsdecode(relay.host)]
        elif relay.is_ip:
            addresses = [relay.host.decode()]
        else:
            try:
                addresses = await self._look_up(relay.host)
            except NoSuchHost:
                addresses = []
            except UnresolvedError:
                raise NoTargetError(report.later(report.HOST_UNRESOLVED, host_down=True)) from None
            if not addresses:
                raise NoTargetError(report.later(report.NO_RELAY % relay.host, host_down=True))
        return [Target(address, relay.port, relay.protocol, direct=False) for address in addresses]

    async def _exchangers(self) -> list[list[bytes]]:
        """Names of equal preference together, in random order, best last; the host itself where it has no MX record."""
        host = self._host
        try:
            records = await self._resolver.mx(host)
        except NoSuchHost:
            raise NoTargetError(report.never(report.NO_SUCH_HOST % host)) from None
        except UnresolvedError:
            raise NoTargetError(report.later(report.HOST_UNRESOLVED, host_down=True)) from None
        if not records:
            return [[host]]
        if len(records) == 1 and not records[0][1]:
            raise NoTargetError(report.never(report.NULL_MX % host))
        named = [record for record in records if record[1]]  # a null MX among others means nothing (RFC 7505 s3)
        random.shuffle(named)  # RFC 5321 s5.1
        named.sort(key=itemgetter(0))
        groups: dict[int, list[bytes]] = {}
        for preference, name in named[:_MOST_HOSTS]:
            groups.setdefault(preference, []).append(name)
        return list(groups.values())[::-1]

    async def _addresses(self, names: list[bytes]) -> tuple[list[str], bool]:
        """Addresses of hosts of equal preference, and whether some could not be told.

        Of each host the first address is IPv6 and the second IPv4, if it has both, and so on.
        """
        if len(names) == 1:
            answers = [await self._addresses_of(names[0])]
        else:
            answers = await asyncio.gather(*(self._addresses_of(name) for name in names))
        found = dict.fromkeys(address for answer in answers for address in answer or ())
        return list(found), None in answers

    async def _addresses_of(self, host: bytes) -> list[str] | None:
        """None if they can't be told now."""
        address = literal(host)
        if address is not None:
            return [address]
        try:
            return await self._look_up(host)
        except NoSuchHost:
            return []
        except UnresolvedError:
            return None

    async def _look_up(self, host: bytes) -> list[str]:
        """NoSuchHost, UnresolvedError. What has IPv6 only is not nothing, also where there is no way to it just now."""
        want_ipv6 = self._settings.use_ipv6
        found = await self._resolver.addresses(host, want_ipv6=want_ipv6)
        if not (found or want_ipv6):
            found = await self._resolver.addresses(host, want_ipv6=True)
        return _by_turns(found)[:_MOST_ADDRESSES]


def _by_turns(addresses: list[str]) -> list[str]:
    six = [address for address in addresses if ":" in address]
    four = [address for address in addresses if ":" not in address]
    paired = [address for pair in zip(six, four, strict=False) for address in pair]
    return paired + six[len(four) :] + four[len(six) :]
