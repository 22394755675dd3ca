"""A resolver on a loop, with a clock that a test turns, beside a DNS server of the test's own."""

import asyncio

import uvloop
from tests.remote.dnsserver import DnsServer

from quail.net.resolver import Resolver

QUICK = 0.05  # seconds of a first try, where it is to fail
MOST = 1232  # bytes of the largest answer over UDP


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Desk:
    """One loop, one clock, one DNS server `dns`, resolvers that are closed at the end."""

    def __init__(self):
        self.loop = uvloop.new_event_loop()
        self.clock = Clock()
        self.dns = DnsServer().start()
        self.servers = [self.dns]
        self.resolver = Resolver(nameservers=[self.dns.place], clock=self.clock)

    def server(self, *records, **options):
        """Another DNS server."""
        self.servers.append(DnsServer(*records, **options).start())
        return self.servers[-1]

    def use(self, *servers, **options):
        """Another resolver."""
        places = [server.place for server in servers] or [self.dns.place]
        self.resolver = Resolver(**{"nameservers": places, "clock": self.clock} | options)

    def run(self, *coroutines):
        """Their results; an exception is one of them."""

        async def together():
            return await asyncio.gather(*coroutines, return_exceptions=True)

        return self.loop.run_until_complete(together())

    def one(self, coroutine):
        (result,) = self.run(coroutine)
        if isinstance(result, BaseException):
            raise result
        return result

    def mx(self, host):
        return self.one(self.resolver.mx(host))

    def a(self, host):
        return self.one(self.resolver.addresses(host, want_ipv6=False))

    def both(self, host):
        return self.one(self.resolver.addresses(host, want_ipv6=True))

    def txt(self, name):
        return self.one(self.resolver.txt(name))

    def name_of(self, ip, **options):
        return self.one(self.resolver.name_of(ip, **options))

    def close(self):
        self.resolver.close()
        self.loop.run_until_complete(asyncio.sleep(0))
        for server in self.servers:
            server.close()
        self.loop.close()
