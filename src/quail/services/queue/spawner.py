"""A qmail-lspawn or qmail-rspawn that somebody else has started, in the place of our delivery service: what qmail-send(8) has
on its descriptors 1 to 4 (facts 4.6).

Such a daemon finds messages by their names below queue/mess. So each that is being delivered has a copy there, in a folder of
its own among the large bodies of the journal, as long as that takes. Copies are not durable: the journal is.
"""

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable

from quail.net.spawn_protocol import Reports, encode_command
from quail.queue.active import Active
from quail.queue.group import Delivery, Group
from quail.storage.folders import make_folder

FOLDER = "0"  # no message has this number, so it is no body's name
_MODES = 0o710, 0o640  # of the folder and its files: to be read by qmailr, whose group is ours
_CHUNK = 1 << 16


class Copies:
    """Messages as files, named FOLDER/NUMBER. Those of an earlier life are removed first. OSError."""

    __slots__ = ("_folder", "_uses")

    def __init__(self, messages: str) -> None:
        """`messages` is queue/mess."""
        self._folder = f"{messages}/{FOLDER}"
        self._uses: dict[int, int] = {}
        make_folder(self._folder)
        os.chmod(self._folder, _MODES[0])
        for name in os.listdir(self._folder):
            os.unlink(f"{self._folder}/{name}")

    def take(self, message: Active) -> bytes:
        """The name of a message that has its body; release() it once for each time. OSError."""
        number = message.number
        uses = self._uses.get(number, 0)
        if not uses:
            self._write(message)
        self._uses[number] = uses + 1
        return b"%b/%d" % (FOLDER.encode(), number)

    def release(self, number: int) -> None:
        """One use less."""
        self._uses[number] -= 1
        if not self._uses[number]:
            del self._uses[number]
            try:
                os.unlink(f"{self._folder}/{number}")
            except OSError:
                pass  # the next life's

    def _write(self, message: Active) -> None:
        path = f"{self._folder}/{message.number}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, _MODES[1])
        try:
            os.fchmod(fd, _MODES[1])
            if message.fd >= 0:
                done = 0
                while done < message.size:
                    sent = os.sendfile(fd, message.fd, done, message.size - done)
                    if not sent:
                        raise OSError(errno.EIO, "it has been cut short")
                    done += sent
            else:
                view = memoryview(message.body or b"")
                while view:
                    view = view[os.write(fd, view) :]
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(fd)


class Pipes:
    """Where a spawn daemon is reached: descriptors for commands and for reports, and how many deliveries it has said to take at
    a time.
    """

    __slots__ = ("commands", "limit", "reports")

    def __init__(self, commands: int, reports: int, limit: int) -> None:
        """Its first byte, the limit, has been read."""
        self.commands = commands
        self.reports = reports
        self.limit = limit


class Spawner:
    """As a Link, of one life: `lost` is called once, when the daemon is gone, and nothing starts after that."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pipes: Pipes,
        copies: Copies,
        *,
        report: Callable[[int, bytes, bytes, bool], None],
        lost: Callable[[], None],
        ready: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        """Call connect() once. Groups must be of one recipient, and no more of them under way than the daemon takes."""
        self._loop = loop
        self._pipes = pipes
        self._copies = copies
        self._report = report
        self._lost = lost
        self._ready = ready
        self._log = log
        self._free = deque(range(pipes.limit))
        self._running: dict[int, Delivery] = {}  # by their numbers there
        self._reports = Reports()
        self._out = bytearray()
        self._gone = False

    def connect(self) -> None:
        """Begin to listen."""
        os.set_blocking(self._pipes.commands, False)
        os.set_blocking(self._pipes.reports, False)
        self._loop.add_reader(self._pipes.reports, self._read)
        self._ready()

    def start(self, group: Group) -> bool:
        """Give a command; False when that can't be done now."""
        if self._gone or not self._free:
            return False
        (delivery,) = group.deliveries
        try:
            path = self._copies.take(group.message)
        except OSError as error:
            self._log(f"warning: unable to write message {group.message.number} for its delivery: {error}")
            return False
        number = self._free.popleft()
        self._running[number] = delivery
        if not self._out:
            self._loop.call_soon(self._write)
        self._out += encode_command(number, path, group.sender, delivery.address)
        return True

    def _write(self) -> None:
        if self._gone:
            return
        self._loop.remove_writer(self._pipes.commands)
        try:
            del self._out[: os.write(self._pipes.commands, self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._end()
            return
        if self._out:
            self._loop.add_writer(self._pipes.commands, self._write)

    def _read(self) -> None:
        try:
            data = os.read(self._pipes.reports, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        for number, letter, text in self._reports.feed(data):
            delivery = self._running.pop(number, None)
            if delivery is None:
                self._log("warning: internal error: delivery report out of range")
                continue
            self._free.append(number)
            self._copies.release(delivery.group.message.number)
            self._report(delivery.number, letter, text, False)
        if not data:
            self._end()
        else:
            self._ready()

    def _end(self) -> None:
        self._gone = True
        self._forget()
        self._log("alert: oh no! lost spawn connection! dying...")
        self._lost()

    def _forget(self) -> None:
        self._loop.remove_reader(self._pipes.reports)
        self._loop.remove_writer(self._pipes.commands)
        for delivery in self._running.values():
            self._copies.release(delivery.group.message.number)
        self._running.clear()

    def close(self) -> None:
        """For good."""
        if not self._gone:
            self._gone = True
            self._forget()
