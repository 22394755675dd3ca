"""usage: envdir dir child

Run child with the environment changed as the files of dir say: each is a variable, its first line the value; an empty file
removes the variable. Exit 111 for a wrong call, if dir can't be read, or if child can't be run; else as child does.
"""

import os
from _collections_abc import Mapping

from quail.errors import EXIT_TEMPORARY, TemporaryError
from quail.oserrors import words
from quail.programs.daemontools.chain import go_on
from quail.programs.run import READ_SIZE, program, say


@program("envdir")
def main(args: list[bytes]) -> int:
    if len(args) < 2:
        say("envdir: usage: envdir dir child")
        return EXIT_TEMPORARY  # of all these programs only this one
    return go_on(args[1:], changed(os.environb, args[0]))


def changed(environ: Mapping[bytes, bytes], folder: bytes) -> dict[bytes, bytes]:
    """The environment as the folder's files say. A file whose name begins with = is left out: exec takes no such variable."""
    found = dict(environ)
    for setting in _settings(folder):
        name, equals, value = setting.partition(b"=")
        if name and equals:
            found[name] = value
        else:
            found.pop(name, None)
    return found


def _settings(folder: bytes) -> list[bytes]:
    """For each file NAME=VALUE, or NAME if it is empty."""
    shown = os.fsdecode(folder)
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise TemporaryError(f"unable to switch to directory {shown}: {words(error)}") from error
    try:
        names = [os.fsencode(name) for name in os.listdir(fd)]
    except OSError as error:
        raise TemporaryError(f"unable to read directory {shown}: {words(error)}") from error
    settings = []
    for name in names:
        if name[:1] == b".":
            continue
        try:
            data = _read(name, fd)
        except FileNotFoundError:
            data = b""  # it has just gone, or leads nowhere
        except OSError as error:
            raise TemporaryError(f"unable to read {shown}/{os.fsdecode(name)}: {words(error)}") from error
        value = data.partition(b"\n")[0].rstrip(b" \t").replace(b"\0", b"\n")
        settings.append(name + b"=" + value if data else name)
    os.close(fd)
    return settings


def _read(name: bytes, folder: int) -> bytes:
    """A FIFO is not waited for."""
    fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        parts = []
        while part := os.read(fd, READ_SIZE):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


if __name__ == "__main__":
    main()
