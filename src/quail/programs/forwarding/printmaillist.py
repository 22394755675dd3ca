"""usage: printmaillist

Write the binary mailing list on stdin as lines, which setmaillist reads. Exit 0; 100 if it is no such list, 111 if it can't be
read, or the lines not be written.
"""

import os

from quail.errors import TemporaryError
from quail.forwarding.maillist import printed
from quail.oserrors import words
from quail.programs.run import READ_SIZE, output, program


@program("printmaillist")
def main(_args: list[bytes]) -> None:
    for text in printed(_read):
        output(text)


def _read() -> bytes:
    try:
        return os.read(0, READ_SIZE)
    except OSError as error:
        raise TemporaryError(f"unable to read input: {words(error)}") from error


if __name__ == "__main__":
    main()
