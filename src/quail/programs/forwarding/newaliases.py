"""usage: newaliases

Make /etc/aliases.cdb, which fastforward follows, of /etc/aliases. Exit 0; 100 if an address is too long, 111 for anything else
that is wrong: /etc/aliases.cdb stays as it was then.
"""

import os

from quail.cdb.maker import Maker
from quail.control.hosts import hosts
from quail.control.places import ALIASES
from quail.control.reader import Control
from quail.errors import PeerError, TemporaryError
from quail.forwarding.aliases import records
from quail.forwarding.database import TooLongError
from quail.programs.run import home, program, read_file, write_file


@program("newaliases")
def main(_args: list[bytes]) -> None:
    rebuild(ALIASES)


def rebuild(aliases: str) -> None:
    """Make the database of the file, beside it. PeerError, TemporaryError, ConfigError, in the program's words."""
    os.umask(0o033)
    data = read_file(aliases)
    maker = Maker()
    try:
        for key, value in records(data, hosts(Control(f"{home()}/control"))):
            maker.add(key, value)
    except TooLongError:
        raise
    except PeerError as error:
        raise TemporaryError(str(error)) from error
    write_file(f"{aliases}.cdb", f"{aliases}.tmp", maker.to_bytes())


if __name__ == "__main__":
    main()
