"""The machine's passwords: entries, what locks an account, and crypt(3). The name service is the test's own."""

import ctypes.util
import errno

import pytest

from quail.errors import TemporaryError
from quail.users import shadow

# Made by libxcrypt of `secret`.
YESCRYPT = b"$y$j9T$zuorrO/t7psLfjaXrBJoz/$k4j7aLHJARsrTDNJPHRX8WQsm41UOah8MVqHfjMHl43"
SHA512 = b"$6$0123456789abcdef$"
DAY = 86_400
TODAY = 20_000


def entry(code, fields=None):
    def getspnam_r(_name, found, _buffer, _size, result):
        for field, value in (fields or {}).items():
            setattr(found._obj, field, value)
        if fields:
            result._obj.contents = found._obj
        return code

    return getspnam_r


def test_an_entry():
    found = shadow.by_name(
        b"joe", getspnam_r=entry(0, {"sp_pwdp": b"hash", "sp_lstchg": 5, "sp_max": 90, "sp_expire": -1})
    )
    assert (found.hashed, found.changed, found.longest, found.expires) == (b"hash", 5, 90, -1)


@pytest.mark.parametrize("code", [0, errno.ENOENT, errno.ESRCH])
def test_no_entry(code):
    assert shadow.by_name(b"joe", getspnam_r=entry(code)) is None


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ECONNREFUSED, errno.ERANGE])
def test_an_entry_that_cannot_be_had(code):
    with pytest.raises(TemporaryError, match="password of joe: "):
        shadow.by_name(b"joe", getspnam_r=entry(code))


@pytest.mark.parametrize(
    ("words", "is_open"),
    [
        ({}, True),
        ({"hashed": b""}, False),
        ({"hashed": b"!" + YESCRYPT}, False),
        ({"hashed": b"*"}, False),
        ({"expires": TODAY}, False),
        ({"expires": TODAY + 1}, True),
        ({"expires": 0}, False),
        ({"changed": 0}, False),
        ({"changed": TODAY - 90, "longest": 90}, True),
        ({"changed": TODAY - 91, "longest": 90}, False),
        ({"changed": TODAY - 5000, "longest": 99999}, True),
        ({"changed": TODAY + 5, "longest": 1}, True),
        ({"longest": 1}, True),
    ],
    ids=range(13),
)
def test_open_accounts(words, is_open):
    assert shadow.Shadow(**({"hashed": YESCRYPT} | words)).is_open(TODAY * DAY + 17.5) is is_open


def test_crypt():
    shadow.load()
    made = shadow._crypt[0].crypt(b"secret", SHA512)
    assert made.startswith(SHA512)
    assert shadow.matches(made, b"secret")
    assert not shadow.matches(made, b"Secret")
    assert not shadow.matches(made[:-1], b"secret")
    assert not shadow.matches(made, b"secret\0x")
    assert not shadow.matches(b"", b"secret")
    assert not shadow.matches(b"$99$unknown", b"secret")
    assert not shadow.matches(b"*0", b"secret")


def test_yescrypt():
    """Of this machine's libcrypt, if it is one that can."""
    shadow.load()
    if not hasattr(shadow._crypt[0], "crypt_gensalt"):
        pytest.skip("this libcrypt is no libxcrypt")
    assert shadow.matches(YESCRYPT, b"secret")
    assert not shadow.matches(YESCRYPT, b"secrets")


def test_nobody_takes_any_password():
    shadow.match_nobody(b"secret\0x")
    shadow.match_nobody(b"x" * 5000)


def test_no_compiler_is_asked_where_libcrypt_is(monkeypatch):
    """find_library() runs ldconfig, gcc and ld, at worst: not for each log-in where the library has its usual name."""
    monkeypatch.setattr(shadow, "_crypt", [])
    asked = []
    monkeypatch.setattr(ctypes.util, "find_library", asked.append)
    shadow.load()
    assert shadow._crypt
    assert asked == []


def test_libcrypt_by_another_name(monkeypatch):
    monkeypatch.setattr(shadow, "_crypt", [])
    usual = shadow._LIBRARIES
    monkeypatch.setattr(shadow, "_LIBRARIES", ("libnothing.so.1", "libnothing.so.2"))
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: usual[0] if name == "crypt" else None)
    shadow.load()
    assert shadow._crypt
    monkeypatch.setattr(shadow, "_crypt", [])
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    with pytest.raises(TemporaryError, match="unable to load libcrypt"):
        shadow.load()
