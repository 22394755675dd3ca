"""How a process that lspawn or authd has just forked becomes a user's: it keeps a socket or two, and nothing else of where
it comes from.

The order matters: descriptors first (they are the service's), then the identity, which can't be taken back. The
environment is that of the user's programs already, by the service's doing. A process that has changed its uid without an
exec is not dumpable, which keeps the user's other processes from tracing it and reading what it has in memory; it is said
once more, because fs.suid_dumpable may be set otherwise.
"""

import _signal as signal  # type: ignore[import-not-found]  # the enums of the public module touch pages, which cost the fork
import fcntl
import os
import resource
import socket
from collections.abc import Callable

from quail.delivery.settings import Settings
from quail.supervise.tree import name_process

_FIRST = 3  # of the descriptors that such a process begins with, beside 0 to 2
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)
_PR_SET_DUMPABLE = 4  # prctl(2)
_prctl: list[Callable[..., int]] = []


def prepare() -> None:
    """Load what a worker may need, in the process that forks: in the home of a user there is nothing to be imported, and
    what each worker would load for itself is loaded once.
    """
    import ctypes  # noqa: PLC0415  qmail-local alone needs none of it
    import traceback  # noqa: F401, PLC0415  all of these are loaded for those that are forked later

    import quail.queue.drop_writer  # noqa: PLC0415
    import quail.queue.program  # noqa: PLC0415
    import quail.storage.spool  # noqa: F401, PLC0415

    if not _prctl:
        _prctl.append(ctypes.CDLL(None, use_errno=True).prctl)


def shed(sock: socket.socket, settings: Settings) -> socket.socket:
    """Become a delivery worker; returns the socket on its new descriptor. OSError: then the process must end."""
    become("delivery", [sock.fileno()], nofile=settings.nofile, uid=settings.uid, gid=settings.gid)
    return socket.socket(fileno=_FIRST)


def become(name: str, kept: list[int], *, nofile: tuple[int, int], uid: int | None, gid: int | None) -> None:
    """Keep these descriptors, as 3 and the next ones, and take on this uid and group; None: stay who we are.

    Signals that reach the whole process group (Ctrl-C, a stop by the service manager) are ignored from here on: the service
    decides when the process ends. `name` is what ps shows. OSError: then the process must end.
    """
    os.setsid()  # no signal for a group reaches serve and the service by it, nor it by theirs
    quiet()
    name_process(name)
    _keep_only(kept)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_NOFILE, nofile)
    if uid is not None and gid is not None:
        become_user(uid, gid)
    hide()


def hide() -> None:
    """From the user's other processes."""
    _prctl[0](_PR_SET_DUMPABLE, 0, 0, 0, 0)


def quiet() -> None:
    """Signals as a process has them that nobody has told anything, but for those that end a group: they are ignored."""
    signal.set_wakeup_fd(-1)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for number in range(1, signal.NSIG):
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _keep_only(kept: list[int]) -> None:
    """Keep nothing of the service but these. Python's own objects of the closed descriptors must stay alive: collecting
    one would close whatever has its number by then; the caller never returns, so they do.
    """
    # They may have any number, the null device too: move them out of the way, then all into place.
    parked = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST + len(kept)) for fd in kept]
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for place, fd in enumerate(parked, _FIRST):
        os.dup2(fd, place, inheritable=False)
    os.closerange(_FIRST + len(kept), os.sysconf("SC_OPEN_MAX"))


def become_user(uid: int, gid: int) -> None:
    """For good, with one group. Looks once more: a process that is still root must not follow a user's wishes."""
    os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if uid == 0 or os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        os._exit(111)
