"""usage: maildirmake dir

Make a Maildir (maildir(5)). Exit 0, 100 if none is named, or 111 with the reason if it can't be made; nothing that is there is
changed.
"""

import os

from quail.errors import TemporaryError
from quail.oserrors import words
from quail.programs.run import program
from quail.storage import maildir
from quail.storage.calls import REAL


@program("maildirmake", takes=(1, None))
def main(args: list[bytes]) -> None:
    folder = os.fsdecode(args[0])
    try:
        maildir.make(REAL, folder)
    except OSError as error:
        raise TemporaryError(f"unable to make {folder}: {words(error)}") from error


if __name__ == "__main__":
    main()
