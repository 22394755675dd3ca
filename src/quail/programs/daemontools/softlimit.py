"""usage: softlimit [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] [-l lockbytes] [-m membytes] [-o openfiles] \
[-p processes] [-r residentbytes] [-s stackbytes] [-t cpusecs] child

Run child with other soft limits, none above its hard limit; = means the hard limit. Exit 100 for a wrong call, 111 if a limit
can't be set or child can't be run; else as child does.
"""

import resource

from quail.errors import TemporaryError, UsageError
from quail.oserrors import words
from quail.programs.daemontools.chain import go_on
from quail.programs.run import program, say
from quail.supervise.numbers import wrapped

_ALL_MEMORY = (resource.RLIMIT_DATA, resource.RLIMIT_STACK, resource.RLIMIT_MEMLOCK, resource.RLIMIT_AS)
_LIMITS = {
    "a": (resource.RLIMIT_AS,),
    "c": (resource.RLIMIT_CORE,),
    "d": (resource.RLIMIT_DATA,),
    "f": (resource.RLIMIT_FSIZE,),
    "l": (resource.RLIMIT_MEMLOCK,),
    "m": _ALL_MEMORY,
    "o": (resource.RLIMIT_NOFILE,),
    "p": (resource.RLIMIT_NPROC,),
    "r": (resource.RLIMIT_RSS,),
    "s": (resource.RLIMIT_STACK,),
    "t": (resource.RLIMIT_CPU,),
}
_INFINITY = (1 << 64) - 1


@program("softlimit")
def main(args: list[bytes]) -> None:
    left = list(args)
    while left and left[0][:1] == b"-" and len(left[0]) > 1:
        word = left.pop(0)[1:]
        if word[:1] == b"-":  # whatever comes behind it
            break
        letter, value = word[:1].decode("latin-1"), word[1:]
        if letter not in _LIMITS:
            say(f"softlimit: illegal option -- {letter}")
            raise UsageError
        if not value:
            if not left:
                say(f"softlimit: option requires an argument -- {letter}")
                raise UsageError
            value = left.pop(0)
        for which in _LIMITS[letter]:
            _limit(which, value)
    if not left:
        raise UsageError
    # Not in this very process: what it has in memory already, a new program might not get.
    go_on(left, anew=True)


def _limit(which: int, value: bytes) -> None:
    try:
        hard = resource.getrlimit(which)[1]
    except OSError as error:
        raise TemporaryError(f"getrlimit failed: {words(error)}") from error
    most = _INFINITY if hard == resource.RLIM_INFINITY else hard
    if value == b"=":
        soft = most
    elif value.isdigit() or not value:
        soft = min(wrapped(value), most)
    else:
        raise UsageError
    try:
        resource.setrlimit(which, (resource.RLIM_INFINITY if soft == _INFINITY else soft, hard))
    except (OSError, ValueError, OverflowError) as error:
        reason = words(error) if isinstance(error, OSError) else str(error)
        raise TemporaryError(f"setrlimit failed: {reason}") from error


if __name__ == "__main__":
    main()
