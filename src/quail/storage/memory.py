"""Files in memory without a name, for what a program is to read from a descriptor."""

import errno
import os

# Of Linux 6.3. Where the sysctl vm.memfd_noexec is 2 there is no such file without it.
_NOEXEC_SEAL = (
    8  # MFD_NOEXEC_SEAL; Python 3.11 does not have it, and asking a program's part of os for it loads the whole
)
_FLAGS = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING


def memory_file(name: str) -> int:
    """The descriptor, closed at exec, of an empty file that can be sealed (memfd_create(2)), and never run. OSError.

    name: what /proc shows of it.
    """
    try:
        return os.memfd_create(name, _FLAGS | _NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:  # so says an older kernel
            raise
    return os.memfd_create(name, _FLAGS)
