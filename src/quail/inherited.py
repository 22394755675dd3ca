"""What a process was started with: as it was before the interpreter changed it, or as a new one would have been."""

import os
from _collections_abc import Mapping

_LANGUAGE = b"LC_CTYPE"
_COERCED = (b"C.UTF-8", b"C.utf8", b"UTF-8")  # what the interpreter makes of the C locale, by PEP 538
_restored = False


def restore_environment() -> None:
    """Give LC_CTYPE back the value, or none, that it had before the interpreter set it for itself, if that is so.

    Our children have the language that we were started with: in another one grep, for example, takes mail in other character
    sets for binary files. Once is enough: what is in the environment later has been put there on purpose.
    """
    global _restored  # noqa: PLW0603  it is the process that has one environment
    if _restored:
        return
    _restored = True
    if os.environb.get(_LANGUAGE) not in _COERCED:
        return
    try:
        with open("/proc/self/environ", "rb", buffering=0) as file:
            given = file.read()
    except OSError:
        return  # it can't be told
    _, found, rest = (b"\0" + given).partition(b"\0%b=" % _LANGUAGE)
    if found:
        os.environb[_LANGUAGE] = rest.partition(b"\0")[0]
    else:
        del os.environb[_LANGUAGE]


def be_environment(environ: Mapping[bytes, bytes]) -> None:
    """Make this the environment of the process, at the cost of what is different."""
    own = os.environb
    for name in [name for name in own if name not in environ]:
        del own[name]
    for name, value in environ.items():
        if own.get(name) != value:
            own[name] = value
