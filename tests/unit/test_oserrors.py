"""What errors of the system are called, and which of them may be gone the next time."""

import errno
import os

import pytest

from quail.oserrors import is_temporary, words

LASTING = (
    "ENOENT",
    "ENOTDIR",
    "EACCES",
    "EPERM",
    "ENOEXEC",
    "ELOOP",
    "ENAMETOOLONG",
    "EISDIR",
    "EINVAL",
    "EBADF",
    "E2BIG",
)
PASSING = ("ENOMEM", "EAGAIN", "ENFILE", "EMFILE", "ENOSPC", "EDQUOT", "EIO", "ESTALE", "ETXTBSY", "EINTR", "ETIMEDOUT")


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass(name):
    assert is_temporary(OSError(getattr(errno, name), ""))


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts(name):
    assert not is_temporary(OSError(getattr(errno, name), ""))
    assert not is_temporary(OSError("without a number"))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOENT, "file does not exist"),
        (errno.EACCES, "access denied"),
        (errno.EINVAL, os.strerror(errno.EINVAL).lower()),
        (None, "as it says"),
    ],
)
def test_words(number, text):
    assert words(OSError("as it says") if number is None else OSError(number, "not this", "nor/this")) == text
