"""Files in memory, by kernels that know how to keep them from being run and by older ones."""

import errno
import fcntl
import os

import pytest

from quail.storage.memory import memory_file

SEAL_EXEC = 0x20  # F_SEAL_EXEC of linux/fcntl.h, which Python does not have


def knows_noexec():
    return os.path.exists("/proc/sys/vm/memfd_noexec")


def test_it_is_read_sealed_and_not_run():
    fd = memory_file("message")
    try:
        os.write(fd, b"text")
        assert os.pread(fd, 9, 0) == b"text"
        assert os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:message")
        assert not os.get_inheritable(fd)
        before = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == before | fcntl.F_SEAL_WRITE
        assert (before, os.fstat(fd).st_mode & 0o111) == ((SEAL_EXEC, 0) if knows_noexec() else (0, 0o111))
    finally:
        os.close(fd)


def test_an_older_kernel(monkeypatch):
    """It refuses a flag that it does not know."""
    create = os.memfd_create

    def old(name, flags):
        if flags & ~(os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING):
            raise OSError(errno.EINVAL, "Invalid argument")
        return create(name, flags)

    monkeypatch.setattr(os, "memfd_create", old)
    os.close(memory_file("message"))


def test_other_trouble_is_told(monkeypatch):
    def full(_name, _flags):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", full)
    with pytest.raises(OSError, match="Too many"):
        memory_file("message")
