"""The local hand-over: how every program and service gives a message to the queue. docs/formats/handover.md.

One connection to run/queue.sock carries many messages, one after another: a frame with the envelope, frames with the body,
an empty frame to end it; or an empty frame first, and the envelope behind it all. The queue answers each with one frame, K and
the message's number, Z and why it may be tried again, or D and why not. Imported by programs that run once per message: keep
it lean.
"""

import _socket as socket  # the public module takes as long to load as the interpreter itself
import os
from _collections_abc import Callable, Iterable

from quail.errors import PeerError

END = b"\0\0\0\0"
BODY_FIRST = END  # before the body; the envelope then comes behind its END
ABANDON = b"\xff\xff\xff\xff"
ABANDON_LENGTH = 0xFFFFFFFF
MAX_ADDRESS = 1002  # bytes; qmail-queue refuses longer ones with exit 11 (facts 4.1)
MAX_ENVELOPE = 8 << 20  # bytes; some eight thousand of the longest addresses, hundreds of thousands of usual ones
MAX_REPLY = 4096
CHUNK = 65536
MAX_UNANSWERED = 64  # messages that a client has submitted; the queue takes more, and their replies fit any buffer
_MAX_SOCKET_PATH = 107  # bytes; unix(7)
_GONE = "the queue closed the connection before it answered"
MAX_RECIPIENTS = 100_000  # of one message: each costs memory as long as the message is at work
MAX_ATTRIBUTES = 16  # likewise


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


class TooManyRecipientsError(PeerError):
    """No message may have so many."""


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
    """What encode_envelope was given; TooManyRecipientsError, or PeerError for anything else."""
    if payload.count(b"\0T") > MAX_RECIPIENTS:
        raise TooManyRecipientsError(f"envelope with more than {MAX_RECIPIENTS} recipients")
    if payload.count(b"\0") > MAX_RECIPIENTS + MAX_ATTRIBUTES + 1:
        raise PeerError("envelope with too many records")
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
            if len(attributes) == MAX_ATTRIBUTES:
                raise PeerError(f"envelope with more than {MAX_ATTRIBUTES} attributes")
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
        """Connects at the first message; `timeout` is in seconds for each step."""
        self._path = path
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._arrived = b""
        self._unanswered = 0  # messages on this connection
        self._lost = 0  # messages before them, whose connection has ended

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
        self.submit(sender, recipients, chunks, attributes)
        return self.reply()

    def submit(
        self,
        sender: bytes,
        recipients: Iterable[bytes],
        chunks: Iterable[bytes],
        attributes: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """Hand over one message as send() does, and leave its reply for later. Replies come in the order of the messages, and
        each is to be asked for with one reply(), unless its submit() has raised. When the connection has ended nothing is
        submitted until every lost reply has been asked for.
        """
        self._submit(encode_envelope(sender, recipients, attributes), chunks, lambda: END)

    def send_body_first(self, chunks: Iterable[bytes], envelope: Callable[[], tuple[bytes, list[bytes]]]) -> Reply:
        """As send(), for whoever hears of sender and recipients behind the message: `envelope` is asked for them then. An
        exception out of it is one out of `chunks`.
        """

        def end() -> bytes:
            return END + encode_envelope(*envelope())

        self._submit(BODY_FIRST, chunks, end)
        return self.reply()

    def _submit(self, beginning: bytes, chunks: Iterable[bytes], end: Callable[[], bytes]) -> None:
        assert self._unanswered < MAX_UNANSWERED
        if self._lost:
            raise ConnectionResetError(_GONE)
        waiting = bytearray(beginning)
        is_begun = False
        source = iter(chunks)
        while (chunk := self._next(lambda: next(source, None), is_begun=is_begun)) is not None:
            for start in range(0, len(chunk), CHUNK):
                piece = chunk[start : start + CHUNK]
                waiting += len(piece).to_bytes(4, "big") + piece
                if len(waiting) >= CHUNK:
                    self._write(waiting, is_begun=is_begun)
                    is_begun = True
                    waiting.clear()
        ending = self._next(end, is_begun=is_begun)
        assert ending is not None
        waiting += ending
        self._write(waiting, is_begun=is_begun)
        self._unanswered += 1

    def reply(self) -> Reply:
        """The reply to the earliest message without one; OSError or PeerError if there will be none."""
        if self._lost:
            self._lost -= 1
            raise ConnectionResetError(_GONE)
        try:
            size = int.from_bytes(self._read(4), "big")
            if size > MAX_REPLY:
                raise PeerError(f"reply of {size} bytes from the queue")
            reply = decode_reply(self._read(size))
        except BaseException:
            self._lose()
            self._lost -= 1  # which this call has told of
            raise
        self._unanswered -= 1
        return reply

    @property
    def has_reply(self) -> bool:
        """Whether reply() would not wait."""
        arrived = self._arrived
        return self._lost > 0 or (len(arrived) >= 4 and len(arrived) - 4 >= int.from_bytes(arrived[:4], "big"))

    def _connected(self) -> socket.socket:
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            try:
                connection.settimeout(self._timeout)
                _connect(connection, self._path)
            except BaseException:
                connection.close()
                raise
            self._socket = connection
        return self._socket

    def _next(self, source: Callable[[], bytes | None], *, is_begun: bool) -> bytes | None:
        try:
            return source()
        except BaseException:
            if is_begun and not self._unanswered:
                self._lose()
            elif is_begun:
                try:
                    self._write(ABANDON, is_begun=True)  # the others must have their replies
                except OSError:
                    pass  # lost, which they will hear
            raise

    def _write(self, data: bytes | bytearray, *, is_begun: bool) -> None:
        """The beginning of a message, or more of it. When the queue has closed the connection since its last message the
        beginning goes over a new one.
        """
        is_kept = self._socket is not None and not (is_begun or self._unanswered)
        try:
            self._connected().sendall(data, socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            self._lose()
            if not is_kept:
                raise
            self._write(data, is_begun=False)
        except BaseException:
            self._lose()
            raise

    def _read(self, size: int) -> bytes:
        while len(self._arrived) < size:
            if self._socket is None:
                raise ConnectionResetError(_GONE)
            piece = self._socket.recv(CHUNK)
            if not piece:
                raise ConnectionResetError(_GONE)
            self._arrived += piece
        data, self._arrived = self._arrived[:size], self._arrived[size:]
        return data

    def _lose(self) -> None:
        """Give the connection up; its messages have no reply any more."""
        lost = self._lost + self._unanswered
        self.close()
        self._lost = lost

    def close(self) -> None:
        """Drop the connection; a message that was not answered is not known to be queued."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._arrived = b""
        self._unanswered = self._lost = 0


def _connect(connection: socket.socket, path: str) -> None:
    """Also to a path that is too long for the name of a socket."""
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        connection.connect(path)
        return
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    finally:
        os.close(folder)
