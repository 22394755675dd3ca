"""Frames on our own Unix sockets: a length (32 bits, big-endian) and that many bytes. docs/formats/local-sockets.md."""

from quail.errors import PeerError

LENGTH_BYTES = 4


def frame(payload: bytes) -> bytes:
    """The payload behind its length."""
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


class Splitter:
    """Cuts what arrives on a stream into frames; keeps an unfinished one, never more than `limit` + 4 bytes of it."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int) -> None:
        """A frame that announces more than `limit` bytes is the peer's error."""
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """All frames that are complete with these bytes."""
        buffer = self._buffer
        buffer += data
        frames = []
        start, end = 0, len(buffer)
        while end - start >= LENGTH_BYTES:
            size = int.from_bytes(buffer[start : start + LENGTH_BYTES], "big")
            if size > self._limit:
                raise PeerError(f"frame of {size} bytes announced, {self._limit} allowed")
            stop = start + LENGTH_BYTES + size
            if stop > end:
                break
            frames.append(bytes(buffer[start + LENGTH_BYTES : stop]))
            start = stop
        if start:
            del buffer[:start]
        return frames
