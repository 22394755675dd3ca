"""usage: predate program [ arg ... ]

Run the program with a Date field, of now and in the local time zone, before what is on stdin. Exits as the program does; 100 if
there is none; 111 if it can't be run or is killed, or stdin can't be read.
"""

import time

from quail.delivery.command import feed
from quail.errors import PermanentError, TemporaryError
from quail.message.dates import local
from quail.programs.run import program


@program("predate", takes=(1, None))
def main(args: list[bytes]) -> int:
    try:
        return feed(args, date_field(), must_read=False)
    except PermanentError as error:
        raise TemporaryError(str(error)) from error


def date_field() -> bytes:
    return b"Date: %b\n" % local(time.time())


if __name__ == "__main__":
    main()
