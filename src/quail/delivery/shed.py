"""How a process that lspawn has just forked becomes a user's: it keeps one socket, and nothing else of where it comes from.

The order matters: descriptors first (they are lspawn's), then the identity, which can't be taken back. The environment is that
of the user's programs already, by lspawn's doing. A process that has changed its uid without an exec is not dumpable, which
keeps the user's other processes from tracing it and reading what it has in memory; it is said once more, because
fs.suid_dumpable may be set otherwise.
"""

import _signal as signal  # type: ignore[import-not-found]  # the enums of the public module touch pages, which cost the fork
import fcntl
import os
import resource
import socket
from collections.abc import Callable

from quail.delivery.settings import Settings
from quail.supervise.tree import name_process

_SOCKET = 3  # the one descriptor that a worker begins with, beside 0 to 2
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
    """Returns the socket on its new descriptor. Signals that reach the whole process group (Ctrl-C, a stop by the service
    manager) are ignored from here on: lspawn decides when the worker ends. OSError: then the process must end.
    """
    os.setsid()  # no signal for a group reaches serve and lspawn by it, nor it by theirs
    quiet()
    name_process("delivery")
    kept = _keep_only(sock)
    os.umask(0o077)
    soft, hard = settings.nofile
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if settings.uid is not None and settings.gid is not None:
        become_user(settings.uid, settings.gid)
    hide()
    return kept


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


def _keep_only(sock: socket.socket) -> socket.socket:
    """Keep nothing of lspawn but the socket. Python's own objects of the closed descriptors must stay alive: collecting
    one would close whatever has its number by then; the caller never returns, so they do.
    """
    # The socket may have any number, the null device too: move the socket out of the way, then both into place.
    parked = fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, _SOCKET + 1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.dup2(parked, _SOCKET, inheritable=False)
    os.closerange(_SOCKET + 1, os.sysconf("SC_OPEN_MAX"))
    return socket.socket(fileno=_SOCKET)


def become_user(uid: int, gid: int) -> None:
    """For good, with one group. Looks once more: a process that is still root must not follow a user's wishes."""
    os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if uid == 0 or os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        os._exit(111)
