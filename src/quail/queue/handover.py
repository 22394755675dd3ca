"""The local hand-over: how every program and service gives a message to the queue. docs/formats/handover.md.

One connection to run/queue.sock carries many messages, one after another: a frame with the envelope, frames with the body,
an empty frame to end it; the queue answers each with one frame, K and the message's number, Z and why it may be tried again,
or D and why not. Imported by programs that run once per message: keep it lean.
"""

import _socket as socket  # the public module takes as long to load as the interpreter itself
from collections.abc import Iterable

from quail.errors import PeerError

END = b"\0\0\0\0"
ABANDON = b"\xff\xff\xff\xff"
ABANDON_LENGTH = 0xFFFFFFFF
MAX_ADDRESS = 1002  # bytes; qmail-queue refuses longer ones with exit 11 (facts 4.1)
MAX_ENVELOPE = 8 << 20  # bytes; some eight thousand of the longest addresses, hundreds of thousands of usual ones
MAX_REPLY = 4096
CHUNK = 65536


class Envelope:
    """Where a message comes from and goes to; attributes are (name, value) pairs such as (b"smtputf8", b"")."""

    __slots__ = ("attributes", "recipients", "sender")

    def __init__(
        self, sender: bytes, recipients: list[bytes], attributes: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        """All three as they came: nothing is folded, deduplicated or completed."""
        self.sender = sender
        self.recipients = recipients
        self.attributes = attributes


def encode_envelope(
    sender: bytes, recipients: Iterable[bytes], attributes: Iterable[tuple[bytes, bytes]] = ()
) -> bytes:
    """The first frame of a message, with its length."""
    records = [b"A%b=%b" % pair for pair in attributes]
    records.append(b"F" + sender)
    records.extend(b"T" + recipient for recipient in recipients)
    payload = b"\0".join(records) + b"\0"
    return len(payload).to_bytes(4, "big") + payload


def decode_envelope(payload: bytes) -> Envelope:
    """What encode_envelope was given; PeerError for anything else."""
    records = payload.split(b"\0")
    if records.pop() != b"":
        raise PeerError("envelope does not end with NUL")
    sender: bytes | None = None
    recipients: list[bytes] = []
    attributes: list[tuple[bytes, bytes]] = []
    for record in records:
        letter = record[:1]
        if letter == b"T" and sender is not None:
            recipients.append(record[1:])
        elif letter == b"F" and sender is None:
            sender = record[1:]
        elif letter == b"A" and sender is None:
            name, equals, value = record[1:].partition(b"=")
            if not name or not equals:
                raise PeerError("envelope attribute without a name or value")
            attributes.append((name, value))
        else:
            raise PeerError("envelope record out of place")
    if sender is None:
        raise PeerError("envelope without a sender")
    return Envelope(sender, recipients, tuple(attributes))


class Reply:
    """The queue's answer: letter K, Z or D; text is the message's number for K, else why not (with its #x.y.z)."""

    __slots__ = ("letter", "text")

    def __init__(self, letter: bytes, text: bytes) -> None:
        """As on the wire."""
        self.letter = letter
        self.text = text


def decode_reply(payload: bytes) -> Reply:
    """Reply from a frame's payload."""
    if payload[:1] not in (b"K", b"Z", b"D"):
        raise PeerError("reply of the queue starts with none of K, Z, D")
    return Reply(payload[:1], payload[1:])


class Client:
    """A blocking connection to the queue, for programs and delivery workers. Not to be shared between threads."""

    def __init__(self, path: str = "run/queue.sock", *, timeout: float = 300.0) -> None:
        """Connects at the first send; `timeout` is in seconds for each step."""
        self._path = path
        self._timeout = timeout
        self._socket: socket.socket | None = None

    def send(
        self,
        sender: bytes,
        recipients: Iterable[bytes],
        chunks: Iterable[bytes],
        attributes: Iterable[tuple[bytes, bytes]] = (),
    ) -> Reply:
        """Hand over one message and wait for its reply. OSError when the queue can't be reached or goes away midway;
        then nothing is known to be queued. An exception out of `chunks` abandons the message and passes on.
        """
        envelope = encode_envelope(sender, recipients, attributes)
        fresh = self._socket is None
        try:
            return self._send_once(envelope, chunks)
        except _StaleConnectionError:
            if fresh:
                raise
        # The queue closed the kept connection before it took a byte of this message: once more on a new one.
        return self._send_once(envelope, chunks)

    def _send_once(self, envelope: bytes, chunks: Iterable[bytes]) -> Reply:
        connection = self._connected()
        try:
            try:
                connection.sendall(envelope, socket.MSG_NOSIGNAL)
            except (BrokenPipeError, ConnectionResetError) as error:
                raise _StaleConnectionError(*error.args) from error
            for chunk in chunks:
                for start in range(0, len(chunk), CHUNK):
                    piece = chunk[start : start + CHUNK]
                    connection.sendall(len(piece).to_bytes(4, "big") + piece, socket.MSG_NOSIGNAL)
            connection.sendall(END, socket.MSG_NOSIGNAL)
            return self._reply(connection)
        except BaseException:
            self.close()
            raise

    def _connected(self) -> socket.socket:
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            try:
                connection.settimeout(self._timeout)
                connection.connect(self._path)
            except BaseException:
                connection.close()
                raise
            self._socket = connection
        return self._socket

    @staticmethod
    def _reply(connection: socket.socket) -> Reply:
        size = int.from_bytes(_read_exactly(connection, 4), "big")
        if size > MAX_REPLY:
            raise PeerError(f"reply of {size} bytes from the queue")
        return decode_reply(_read_exactly(connection, size))

    def close(self) -> None:
        """Drop the connection; a message that was not answered is not known to be queued."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _StaleConnectionError(ConnectionError):
    """The kept connection was closed by the queue before this message began."""


def _read_exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionResetError("the queue closed the connection before it answered")
        data += piece
    return data
