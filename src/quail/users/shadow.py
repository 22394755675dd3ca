"""The machine's own passwords: what shadow(5) says of an account, and crypt(3), whose hashes the machine chooses.

Python's spwd and crypt modules leave with 3.13, so getspnam_r(3) and libcrypt are called themselves, as nss.py does. Only
root can read shadow entries.
"""

import ctypes
import errno
import hmac
import os
from _collections_abc import Callable

from quail.errors import TemporaryError
from quail.oserrors import words
from quail.users.nss import NOT_FOUND

_FIRST_BUFFER = 1 << 12  # bytes
_LAST_BUFFER = 1 << 20
_DAY = 86_400
_LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2")
_FIT = (0, 3, 4)  # what crypt_checksalt(3) says of settings that crypt takes: good, old-fashioned, too cheap
_LONGEST = 512  # bytes from which libxcrypt takes no password
# Of nobody's password, for machines whose libcrypt does not tell what it would make: six hundred times SHA-512's usual
# rounds.
_NOBODY = b"$6$rounds=656000$nVq1u2YcTzJ4xW0k$"


class Spwd(ctypes.Structure):
    """struct spwd of <shadow.h>, as on Linux."""

    _fields_ = (
        ("sp_namp", ctypes.c_char_p),
        ("sp_pwdp", ctypes.c_char_p),
        ("sp_lstchg", ctypes.c_long),
        ("sp_min", ctypes.c_long),
        ("sp_max", ctypes.c_long),
        ("sp_warn", ctypes.c_long),
        ("sp_inact", ctypes.c_long),
        ("sp_expire", ctypes.c_long),
        ("sp_flag", ctypes.c_ulong),
    )


class Shadow:
    """hashed: as crypt(3) made it, or what locks the account. changed, longest, expires: days, as in shadow(5); -1: not
    set.
    """

    __slots__ = ("changed", "expires", "hashed", "longest")

    def __init__(self, hashed: bytes, changed: int = -1, longest: int = -1, expires: int = -1) -> None:
        self.hashed = hashed
        self.changed = changed
        self.longest = longest
        self.expires = expires

    def is_open(self, now: float) -> bool:
        """Whether the account has a password that lets somebody in at this Unix time. Nobody can be asked for a new one
        here, so one that has run out, or is to be changed, does not.
        """
        if self.hashed[:1] in {b"", b"!", b"*"}:  # passwd -l and its like; empty: anybody could come in
            return False
        day = int(now // _DAY)
        if 0 <= self.expires <= day or self.changed == 0:
            return False
        return self.changed < 0 or self.longest < 0 or day - self.changed <= self.longest


def _libc() -> Callable[..., int] | None:
    function = getattr(ctypes.CDLL(None), "getspnam_r", None)
    if function is not None:
        function.argtypes = (
            ctypes.c_char_p,
            ctypes.POINTER(Spwd),
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.POINTER(ctypes.POINTER(Spwd)),
        )
        function.restype = ctypes.c_int
    return function


_GETSPNAM_R = _libc()
_crypt: list[ctypes.CDLL] = []


def by_name(name: bytes, *, getspnam_r: Callable[..., int] | None = _GETSPNAM_R) -> Shadow | None:
    """The shadow entry of an account; None if there is none; TemporaryError if that can't be told."""
    if not name or b"\0" in name or getspnam_r is None:
        return None
    size = _FIRST_BUFFER
    while True:
        found, result = Spwd(), ctypes.POINTER(Spwd)()
        buffer = ctypes.create_string_buffer(size)
        code = getspnam_r(name, ctypes.byref(found), buffer, size, ctypes.byref(result))
        if code != errno.ERANGE or size >= _LAST_BUFFER:
            break
        size *= 2
    if code == 0 and result:
        return Shadow(found.sp_pwdp or b"", found.sp_lstchg, found.sp_max, found.sp_expire)
    if code in NOT_FOUND and code != errno.EPERM:
        return None
    reason = words(OSError(code, os.strerror(code)))
    raise TemporaryError(f"unable to look up the password of {name.decode('ascii', 'backslashreplace')}: {reason}")


def load() -> None:
    """Find libcrypt; else the first call of matches() does. TemporaryError if there is none."""
    if _crypt:
        return
    for name in _LIBRARIES:
        if _take(name):
            return
    from ctypes.util import find_library  # noqa: PLC0415  it runs ldconfig, and a compiler: only where nothing else helps

    found = find_library("crypt")
    if found is None or not _take(found):
        raise TemporaryError("unable to load libcrypt, which knows the machine's passwords")


def _take(name: str) -> bool:
    """Load a library, if it is there and has crypt(3)."""
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return False
    if not hasattr(library, "crypt"):
        return False
    library.crypt.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
    library.crypt.restype = ctypes.c_char_p
    if hasattr(library, "crypt_checksalt"):
        library.crypt_checksalt.argtypes = (ctypes.c_char_p,)
    _crypt.append(library)
    return True


def matches(hashed: bytes, password: bytes) -> bool:
    """Whether it is crypt(3)'s hash of this password; TemporaryError if it can't be told. Not for several threads."""
    if b"\0" in password or b"\0" in hashed:
        return False
    load()
    made = _hash(password, hashed)
    return made is not None and hmac.compare_digest(made, hashed)


def _hash(password: bytes, setting: bytes) -> bytes | None:
    """What crypt(3) makes of it; None if that is nothing that it knows; TemporaryError if it has no memory for it."""
    library = _crypt[0]
    made: bytes | None = library.crypt(password, setting)
    # `*0` and the like are libcrypt's way to say no. It gives no reason; of a kind that it knows only memory can be one.
    if made is not None and made[:1] != b"*":
        return made
    known = hasattr(library, "crypt_checksalt") and library.crypt_checksalt(setting) in _FIT
    if known and len(password) < _LONGEST:
        raise TemporaryError("unable to check a password: libcrypt can't make the hash, for want of memory perhaps")
    return None


def match_nobody(password: bytes) -> None:
    """Take as long as matches() does for an account whose password was set as this machine sets them today; TemporaryError
    as there.
    """
    load()
    setting = _NOBODY
    if hasattr(_crypt[0], "crypt_gensalt"):  # libxcrypt: the kind that it prefers
        gensalt = _crypt[0].crypt_gensalt
        gensalt.argtypes = (ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int)
        gensalt.restype = ctypes.c_char_p
        setting = gensalt(None, 0, None, 0) or _NOBODY
    _hash(password.replace(b"\0", b""), setting)
