"""One POP3 connection before its log-in: the protocol machine between the client and authd.

Who is accepted leaves: a process of the user has the connection then, and this one lets it go without a word. So it does
when it does not hear from authd what has become of a connection that it had sent there: it never shares one.
"""

import asyncio
from typing import TYPE_CHECKING

from quail.message.logtext import safe
from quail.net.authd_protocol import ACCEPTED, REFUSED, Request
from quail.policy.logins import BUSY
from quail.pop3 import login
from quail.pop3.login import AUTHENTICATE, CLOSE, Login
from quail.services.inbound.session import Session
from quail.services.popd.authd_client import NO_WORD
from quail.users.check import APOP, PLAIN

if TYPE_CHECKING:
    from quail.services.popd.service import Popd

LEAST = 1.0  # seconds that a wrong password takes: it does not tell whether there is such a user, nor how busy the machine is
HELD = 0.25  # seconds until an attempt that others are in the way of is looked at again
LONGEST_HELD = 30.0  # seconds that it may be put off


class PopConnection(Session["Popd", Login]):
    """A client that has not logged in."""

    __slots__ = ("_delay",)

    HIGH_WATER = 64 << 10

    def __init__(self, service: "Popd") -> None:
        """Made for each accepted connection."""
        super().__init__(service)
        self._delay: asyncio.TimerHandle | None = None

    def _admit(self, name: bytes | None) -> Login | bytes:
        machine = self._service.admit(self._peer, name)
        if not isinstance(machine, bytes):
            machine.start()
        return machine

    def _may_hear(self) -> bool:
        return self._machine is None or not self._machine.waiting

    def _forget(self) -> None:
        if self._delay is not None:
            self._delay.cancel()

    def _work(self) -> None:
        machine, transport = self._machine, self._transport
        if machine is None or transport is None:
            return
        event = machine.next_event()
        output = machine.take_output()
        if output:
            transport.write(output)
        if event is None:
            return
        if event[0] is CLOSE:
            self._end_session()
        elif event[0] is AUTHENTICATE:
            self._authenticate(*event[1:])

    def _authenticate(self, user: bytes, secret: bytes, challenge: bytes | None, since: float | None = None) -> None:
        """Have the password judged, unless that is refused; `since` when it has been put off."""
        service, machine, transport = self._service, self._machine, self._transport
        assert machine is not None
        assert transport is not None
        now = service.loop.time()
        self._pause()  # what comes now is for the process of the user
        if transport.get_write_buffer_size():  # the client does not read, and replies would come out of order
            self.close()
            return
        seconds = service.guard.begin(self._peer, user, now, secret)
        if seconds == BUSY:
            since = now if since is None else since
            if now - since < LONGEST_HELD and not service.stopping:
                self._delay = service.loop.call_later(HELD, self._authenticate, user, secret, challenge, since)
                return
            self._log(user, "put off: too many attempts are being judged")
            self._tell(login.TROUBLE, b"")
            return
        if seconds > 0:
            self._log(user, f"refused unseen: too many wrong passwords, for {seconds:.0f} seconds more")
            self._tell(login.TROUBLE, b"too many wrong passwords, try again later")
            return
        rest = machine.rest()
        request = Request(
            0,
            PLAIN if challenge is None else APOP,
            service=b"pop3",
            user=user,
            secret=secret,
            challenge=challenge or b"",
            peer=self._peer.encode(),
            rest=rest,
        )
        connection = transport.get_extra_info("socket").fileno()
        service.authd.ask(request, connection, lambda letter, text: self._judged(letter, text, request, now))

    def _judged(self, letter: bytes, text: bytes, request: Request, asked: float) -> None:
        """The verdict. A failure is answered when its time has come."""
        service, machine = self._service, self._machine
        user, rest = request.user, request.rest
        now = service.loop.time()
        if letter not in (ACCEPTED, REFUSED):
            service.guard.undecided(self._peer, user)
        if letter == ACCEPTED:
            service.guard.succeeded(self._peer, user, now)
            self._log(user, "ok")
            self.close()
            return
        if letter == NO_WORD:
            self._log(user, "no word from authd, connection dropped")
            self.close()  # it may be somebody else's: a reply would come in between, and both would read
            return
        wait = 0.0
        if letter == REFUSED:
            wait = max(0.0, asked + LEAST - now) + service.guard.failed(self._peer, user, request.secret, now)
            self._log(user, "failed")
        else:
            self._log(user, "can't be judged now")
        if machine is None:  # the client has gone
            return
        machine.receive(rest) if rest else None
        outcome = login.REFUSED if letter == REFUSED else login.TROUBLE
        self._delay = service.loop.call_later(wait, self._tell, outcome, text)

    def _tell(self, outcome: int, text: bytes) -> None:
        self._delay = None
        if self._machine is not None:
            self._machine.verdict(outcome, text)
            self._go_on()

    def _log(self, user: bytes, how: str) -> None:
        self._service.log(f"{self._peer} log-in of {safe(user)}: {how}")
