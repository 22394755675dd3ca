"""Takes mail to its host: finds who takes it, connects, and keeps connections for the mail that comes next.

One courier serves one process (rspawn, or qmail-remote for a single mail). Nothing here counts deliveries: how many there are
at once, and to whom, is decided by the queue.
"""

import asyncio
import errno
import os
import random
import socket
import time
from collections.abc import Callable
from functools import partial

from quail.control.routes import LMTP, QMTP
from quail.delivery.remote import report
from quail.delivery.remote.connection import Connection, StaleError, UnfitError
from quail.delivery.remote.exchangers import NoTargetError, Search, Target
from quail.delivery.remote.lmtp_connection import LmtpConnection
from quail.delivery.remote.message import Mail, UnreadableError
from quail.delivery.remote.qmtp_connection import QmtpConnection
from quail.delivery.remote.report import ACCEPTED, SOFT, Result, together
from quail.delivery.remote.settings import Settings
from quail.delivery.remote.smtp_connection import SmtpConnection
from quail.net.resolver import Resolver
from quail.oserrors import words
from quail.smtp.client import sendable
from quail.storage.tcpto import Tcpto

HEAD_START = 0.25  # seconds that an IPv6 address has before IPv4 is tried beside it (RFC 8305 s5)
KEPT_FOR = 5.0  # seconds that an open connection waits for more mail
MAX_KEPT = 500
MAX_MAILS = 100  # on one connection
MAX_AGE = 300.0  # seconds of a connection that is used again
_ROUNDS = 5  # of control/timeoutconnect: after so long no further address is tried
_BUSY = 0.05  # seconds between tries of a Unix socket that has no room
_INTERFACES_EVERY = 10.0  # seconds between looks at this host's own addresses
_FULL = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)  # ip(7): the port is chosen at connect, for each peer anew


