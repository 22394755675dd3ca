"""Names and addresses for programs that wait for them: the resolver, driven to the end of one question.

This loads an event loop and the DNS library, so it is imported only where something is to be looked up. The servers are those
of $DNSCACHEIP, IP addresses with dots or blanks between them, or else of resolv.conf.
"""

import asyncio
import os
import socket
from collections.abc import Coroutine
from ipaddress import ip_address
from typing import Any, TypeVar, cast

import dns.name

from quail.control.nameservers import DNS_PORT, Server, is_address
from quail.errors import QuailError, TemporaryError
from quail.net import qualify
from quail.net.resolver import NoSuchHost, Resolver
from quail.net.resolver_query import PTR
from quail.net.ucspi import four, name_text

__all__ = ["addresses", "cache_servers", "candidates", "first_name", "name_of"]

_PATIENCE = 60.0  # seconds for the name of an address and the way back, as long as the originals wait for one server
_T = TypeVar("_T")


class _Names(Resolver):
    """A resolver that tells what a reverse look-up says, confirmed or not."""

    async def first_name(self, ip: str) -> bytes | None:
        """The first name of an address, as the DNS has it."""
        outcome = await self._outcome(ip_address(ip).reverse_pointer.encode(), PTR)
        if isinstance(outcome, QuailError):
            raise outcome
        return cast(bytes, outcome[0]) if outcome else None


def candidates(host: bytes) -> list[bytes]:
    """What a name may be short for, in the order in which it is to be looked up. TemporaryError."""
    return qualify.candidates(host, qualify.rules(os.environb, os.fsencode(socket.gethostname())))


def addresses(host: bytes, *, want_ipv6: bool = True) -> list[str]:
    """The addresses of a host, after qualification; none if there are none. An address is its own. TemporaryError."""
    literal = _literal(host)
    if literal is not None:
        return [literal]
    for name in candidates(host):
        literal = _literal(name)
        if literal is not None:
            return [literal]
        try:
            found = _run(_resolver().addresses(name, want_ipv6=want_ipv6))
        except NoSuchHost:
            continue
        if found:
            return found
    return []


def first_name(ip: str) -> bytes | None:
    """What a reverse look-up says the name of an address is, confirmed or not, in the form of name_of; None if there is none.

    TemporaryError if it can't be told now.
    """
    try:
        return _text(_run(_resolver().first_name(four(ip))))
    except (NoSuchHost, ValueError):
        return None


def name_of(ip: str, *, confirmed: bool = False) -> bytes | None:
    """The name of an address, lower case, unusual bytes as backslash and octal digits; None if there is none or it can't be
    told. `confirmed`: only one that has the address in its turn.
    """
    try:
        if not confirmed:
            return first_name(ip)
        return _text(_run(_resolver().name_of(four(ip), patience=_PATIENCE)))
    except (QuailError, ValueError):
        return None


def _text(name: bytes | None) -> bytes | None:
    return None if not name else name_text(dns.name.from_text(name.decode()).labels[:-1])


def cache_servers(text: bytes) -> list[Server]:
    """What $DNSCACHEIP says, as far as it can be read."""
    found: list[str] = []
    for word in text.decode("ascii", "replace").replace(",", " ").split():
        if is_address(word):
            found.append(word)
        else:
            numbers = word.split(".")
            groups = (".".join(numbers[at : at + 4]) for at in range(0, len(numbers), 4))
            found += [group for group in groups if is_address(group)]
    return [(address, DNS_PORT) for address in found]


def _literal(host: bytes) -> str | None:
    text = host.decode("ascii", "replace")
    bare = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    return bare if is_address(bare) else None


def _resolver() -> _Names:
    return _Names(nameservers=cache_servers(os.environb.get(b"DNSCACHEIP", b"")) or None)


def _run(question: Coroutine[Any, Any, _T]) -> _T:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(question)
    except OSError as error:
        raise TemporaryError(str(error)) from error
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()
