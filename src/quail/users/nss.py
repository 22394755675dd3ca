"""Accounts by name, out of the machine's name service (nsswitch.conf(5)): files, LDAP, NIS, whatever it has.

Python's pwd module raises the same KeyError for "no such user" and for "the server does not answer", which would bounce
mail of people who exist. So getpwnam_r(3) is called itself. Not imported by programs that start for each message, unless
they really look somebody up: ctypes costs as much as the rest of such a program.
"""

import ctypes
import errno
import os
from _collections_abc import Callable

from quail.errors import TemporaryError
from quail.oserrors import words

# What getpwnam_r(3) lists, under ERRORS, as "the given name was not found". All else is trouble.
NOT_FOUND = (0, errno.ENOENT, errno.ESRCH, errno.EBADF, errno.EPERM)
_FIRST_BUFFER = 1 << 12  # bytes
_LAST_BUFFER = 1 << 20


class Passwd(ctypes.Structure):
    """struct passwd of <pwd.h>, as on Linux."""

    _fields_ = (
        ("pw_name", ctypes.c_char_p),
        ("pw_passwd", ctypes.c_char_p),
        ("pw_uid", ctypes.c_uint32),
        ("pw_gid", ctypes.c_uint32),
        ("pw_gecos", ctypes.c_char_p),
        ("pw_dir", ctypes.c_char_p),
        ("pw_shell", ctypes.c_char_p),
    )


class Entry:
    """An account: name, home, password (mostly `x`: it is elsewhere) and shell in bytes, as the name service has them."""

    __slots__ = ("gid", "home", "name", "password", "shell", "uid")

    def __init__(
        self, name: bytes, uid: int, gid: int, home: bytes, *, password: bytes = b"x", shell: bytes = b""
    ) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home
        self.password = password
        self.shell = shell


def _libc() -> Callable[..., int]:
    function = ctypes.CDLL(None).getpwnam_r
    function.argtypes = (
        ctypes.c_char_p,
        ctypes.POINTER(Passwd),
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.POINTER(Passwd)),
    )
    function.restype = ctypes.c_int
    return function


_GETPWNAM_R = _libc()


def by_name(name: bytes, *, getpwnam_r: Callable[..., int] = _GETPWNAM_R) -> Entry | None:
    """The account of this name; None if there is none; TemporaryError if that can't be told now.

    Waits as long as the name service does; other threads go on meanwhile. `getpwnam_r` is called as the C library's.
    """
    if not name or b"\0" in name:
        return None
    size = _FIRST_BUFFER
    while True:
        found, result = Passwd(), ctypes.POINTER(Passwd)()
        buffer = ctypes.create_string_buffer(size)
        code = getpwnam_r(name, ctypes.byref(found), buffer, size, ctypes.byref(result))
        if code != errno.ERANGE or size >= _LAST_BUFFER:
            break
        size *= 2
    if code == 0 and result:
        return Entry(
            found.pw_name or b"",
            found.pw_uid,
            found.pw_gid,
            found.pw_dir or b"",
            password=found.pw_passwd or b"",
            shell=found.pw_shell or b"",
        )
    if code in NOT_FOUND:
        return None
    reason = words(OSError(code, os.strerror(code)))
    raise TemporaryError(f"unable to look up account {name.decode('ascii', 'backslashreplace')}: {reason}")
