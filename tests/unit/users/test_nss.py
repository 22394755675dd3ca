"""getpwnam_r by hand: who is there, who is not, and what is neither. The name service is the test's own."""

import ctypes
import errno
import os
import pwd
import subprocess
import sys

import pytest

from quail.errors import TemporaryError
from quail.users import nss

NOT_LISTED = sorted(set(errno.errorcode) - {errno.ENOENT, errno.ESRCH, errno.EBADF, errno.EPERM, errno.ERANGE})


def answers(code, *, wants=0, entry=None):
    """A getpwnam_r that returns `code`; with ERANGE before that as long as the buffer has fewer than `wants` bytes."""
    calls = []

    def getpwnam_r(name, found, buffer, size, result):
        calls.append((name, size))
        assert len(buffer) == size
        if size < wants:
            return errno.ERANGE
        if entry is not None:
            for field, value in entry.items():
                setattr(found._obj, field, value)
            result._obj.contents = found._obj
        return code

    getpwnam_r.calls = calls
    return getpwnam_r


JOE = {"pw_name": b"joe", "pw_uid": 1001, "pw_gid": 100, "pw_dir": b"/home/joe"}


def fields(entry):
    return (entry.name, entry.uid, entry.gid, entry.home)


def test_an_account():
    entry = nss.by_name(b"joe", getpwnam_r=answers(0, entry=JOE))
    assert fields(entry) == (b"joe", 1001, 100, b"/home/joe")


def test_an_account_with_the_greatest_numbers_and_null_pointers():
    entry = nss.by_name(b"joe", getpwnam_r=answers(0, entry={"pw_uid": 0xFFFFFFFF, "pw_gid": 1 << 31}))
    assert fields(entry) == (b"", 0xFFFFFFFF, 1 << 31, b"")


@pytest.mark.parametrize("code", [0, errno.ENOENT, errno.ESRCH, errno.EBADF, errno.EPERM])
def test_not_found_as_getpwnam_r_lists_it(code):
    assert nss.by_name(b"joe", getpwnam_r=answers(code)) is None


@pytest.mark.parametrize("code", NOT_LISTED)
def test_everything_else_is_trouble(code):
    with pytest.raises(TemporaryError, match=r"^unable to look up account joe: ."):
        nss.by_name(b"joe", getpwnam_r=answers(code))


def test_trouble_counts_even_if_there_is_a_result():
    with pytest.raises(TemporaryError):
        nss.by_name(b"joe", getpwnam_r=answers(errno.EIO, entry=JOE))


def test_a_long_entry_gets_a_longer_buffer():
    function = answers(0, wants=100_000, entry=JOE)
    assert nss.by_name(b"joe", getpwnam_r=function).uid == 1001
    sizes = [size for _, size in function.calls]
    assert sizes == sorted(set(sizes))
    assert len(sizes) > 1


def test_a_buffer_that_is_never_long_enough_is_trouble():
    function = answers(0, wants=1 << 62, entry=JOE)
    with pytest.raises(TemporaryError, match="out of range"):
        nss.by_name(b"joe", getpwnam_r=function)
    assert len(function.calls) < 20


@pytest.mark.parametrize("name", [b"", b"\0", b"joe\0x"])
def test_what_no_name_can_be_is_not_asked_for(name):
    function = answers(0, entry=JOE)
    assert nss.by_name(name, getpwnam_r=function) is None
    assert function.calls == []


def test_every_account_of_this_machine_as_pwd_has_it():
    for known in pwd.getpwall():
        entry = nss.by_name(known.pw_name.encode())
        assert fields(entry) == (known.pw_name.encode(), known.pw_uid, known.pw_gid, os.fsencode(known.pw_dir))


def test_a_name_that_nobody_has_on_this_machine():
    assert nss.by_name(b"no-such-account-7f3a") is None


def test_the_structure_is_as_long_as_the_systems():
    assert ctypes.sizeof(nss.Passwd) == 5 * ctypes.sizeof(ctypes.c_void_p) + 8


def test_no_descriptor_left_is_trouble_and_not_nobody():
    code = (
        "import resource\n"
        "from quail.users import nss\n"
        "from quail.errors import TemporaryError\n"
        "nss.by_name(b'root')\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))\n"
        "try:\n"
        "    print(nss.by_name(b'root'))\n"
        "except TemporaryError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "unable to look up account root: process cannot open more files\n"
