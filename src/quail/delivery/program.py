"""Running a program line of a dot-qmail file (qmail-command(8), facts 6.6).

The program is /bin/sh -c with the line, in a session of its own, with the message on descriptor 0 and nothing but descriptors
1 and 2, which are ours, beside it; signals are as a new program expects them. It is waited for, and nothing that it has left
behind: what goes on in the background is its own affair.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os
import select
from collections.abc import Mapping

from quail import oserrors
from quail.delivery.command import HARD
from quail.delivery.refusal import Refusal
from quail.net.lspawn_protocol import DEFERRED, FAILED

LAST = 99  # exit code: done, and what follows in the file is not
GRACE = 5.0  # seconds from TERM to KILL
HURRY = 1.0  # the same, when the worker is gone
CRASHED = b"Aack, child crashed. (#4.3.0)\n"

_SHELL = "/bin/sh"
_LONGEST = 0x7FFFFFFF  # milliseconds that poll can wait: 24 days
_DEFAULT = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


class OrphanedError(Exception):
    """Whoever reads the report is gone; the program has been ended."""


class Runner:
    """How programs are run. time_limit: seconds, 0 for none. life: a pipe's writing end; when nobody reads it any more
    the program is ended (-1: no such pipe).
    """

    __slots__ = ("_life", "_time_limit")

    def __init__(self, *, time_limit: float = 0, life: int = -1) -> None:
        """As described above."""
        self._time_limit = time_limit
        self._life = life

    def run(self, command: bytes, message: int, environment: Mapping[bytes, bytes], where: bytes) -> bool:
        """Whether the lines behind it are to be followed. Refusal when the message is to be put off or has failed for good:
        its text is empty when the program has said why itself. OrphanedError.

        `message` is the program's descriptor 0. `where` names the line in our own texts.
        """
        try:
            pid = self._start(command, message, environment)
        except OSError as error:
            reason = oserrors.words(error).encode()
            raise Refusal(DEFERRED, b"Unable to run /bin/sh: %b. (#4.3.0)\n" % reason) from error
        code = os.waitstatus_to_exitcode(self._wait(pid, where))
        if code < 0:
            raise Refusal(DEFERRED, CRASHED)
        if code in HARD:
            raise Refusal(FAILED, b"")
        if code not in (0, LAST):
            raise Refusal(DEFERRED, b"")
        return code == 0

    @staticmethod
    def _start(command: bytes, message: int, environment: Mapping[bytes, bytes]) -> int:
        return os.posix_spawn(
            _SHELL,
            (_SHELL, "-c", command),
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, message, 0)],
            setsid=True,
            setsigmask=(),
            setsigdef=_DEFAULT,
        )

    def _wait(self, pid: int, where: bytes) -> int:
        """Its wait status, once it has ended by itself."""
        if self._life < 0 and not self._time_limit:
            return os.waitpid(pid, 0)[1]
        ended = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            if self._life >= 0:
                poll.register(self._life, 0)  # tells only that its reader is gone
            limit = min(self._time_limit * 1000, _LONGEST) if self._time_limit else None
            ready = [fd for fd, _ in poll.poll(limit)]
            if ended in ready:
                return os.waitpid(pid, 0)[1]
            _end(pid, ended, HURRY if ready else GRACE)
            if ready:
                raise OrphanedError
        finally:
            os.close(ended)
        text = b"%b: the program has not ended within %d seconds and was stopped (control/programtimeout). (#4.3.0)\n"
        raise Refusal(DEFERRED, text % (where, self._time_limit))


def _end(pid: int, ended: int, grace: float) -> None:
    """TERM, and then KILL to all that is left. It is reaped last: until then its number, and its group's, stay its own."""
    _signal_group(pid, signal.SIGTERM)
    _signal_group(pid, signal.SIGCONT)  # one that is stopped would not hear it
    _await(ended, grace)
    _signal_group(pid, signal.SIGKILL)
    if _await(ended, HURRY):
        os.waitpid(pid, 0)  # else it can't be killed, and is left to itself


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except OSError:
        pass  # it has become somebody else, by a program that is set-uid


def _await(ended: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
