"""multilog at work: reads lines until there are no more, or until it is told to stop, and hands them to its actions.

Everything that has been read is written before more is read. TERM: the line that has begun is read to its end, byte by byte,
and what comes after it is left for whoever reads next. ALRM: directories whose `current` is not empty rotate. A process that
is signalled while it is busy or pausing obeys when it would read again.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
import select
import time
from _collections_abc import Callable

from quail.storage.calls import REAL, SystemCalls
from quail.supervise.events import Events
from quail.supervise.multilog.directory import LogDirectory
from quail.supervise.multilog.script import Alert, Condition, Directory, Script, Status
from quail.supervise.multilog.selection import LOOKED_AT, Selection
from quail.supervise.multilog.sinks import AlertSink, StatusSink
from quail.supervise.multilog.splitter import BLOCK, LONG, Piece, Splitter
from quail.supervise.multilog.trouble import Trouble
from quail.supervise.tai64 import label

READ_SIZE = 1 << 14  # what a kill can lose at most; larger ones are hardly faster


def microseconds() -> int:
    """The system clock."""
    return time.time_ns() // 1000


class DirectorySink:
    """A log directory as a sink, which takes pieces of lines as well as lines."""

    __slots__ = ("block", "directory", "long", "more")

    def __init__(self, directory: LogDirectory) -> None:
        """It takes everything."""
        self.directory = directory
        self.block = self.long = self.more = directory.write


Sink = AlertSink | StatusSink | DirectorySink


class Logger:
    """A script that is being followed."""

    __slots__ = ("_clock", "_directories", "_one_by_one", "_splitter", "_stamped", "_taking", "_wanted")

    def __init__(
        self,
        script: Script,
        *,
        say: Callable[[str], None],
        alert: Callable[[bytes], object],
        clock: Callable[[], int] = microseconds,
        sleep: Callable[[float], object] = time.sleep,
        calls: SystemCalls = REAL,
    ) -> None:
        """TemporaryError if a file or a directory can't be used. `say` takes warnings, `alert` lines for standard error."""
        trouble = Trouble(say, sleep)
        # Files are made before directories, wherever they are in the script.
        shown = {
            id(each): StatusSink(each.path, trouble, calls=calls) for each in script.actions if isinstance(each, Status)
        }
        conditions: list[Condition] = []
        self._wanted: list[tuple[Selection, Sink]] = []
        self._directories: list[LogDirectory] = []
        for action in script.actions:
            sink: Sink
            if isinstance(action, Condition):
                conditions.append(action)
                continue
            if isinstance(action, Alert):
                sink = AlertSink(alert)
            elif isinstance(action, Directory):
                directory = LogDirectory(action, trouble, clock=clock, say=say, calls=calls)
                self._directories.append(directory)
                sink = DirectorySink(directory)
            else:
                sink = shown[id(action)]
            self._wanted.append((Selection(conditions), sink))
        alerts = sum(isinstance(sink, AlertSink) for _, sink in self._wanted)
        # What two actions do in one place is seen in its order, line for line.
        self._one_by_one = alerts > 1 or len(shown) > 1
        self._clock, self._stamped = clock, script.stamped
        self._splitter = Splitter()
        self._taking: list[Sink] = []

    def take(self, data: bytes) -> None:
        """What has been read just now."""
        self._pass_on(self._splitter.feed(data, label(self._clock()) + b" " if self._stamped else b""))

    def finish(self) -> None:
        """No more will come: leave everything in good order."""
        self._pass_on(self._splitter.finish())
        for directory in self._directories:
            directory.close()

    def rotate(self) -> None:
        """Every directory that has something in `current`."""
        for directory in self._directories:
            if not directory.is_empty:
                directory.rotate()

    def _pass_on(self, pieces: list[Piece]) -> None:
        for kind, data in pieces:
            if kind == BLOCK:
                for lines in [line + b"\n" for line in data.split(b"\n")[:-1]] if self._one_by_one else (data,):
                    for selection, sink in self._wanted:
                        if selected := selection.of(lines):
                            sink.block(selected)
            elif kind == LONG:
                beginning = data[:LOOKED_AT]
                self._taking = [sink for selection, sink in self._wanted if selection.takes(beginning)]
                for sink in self._taking:
                    sink.long(data)
            else:
                for sink in self._taking:
                    sink.more(data)


def follow(logger: Logger, events: Events, fd: int = 0) -> None:
    """Read fd to its end, or until TERM; `events` are those of TERM and ALRM."""
    size, in_line = READ_SIZE, False
    events.watch(fd)
    readable = select.poll()  # a wait may end without anything to read
    readable.register(fd, select.POLLIN)
    while True:
        events.wait(None)
        arrived = events.arrived()
        if signal.SIGALRM in arrived:
            logger.rotate()
        if signal.SIGTERM in arrived:
            size = 1
        if size == 1 and not in_line:
            break
        if not readable.poll(0):
            continue
        try:
            data = os.read(fd, size)
        except BlockingIOError:
            continue
        except OSError:
            break  # there is no more to be had
        if not data:
            break
        in_line = data[-1:] != b"\n"
        logger.take(data)
    logger.finish()
