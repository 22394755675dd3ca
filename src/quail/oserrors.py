"""What an OSError is called in logs and on terminals: the words of the classic tools, which sites' scripts look for; and
whether it may be gone the next time.

Where the classic words differ from the system's own only in their capital letter, the system's are used.
"""

import errno
import os

_WORDS = {
    errno.EACCES: "access denied",
    errno.EADDRINUSE: "address already used",
    errno.EADDRNOTAVAIL: "address not available",
    errno.EAFNOSUPPORT: "address family not supported",
    errno.EAGAIN: "temporary failure",
    errno.EBADF: "file descriptor not open",
    errno.EBUSY: "device busy",
    errno.ECONNABORTED: "connection aborted",
    errno.ECONNRESET: "connection reset",
    errno.EDEADLK: "operation would cause deadlock",
    errno.EEXIST: "file already exists",
    errno.EFBIG: "file too big",
    errno.EHOSTDOWN: "host down",
    errno.EHOSTUNREACH: "host unreachable",
    errno.EINPROGRESS: "operation in progress",
    errno.EISCONN: "already connected",
    errno.ELOOP: "symbolic link loop",
    errno.EMFILE: "process cannot open more files",
    errno.ENETDOWN: "network down",
    errno.ENETRESET: "network reset",
    errno.ENETUNREACH: "network unreachable",
    errno.ENFILE: "system cannot open more files",
    errno.ENOBUFS: "out of buffer space",
    errno.ENODEV: "device does not support operation",
    errno.ENOENT: "file does not exist",
    errno.ENOMEM: "out of memory",
    errno.ENOSPC: "out of disk space",
    errno.ENOSYS: "system call not available",
    errno.ENOTCONN: "not connected",
    errno.ENOTSOCK: "not a socket",
    errno.ENOTTY: "not a tty",
    errno.ENXIO: "device not configured",
    errno.EPERM: "permission denied",
    errno.EPROTOTYPE: "incorrect protocol type",
    errno.ERANGE: "output out of range",
    errno.ESHUTDOWN: "socket shut down",
    errno.ESPIPE: "unseekable descriptor",
    errno.ESTALE: "stale NFS file handle",
    errno.ETIMEDOUT: "timed out",
    errno.ETXTBSY: "text busy",
    errno.EXDEV: "cross-device link",
}


def words(error: OSError) -> str:
    """Say what went wrong, without file names: `file does not exist`."""
    if error.errno is None:
        return str(error) or "unknown error"
    return _WORDS.get(error.errno) or os.strerror(error.errno).lower()


_TEMPORARY = frozenset((
    errno.EAGAIN,
    errno.EBUSY,
    errno.EDEADLK,
    errno.EDQUOT,
    errno.EINTR,
    errno.EIO,
    errno.EMFILE,
    errno.ENETDOWN,
    errno.ENETRESET,
    errno.ENETUNREACH,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOLCK,
    errno.ENOMEM,
    errno.ENOSPC,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ETXTBSY,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
))  # fmt: skip


def is_temporary(error: OSError) -> bool:
    """Whether trying again may help: something has run out, is in use, or a network file system is away."""
    return error.errno in _TEMPORARY
