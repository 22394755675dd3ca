"""usage: config-fast name

Write the control files that mail for the host NAME begins with: me, defaultdomain, plusdomain, locals, rcpthosts. Exit 0; 100
if the name is none, or one of the files is there and says something else, and then nothing is written; 111 if they can't be
written. Source: the page config-fast(8).
"""

import os

from quail.control.domain import default_domain, fit_domain, plus_domain
from quail.control.reader import read_file
from quail.control.table import TABLE
from quail.errors import PermanentError, TemporaryError
from quail.oserrors import words
from quail.programs.run import enter_home, home, output, program
from quail.storage.durable import replace_file


@program("config-fast", takes=1)
def main(args: list[bytes]) -> None:
    name = fit_domain(os.fsdecode(args[0]))
    enter_home()
    set_up(name, [name])


def set_up(name: str, domains: list[str]) -> None:
    """Write the files for a host and the domains that are its own; the home is the current directory.

    PermanentError if one of them is there with other content. TemporaryError.
    """
    listed = "".join(f"{domain}\n" for domain in domains)
    texts = {
        "me": f"{name}\n",
        "defaultdomain": f"{default_domain(name)}\n",
        "plusdomain": f"{plus_domain(name)}\n",
        "locals": listed,
        "rcpthosts": listed,
    }
    wanted = {f"control/{TABLE[file].name}": text.encode() for file, text in texts.items()}
    there = {path: data for path in wanted if (data := read_file(path)) is not None}
    others = [path for path, data in there.items() if data != wanted[path]]
    if others:
        raise PermanentError(
            f"{', '.join(others)} in {home()} would be changed: nothing is written. Change files with quail config set, or"
            " move them away first"
        )
    mask = os.umask(0o022)
    try:
        for path, data in wanted.items():
            if path not in there:
                replace_file(path, data)
                output(f"{path}: {', '.join(data.decode().split())}\n".encode())
    except OSError as error:
        raise TemporaryError(f"unable to write {home()}/{path}: {words(error)}") from error
    finally:
        os.umask(mask)
    output(
        f"Mail from outside is taken for {', '.join(domains)} alone: control/rcpthosts names what else is to be.\n".encode()
    )


if __name__ == "__main__":
    main()
