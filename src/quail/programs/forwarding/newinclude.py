"""usage: newinclude list

Make list.bin, a binary mailing list that fastforward follows, of an :include: file, by way of list.tmp. Exit 0; 100 for a wrong
call, 111 for anything else that is wrong: list.bin stays as it was then.
"""

import os

from quail.control.hosts import hosts
from quail.control.reader import Control
from quail.errors import PeerError, TemporaryError, UsageError
from quail.forwarding.maillist import of_include
from quail.programs.run import home, program, read_file, write_file


@program("newinclude")
def main(args: list[bytes]) -> None:
    if not args:
        raise UsageError
    os.umask(0o033)
    path = os.fsdecode(args[0])
    data = read_file(path)
    try:
        entries = [*of_include(data, hosts(Control(f"{home()}/control"), os.environb))]
    except PeerError as error:
        raise TemporaryError(str(error)) from error
    write_file(f"{path}.bin", f"{path}.tmp", b"".join(entries))


if __name__ == "__main__":
    main()
