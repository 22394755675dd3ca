"""run/control.sock: what an operator asks of the queue, as JSON objects in frames. Only root and the queue's own uid may.

A request is {"do": verb, ...}; the answer is one or more frames, each an object, the last one with "end": true. Verbs: list
(page by page: "after", "count"), show ("number"), hold, release, retry, remove ("numbers" or "all": true), status.
"""

import asyncio
import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, cast

from quail.errors import PeerError, QuailError
from quail.net.frames import Splitter, frame
from quail.queue import records
from quail.queue.store import Entry

if TYPE_CHECKING:
    from quail.services.queue.service import QueueService

_CREDENTIALS = struct.Struct("3i")
_MAX_REQUEST = 4 << 20
_PAGE = 500  # messages
_PAGE_RECIPIENTS = 10_000  # with which a page ends: anybody may queue messages that have as many as a message can


class Operator(asyncio.Protocol):
    """One connection."""

    def __init__(self, service: "QueueService") -> None:
        """Made for each accepted connection."""
        self._service = service
        self._splitter = Splitter(_MAX_REQUEST)
        self._transport: asyncio.Transport | None = None
        self._allowed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Root and ourselves only."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("socket")
        _, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        self._allowed = uid in (0, os.geteuid())
        if not self._allowed:
            self._answer({"error": "only root and the queue's own account may ask this", "end": True})
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is kept for it."""
        del exc
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Requests are answered one after another."""
        if not self._allowed:
            return
        try:
            for payload in self._splitter.feed(data):
                request = json.loads(payload)
                if not isinstance(request, dict):
                    raise PeerError("request is not an object")
                self._answer(self._do(request) | {"end": True})
        except (PeerError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            self._answer({"error": f"request makes no sense: {error}", "end": True})
            if self._transport is not None:
                self._transport.close()
        except (QuailError, OSError) as error:
            self._answer({"error": str(error), "end": True})

    def _answer(self, answer: dict[str, Any]) -> None:
        if self._transport is not None:
            self._transport.write(frame(json.dumps(answer).encode()))

    def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        verb = request.get("do")
        if verb == "list":
            return self._list(int(request.get("after", 0)), min(_PAGE, int(request.get("count", _PAGE))))
        if verb == "show":
            return {"message": self._describe(int(request["number"]), failures=True)}
        if verb == "status":
            return self._service.statistics()
        if verb in ("hold", "release", "retry", "remove"):
            return self._change(str(verb), request)
        raise PeerError(f"unknown request {verb!r}")

    def _list(self, after: int, count: int) -> dict[str, Any]:
        numbers = self._service.store.state.after(after, count)
        messages: list[dict[str, Any]] = []
        recipients = 0
        for number in numbers:
            if recipients >= _PAGE_RECIPIENTS:
                break
            messages.append(self._describe(number))
            recipients += len(messages[-1].get("recipients", ()))
        return {"messages": messages, "more": len(numbers) == count or len(messages) < len(numbers)}

    def _describe(self, number: int, *, failures: bool = False) -> dict[str, Any]:
        service = self._service
        try:
            stored = service.store.read(number, body=False)
        except KeyError:
            raise QuailError(f"message {number} is not in the queue") from None
        except (OSError, QuailError) as error:
            return {"number": number, "trouble": str(error)}
        state = service.store.state
        left = state.left(number, stored.accepted.recipients)
        recipients = []
        for recipient, address in stored.accepted.recipients.items():
            channel, rewritten = service.dispatcher.rules.routes.route(address)
            recipients.append({
                "channel": channel.decode(),
                "address": _text(rewritten),
                "done": recipient not in left,
            })  # fmt: skip
        local, remote = state.retry(number)
        described = {
            "number": number,
            "sender": _text(stored.accepted.sender),
            "bytes": stored.size,
            "time": stored.time / 1e6,
            "uid": stored.accepted.uid,
            "recipients": recipients,
            "held": number in state.held,
            "bouncing": number in state.failures,
            "next_local": local,
            "next_remote": remote,
        }
        if failures:
            described["failures"] = [
                {"address": _text(stored.accepted.recipients.get(recipient, b"?")), "report": _text(report)}
                for recipient, report in service.store.failures(number)
            ]
        return described

    def _change(self, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        service = self._service
        state = service.store.state
        if verb == "retry" and request.get("all"):
            service.retry_all()
            return {"changed": len(state), "missing": []}
        numbers = list(state) if request.get("all") else [int(number) for number in request.get("numbers", [])]
        missing = [number for number in numbers if number not in state]
        now = int(service.now() * 1e6)
        changed = 0
        for number in numbers:
            if number not in state:
                continue
            changed += 1
            if verb == "hold":
                # From this moment on no delivery starts, and it stays so over a restart.
                state.held.add(number)
                service.writer.submit(Entry(records.HELD, number, now))
            elif verb == "release":
                service.writer.submit(Entry(records.RELEASED, number, now))
            elif verb == "retry":
                service.dispatcher.release(number)
            else:
                service.dispatcher.remove(number)
        service.dispatcher.dispatch()
        return {"changed": changed, "missing": missing}


def _text(data: bytes) -> str:
    """Foreign bytes in JSON: what is not UTF-8 keeps its value as backslash, x and two hexadecimal digits."""
    return data.decode("utf-8", "backslashreplace")
