"""usage: svscanboot

Stop what is supervised already, then run svscan in /service, and readproctitle, which shows in lists of processes what
svscan and its children have said last. Meant for inittab. Ends when both have ended.
"""

import os

from quail.programs.become import run_program
from quail.programs.run import program

PATH = b"/command:/usr/local/bin:/usr/local/sbin:/bin:/sbin:/usr/bin:/usr/sbin:/usr/X11R6/bin"
_PLACES = (b"/service", b"/etc/service")  # the second is Debian's
_TITLE = (b"readproctitle", b"service", b"errors:", b"." * 400)
_CANT_START = 111


@program("svscanboot")
def main(_args: list[bytes]) -> int:
    _close_all()
    os.environb[b"PATH"] = PATH
    place = next(filter(os.path.isdir, _PLACES), _PLACES[0])
    stop = _fork([b"svc", b"-dx", *_services(place)], dict(os.environb))
    os.waitpid(stop, 0)
    read, write = os.pipe2(os.O_CLOEXEC)
    # readproctitle writes into its own arguments: it needs the whole of them, so it is exec'd, whosever it is.
    title = _fork(list(_TITLE), {b"PATH": PATH}, stdin=read, by_exec=True)
    scan = _fork([b"svscan", place], {b"PATH": PATH}, output=write, closing=read)
    os.close(read)
    os.close(write)
    for pid in (scan, title):
        os.waitpid(pid, 0)
    return 0


def _close_all() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if null > max(0, 1, 2):
        os.close(null)


def _services(place: bytes) -> list[bytes]:
    """As a shell would write out place/* and place/*/log."""
    try:
        names = sorted(name for name in os.listdir(place) if not name.startswith(b"."))
    except OSError:
        names = []
    paths = [place + b"/" + name for name in names]
    return paths + [path + b"/log" for path in paths if os.path.exists(path + b"/log")]


def _fork(
    argv: list[bytes],
    environ: dict[bytes, bytes],
    *,
    stdin: int | None = None,
    output: int | None = None,
    closing: int | None = None,
    by_exec: bool = False,
) -> int:
    """A child that becomes this program; its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        if stdin is not None:
            os.dup2(stdin, 0)
        if output is not None:
            os.dup2(output, 1)
            os.dup2(output, 2)
        for fd in (stdin, output, closing):
            if fd is not None:
                os.close(fd)
        if by_exec:
            os.execvpe(argv[0], argv, environ)  # noqa: S606  no shell is meant
        run_program(argv, environ)
    except OSError:
        pass  # there is nobody to be told: all output is closed
    finally:
        os._exit(_CANT_START)


if __name__ == "__main__":
    main()
