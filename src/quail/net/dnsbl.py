"""Asking lists of the DNS, one after another, for a program that waits for each. Loads an event loop and the DNS library."""

import asyncio
import os

from quail.errors import TemporaryError
from quail.net.lookup import cache_servers
from quail.net.resolver import NoSuchHost, Resolver

_PATIENCE = 60.0  # seconds for each, as long as the original waits for one server


class Lists:
    """Questions of names in lists, to the servers of $DNSCACHEIP, or else of resolv.conf. No error is left to be seen but
    TemporaryError: it can't be told.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        servers = cache_servers(os.environb.get(b"DNSCACHEIP", b""))
        self._resolver = Resolver(nameservers=servers or None, patience=_PATIENCE)

    def texts(self, name: bytes) -> bytes:
        """The texts of a name, put together."""
        return self._runner.run(self._texts(name))

    def has_address(self, name: bytes) -> bool:
        """Whether a name has an IPv4 address."""
        return self._runner.run(self._has_address(name))

    def close(self) -> None:
        """Nothing is asked any more."""
        self._resolver.close()
        self._runner.close()

    async def _texts(self, name: bytes) -> bytes:
        try:
            return b"".join(await self._resolver.txt(name))
        except NoSuchHost:
            return b""
        except OSError as error:
            raise TemporaryError(str(error)) from error

    async def _has_address(self, name: bytes) -> bool:
        try:
            return bool(await self._resolver.addresses(name, want_ipv6=False))
        except NoSuchHost:
            return False
        except OSError as error:
            raise TemporaryError(str(error)) from error
