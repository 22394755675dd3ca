"""Asking the queue service as an operator: run/control.sock. docs/formats/local-sockets.md."""

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

from quail.errors import PeerError, PermanentError, TemporaryError
from quail.net.frames import Splitter, frame

_MAX_ANSWER = 256 << 20
_TIMEOUT = 120.0
_PAGE = 500


class OperatorClient:
    """A connection to the queue service of a home."""

    def __init__(self, home: str) -> None:
        """TemporaryError when the service is not running; PermanentError when it does not listen to us."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(_TIMEOUT)
        self._splitter = Splitter(_MAX_ANSWER)
        path = f"{home}/run/control.sock"
        try:
            # The address of a socket has at most 107 bytes, the path of a home may have more.
            folder = os.open(f"{home}/run", os.O_PATH | os.O_CLOEXEC)
            try:
                self._socket.connect(f"/proc/self/fd/{folder}/control.sock")
            finally:
                os.close(folder)
        except PermissionError as error:
            self._socket.close()
            raise PermanentError(f"{path}: only root and the owner of the home may ask the queue") from error
        except OSError as error:
            self._socket.close()
            raise TemporaryError(
                f"the queue service of {home} does not run ({error.strerror or error}): start it with quail serve"
            ) from error

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request, one answer; PermanentError with what the service found wrong."""
        try:
            self._socket.sendall(frame(json.dumps(request).encode()))
            while True:
                data = self._socket.recv(1 << 16)
                if not data:
                    raise TemporaryError("the queue service closed the connection without an answer")
                for payload in self._splitter.feed(data):
                    answer = json.loads(payload)
                    if "error" in answer:
                        raise PermanentError(answer["error"])
                    return dict(answer)
        except (OSError, ValueError, PeerError) as error:
            raise TemporaryError(f"no answer from the queue service: {error}") from error

    def messages(self) -> Iterator[dict[str, Any]]:
        """Every message in the queue, oldest first, a page at a time."""
        after, more = 0, True
        while more:
            answer = self.ask({"do": "list", "after": after, "count": _PAGE})
            for message in answer["messages"]:
                after = message["number"]
                yield message
            more = answer["more"]

    def close(self) -> None:
        """Let go."""
        self._socket.close()
