"""usage: bouncesaying error [ program [ arg ... ] ]

In a dot-qmail file: return the message to its sender with this error, if the program, run with the message, exits with 0, or
there is none. Exit 100 then; 111 if the program exits with 111 or is killed; else 0.
"""

import os

from quail.delivery.command import succeeds
from quail.errors import EXIT_PERMANENT
from quail.programs.run import program, say


@program("bouncesaying", takes=(1, None))
def main(args: list[bytes]) -> int:
    if args[1:] and not succeeds(args[1:]):
        return 0
    say(os.fsdecode(args[0]), verbatim=True)  # a report may have several lines
    return EXIT_PERMANENT


if __name__ == "__main__":
    main()