class Courier:
    """See the module; tick() is to be called about once a second."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: Settings,
        resolver: Resolver,
        tcpto: Tcpto,
        *,
        log: Callable[[str], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`settings` and `resolver` may be replaced at any time."""
        self.settings = settings
        self.resolver = resolver
        self._loop = loop
        self._tcpto = tcpto
        self._log = log
        self._now = now
        self._open: set[Connection] = set()
        self._kept: dict[tuple[str, int, str], list[Connection]] = {}
        self._kept_count = 0
        self._next_look = loop.time() + _INTERFACES_EVERY

    async def deliver(self, mail: Mail) -> Result:
        """One mail, to its end. An address that can't be sent, or not to every host, takes nothing away from the others."""
        if not sendable(mail.sender):
            return report.never(report.UNSENDABLE)
        kinds: dict[bool | None, list[int]] = {}
        for place, recipient in enumerate(mail.recipients):
            kinds.setdefault(recipient.isascii() if sendable(recipient) else None, []).append(place)
        if len(kinds) == 1 and None not in kinds:
            return await self._deliver(mail)
        results = []
        for kind, places in kinds.items():
            unsendable = report.never(report.UNSENDABLE)
            results.append((places, unsendable if kind is None else await self._deliver_part(mail, places)))
        return together(results)

    async def _deliver_part(self, mail: Mail, places: list[int]) -> Result:
        try:
            part = mail.to([mail.recipients[place] for place in places])
        except UnreadableError:
            return report.later(report.UNREADABLE)
        return await self._deliver(part)

    async def _deliver(self, mail: Mail) -> Result:
        settings = self.settings
        last_try = 0.0
        failure = itself = None
        others = False  # who may take the mail another time
        search = Search(self.resolver, mail.host, settings)
        try:
            while itself is None and (group := await search.next_group()) is not None:
                last_try = last_try or self._loop.time() + _ROUNDS * settings.connect_timeout
                kept = self._take(group)
                if kept is not None:
                    try:
                        return await self._send(kept, mail)
                    except StaleError:
                        pass
                left = [target for target in group if not self._is_slow(target)]
                others = others or len(left) < len(group)
                while left and self._loop.time() < last_try:
                    try:
                        connection = await self._connect(left, settings)
                        if connection is None:
                            others = True
                            continue
                        await connection.ready()
                    except UnfitError as unfit:
                        if unfit.result.message.letter == report.FAILED:
                            itself = unfit.result  # and so no group behind this one is better than we are
                        else:
                            failure = unfit.result
                        continue
                    try:
                        return await self._send(connection, mail)
                    except StaleError:  # closed by the host as soon as it had said that it was ready
                        failure = report.later(report.DIED % (connection.target.address.encode(), b""), host_down=True)
        except NoTargetError as error:
            return error.result
        except UnreadableError:
            return report.later(report.UNREADABLE)
        except OSError as error:
            self._log(f"warning: unable to make a socket: {error}")
            return report.later(report.NO_RESOURCES)
        if itself is not None and failure is None and not (others or search.trouble):
            return itself
        return failure or report.later(report.NO_CONNECTION, host_down=True)

    # Connections.

    def _is_slow(self, target: Target) -> bool:
        return not target.is_path and self._tcpto.is_slow(target.address, self._now(), random.getrandbits(5))

    async def _connect(self, left: list[Target], settings: Settings) -> Connection | None:
        """To the first that takes it; those that were tried are gone from `left`. OSError when there are no sockets."""
        first = left.pop(0)
        if first.is_path:
            return await self._dial_path(first, settings)
        if ":" not in first.address or not left or ":" in left[0].address:
            return await self._dial(first, settings)
        racers = {self._loop.create_task(self._dial(first, settings)): first}
        try:
            done, _ = await asyncio.wait(racers, timeout=HEAD_START)
            if not done:
                second = left.pop(0)
                racers[self._loop.create_task(self._dial(second, settings))] = second
            while racers:
                done, _ = await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
                for racer in done:
                    del racers[racer]
                connections = [connection for racer in done if (connection := racer.result()) is not None]
                for spare in connections[1:]:
                    spare.quit()
                if connections:  # who has lost may yet be needed
                    left[:0] = [*(spare.target for spare in connections[1:]), *racers.values()]
                    return connections[0]
            return None
        finally:
            for racer in racers:
                racer.add_done_callback(_let_go)
                racer.cancel()

    async def _dial(self, target: Target, settings: Settings) -> Connection | None:
        six = ":" in target.address
        family = socket.AF_INET6 if six else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        except OSError as error:
            if error.errno == errno.EAFNOSUPPORT:  # a kernel without IPv6
                return None
            raise
        try:
            source = settings.sources.get(6 if six else 4)
            if source is not None:
                sock.setsockopt(socket.IPPROTO_IP, _NO_PORT, 1)
                sock.bind((source, 0))
            async with asyncio.timeout(settings.connect_timeout):
                await self._loop.sock_connect(sock, (target.address, target.port))
            _, protocol = await self._loop.create_connection(partial(self._protocol, target, settings), sock=sock)
        except OSError as error:  # TimeoutError is one
            sock.close()
            if error.errno in _FULL:
                raise
            if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
                self._tcpto.timed_out(target.address, self._now())
            else:
                self._tcpto.answered(target.address)
            if error.errno == errno.EADDRNOTAVAIL and source is not None:
                self._log(f"warning: {source}, named in control/outgoingip, can't be used: {error.strerror}")
            return None
        except asyncio.CancelledError:
            sock.close()
            raise
        self._tcpto.answered(target.address)
        connection = protocol
        self._open.add(connection)
        return connection

    async def _dial_path(self, target: Target, settings: Settings) -> Connection:
        """UnfitError, with the reason, if there is nobody; OSError when there are no sockets."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        last_try = self._loop.time() + settings.connect_timeout
        try:
            while True:
                try:
                    sock.connect(target.address)
                    break
                except BlockingIOError:  # as many wait for it as can; nothing tells when that changes (connect(2))
                    if self._loop.time() >= last_try:
                        raise
                    await asyncio.sleep(_BUSY)
            _, protocol = await self._loop.create_unix_connection(partial(self._protocol, target, settings), sock=sock)
        except OSError as error:
            sock.close()
            if error.errno in _FULL:
                raise
            code = errno.errorcode.get(error.errno or 0, "unknown")
            text = report.NO_SOCKET % (os.fsencode(target.address), words(error).encode(), code.encode())
            raise UnfitError(report.later(text, host_down=True)) from error
        except asyncio.CancelledError:
            sock.close()
            raise
        self._open.add(protocol)
        return protocol

    def _protocol(self, target: Target, settings: Settings) -> Connection:
        if target.protocol == QMTP:
            return QmtpConnection(self._loop, target, settings.timeout, self._gone)
        kind = LmtpConnection if target.protocol == LMTP else SmtpConnection
        return kind(self._loop, target, settings.timeout, self._gone, settings.helo)

    def _take(self, group: list[Target]) -> Connection | None:
        """A connection that was kept and leads to one of the targets."""
        if not self._kept:
            return None
        for target in group:
            kept = self._kept.get(target.key)
            while kept:
                connection = kept.pop()
                self._kept_count -= 1
                if not kept:
                    del self._kept[target.key]
                if connection.reusable:
                    return connection
                connection.quit()
        return None

    def _keep(self, connection: Connection) -> None:
        fit = connection.reusable and connection.mails < MAX_MAILS and self._kept_count < MAX_KEPT
        if not fit or self._loop.time() - connection.born > MAX_AGE:
            connection.quit()
            return
        self._kept.setdefault(connection.target.key, []).append(connection)
        self._kept_count += 1

    def _gone(self, connection: Connection) -> None:
        """It is closed."""
        self._open.discard(connection)

    # Mail.

    async def _send(self, connection: Connection, mail: Mail) -> Result:
        """All of the mail over this connection. StaleError if the host has closed it before anything was sent."""
        try:
            result = await connection.deliver(mail)
            while self._send_rest(result, connection):
                again = [place for place, record in enumerate(result.recipients) if _is_one_too_many(record)]
                rest = mail.to([mail.recipients[place] for place in again])
                try:
                    more = await connection.deliver(rest)
                except StaleError:
                    break
                taken = more.message.letter == report.DELIVERED
                settled = False
                for place, record in zip(again, more.recipients, strict=False):
                    if record is not None and not _is_one_too_many(record) and (taken or record.letter != ACCEPTED):
                        result.recipients[place] = record
                        settled = True
                if not settled:  # a host that only ever says so would be asked for ever
                    break
        except BaseException:
            connection.abort()
            raise
        self._keep(connection)
        return result

    @staticmethod
    def _send_rest(result: Result, connection: Connection) -> bool:
        """Whether the host took some recipients and wants the others in a mail of their own (RFC 5321 s4.5.3.1.10)."""
        return (
            result.message.letter == report.DELIVERED
            and connection.reusable
            and any(map(_is_one_too_many, result.recipients))
        )

    # Time.

    def tick(self) -> None:
        """End what has lasted too long."""
        now = self._loop.time()
        for connection in list(self._open):
            connection.look(now)
        for key, kept in list(self._kept.items()):
            stay = [one for one in kept if one.reusable and now - one.last < KEPT_FOR]
            for connection in kept:
                if connection not in stay:
                    connection.quit()
            self._kept_count += len(stay) - len(kept)
            if stay:
                self._kept[key] = stay
            else:
                del self._kept[key]
        if now >= self._next_look:
            self._next_look = now + _INTERFACES_EVERY
            self.settings.look_at_interfaces()

    def close(self) -> None:
        """Say good-bye to every host."""
        for kept in self._kept.values():
            for connection in kept:
                connection.quit()
        self._kept.clear()
        self._kept_count = 0


def _is_one_too_many(record: report.Record | None) -> bool:
    return record is not None and record.letter == SOFT and record.code == report.TOO_MANY


def _let_go(racer: "asyncio.Task[Connection | None]") -> None:
    """A connection that came up after another had been taken."""
    if not racer.cancelled() and racer.exception() is None and (connection := racer.result()) is not None:
        connection.quit()
