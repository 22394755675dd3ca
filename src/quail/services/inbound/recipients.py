"""Asking the users service whether a recipient exists. Yes is remembered for two seconds: in a burst most ask the same.

No is never remembered: a user who has just been added must not be refused.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from quail.errors import PeerError
from quail.net.frames import Splitter
from quail.net.unix_stream import connect
from quail.net.users_protocol import IS_KNOWN, KNOWN, MAX_REPLY, TROUBLE, decode, encode

KEPT_FOR = 2.0  # seconds
MAX_KEPT = 10_000
PATIENCE = 10.0  # seconds

Answered = Callable[[bytes, bytes], None]
"""Gets a letter of users_protocol (KNOWN, UNKNOWN, TROUBLE) and its text."""


class Recipients(asyncio.Protocol):
    """One connection to run/users.sock, made again when it is lost."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str) -> None:
        """Connects at the first question."""
        self._loop = loop
        self._path = path
        self._transport: asyncio.Transport | None = None
        self._splitter = Splitter(MAX_REPLY)
        self._known: dict[bytes, float] = {}
        self._asked: dict[int, tuple[bytes, float, Answered]] = {}
        self._last_tag = 0
        self._connecting: asyncio.Task[None] | None = None
        self._connection = 0

    def is_known(self, address: bytes) -> bool:
        """Whether a yes is remembered."""
        until = self._known.get(address)
        return until is not None and until > self._loop.time()

    def ask(self, address: bytes, answered: Answered) -> None:
        """`answered` is called once, later."""
        self._last_tag = (self._last_tag + 1) & 0xFFFFFFFF
        self._asked[self._last_tag] = (address, self._loop.time() + PATIENCE, answered)
        if self._transport is not None:
            self._transport.write(encode(self._last_tag, IS_KNOWN, address))
        elif self._connecting is None:
            self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        sock = None
        try:
            sock = connect(self._path)
            await self._loop.create_unix_connection(lambda: self, sock=sock)
        except OSError:  # users is down, or there are no more descriptors: sweep() tries again
            if sock is not None:
                sock.close()
        finally:
            self._connecting = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask all that is open; again, if it was asked on a connection that is lost."""
        self._transport = cast(asyncio.Transport, transport)
        self._splitter = Splitter(MAX_REPLY)
        questions = [encode(tag, IS_KNOWN, address) for tag, (address, _, _) in self._asked.items()]
        self._transport.write(b"".join(questions))

    def connection_lost(self, exc: Exception | None) -> None:
        """The service was restarted; sweep() connects again."""
        del exc
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answers, in any order."""
        try:
            for payload in self._splitter.feed(data):
                message = decode(payload)
                self._answer(message.tag, message.letter, message.payload)
        except PeerError:
            if self._transport is not None:
                self._transport.close()

    def _answer(self, tag: int, letter: bytes, text: bytes) -> None:
        question = self._asked.pop(tag, None)
        if question is None:
            return
        address, _, answered = question
        if letter == KNOWN:
            if len(self._known) >= MAX_KEPT:
                self._known.clear()
            self._known[address] = self._loop.time() + KEPT_FOR
        answered(letter, text)

    def sweep(self) -> None:
        """Now and again: give up what has waited too long, connect if need be."""
        now = self._loop.time()
        late = [tag for tag, (_, deadline, _) in self._asked.items() if deadline <= now]
        for tag in late:
            self._answer(tag, TROUBLE, b"no answer from the users service")
        if self._asked and self._transport is None and self._connecting is None:
            self._connecting = self._loop.create_task(self._connect())

    def close(self) -> None:
        """At the end."""
        if self._transport is not None:
            self._transport.close()
