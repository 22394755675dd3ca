"""What a service's process gives up when it becomes an account of its own: root, and the terminal that root may sit at."""

import os

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38  # prctl(2)
_OUTPUT = 2


def become(uid: int, gid: int) -> None:
    """For good, and with no group but this one. The service has its code already: what it could load now is not root's.

    Nothing that it may run gives it other rights (set-uid programs), and no other process of its account can look into it.
    """
    import ctypes  # noqa: PLC0415  loaded by serve already, for syncfs

    _leave_terminal()
    os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_DUMPABLE, 0)):
        if prctl(option, value, 0, 0, 0):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def _leave_terminal() -> None:
    """Of a terminal that serve was started at, a service keeps what it needs to write its log: it must not read what root
    types, nor type in root's stead (TIOCSTI).
    """
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1):
        os.dup2(null, fd)
    os.close(null)
    if os.isatty(_OUTPUT):
        try:
            log = os.open(f"/proc/self/fd/{_OUTPUT}", os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            return  # one of another namespace: it can't be opened anew
        os.dup2(log, _OUTPUT)
        os.close(log)
