"""usage: setmaillist list.bin list.tmp

Make a binary mailing list, which fastforward follows, of the lines on stdin, by way of list.tmp in the same file system. Exit
0; 100 for a wrong call, 111 for anything else that is wrong: list.bin stays as it was then.
"""

import os

from quail.errors import PeerError, TemporaryError, UsageError
from quail.forwarding.maillist import of_lines
from quail.programs.run import program, read_input, write_file


@program("setmaillist")
def main(args: list[bytes]) -> None:
    if len(args) < 2:
        raise UsageError
    os.umask(0o033)
    path, tmp = map(os.fsdecode, args[:2])
    try:
        entries = [*of_lines(read_input())]
    except PeerError as error:
        raise TemporaryError(str(error)) from error
    write_file(path, tmp, b"".join(entries))


if __name__ == "__main__":
    main()
