"""One process that is to run, or not: what is wanted of it, and when it may be started. Pure: it is told what happens.

Both faces of supervision keep their processes by this: serve its services, which are always wanted, and supervise its one,
of which svc wants this or that. Times are monotonic seconds.

    what happens    somebody calls
    a command       command(letter, now): the signals that the process is to get now
    due has come    nothing; start it, and then
    it was started  started(pid, now), or not_started(now, wait)
    it has ended    ended(now, by_itself=...)
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums

AGAIN_AFTER = 1.0  # seconds between two starts of one process
NO_FORK_WAIT = 60.0

UP, DOWN, ONCE = b"u"[0], b"d"[0], 0  # as the status file has them

_SIGNALS = {
    b"h"[0]: signal.SIGHUP,
    b"a"[0]: signal.SIGALRM,
    b"i"[0]: signal.SIGINT,
    b"t"[0]: signal.SIGTERM,
    b"k"[0]: signal.SIGKILL,
}
_U, _D, _O, _X, _P, _C = b"udoxpc"


class Keeper:
    """The standing of one process. `pid` is 0 while it does not run; `due` is when to start it, None if that is not owed.

    `leaving`: when it has ended, nobody is to keep it any longer (done).
    """

    __slots__ = ("_asked", "_longest", "_started", "_wait", "due", "leaving", "paused", "pid", "want")

    def __init__(self, now: float, want: int = UP, *, longest: float = AGAIN_AFTER) -> None:
        """`longest`: up to so many seconds, twice as long each time, is waited for what ends by itself again and again."""
        self.want = want
        self.pid = 0
        self.paused = False
        self.leaving = False
        self.due = now if want == UP else None
        self._asked = False  # the start that is due was asked for: it is not one that follows a death
        self._started: float | None = None
        self._wait = AGAIN_AFTER
        self._longest = longest

    @property
    def done(self) -> bool:
        """Whether the one who keeps it may go."""
        return self.leaving and not self.pid and self.due is None

    def command(self, letter: int, now: float) -> tuple[int, ...]:
        """A byte of svc: the signals for the process, in their order. Bytes that mean nothing do nothing."""
        if letter in (_U, _O):
            self.want = UP if letter == _U else ONCE
            if not self.pid:
                self._asked = True
                self.due = self._earliest(now) if self.due is None else self.due
        elif letter == _D:
            self.want = DOWN
            self.due = None
            if self.pid:
                self.paused = False
                return (signal.SIGTERM, signal.SIGCONT)
        elif letter == _X:
            self.leaving = True
            if not self._asked:
                self.due = None
        elif self.pid and letter in (_P, _C):
            self.paused = letter == _P
            return (signal.SIGSTOP if self.paused else signal.SIGCONT,)
        elif self.pid and letter in _SIGNALS:
            return (_SIGNALS[letter],)
        return ()

    def started(self, pid: int, now: float) -> None:
        """It runs."""
        self.pid = pid
        self.paused = False
        self.due = None
        self._asked = False
        self._started = now

    def not_started(self, now: float, wait: float = NO_FORK_WAIT) -> None:
        """The machine has no memory or process left for it: another try in `wait` seconds."""
        self.due = now + wait

    def ended(self, now: float, *, by_itself: bool = False) -> None:
        """It has ended; `by_itself`: it gave up, rather than that a signal killed it."""
        assert self._started is not None
        gave_up = by_itself and now < self._started + self._longest
        self._wait = min(self._wait * 2, self._longest) if gave_up else AGAIN_AFTER
        self.pid = 0
        if self.want == UP and not self.leaving:
            self.due = self._earliest(now)

    def _earliest(self, now: float) -> float:
        return now if self._started is None else max(now, self._started + self._wait)
