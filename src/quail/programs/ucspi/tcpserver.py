"""usage: tcpserver [ -461UXpPhHrRoOdDqQv ] [ -c limit ] [ -x rules.cdb ] [ -B banner ] [ -g gid ] [ -u uid ] [ -b backlog ] [ -l localname ] [ -t timeout ] [ -I interface ] host port program

Accepts TCP connections and runs program for each, with the connection as its descriptors 0 and 1 (tcpserver(1)). Exit 0 after a
TERM, 100 for a wrong call, 111 if the port can't be had.
"""  # noqa: E501  the usage line is the original's

import os

from quail.errors import EXIT_PERMANENT, QuailError, UsageError
from quail.net.ucspi import without
from quail.programs.become import call_again, preload, spawn_program
from quail.programs.run import output, program
from quail.services.tcpserver.child import Child
from quail.services.tcpserver.listening import drop_privileges, listen
from quail.services.tcpserver.parent import Parent, fill_standard, hand_over
from quail.services.tcpserver.settings import SILENT, Settings


@program("tcpserver")
def main(args: list[bytes]) -> int:
    settings = Settings()
    try:
        settings.read(args, os.environb)
        fill_standard()
        listener = listen(settings)
        child = Child(settings, call_again)
        ours = preload(settings.command)
        drop_privileges(settings)
        parent = Parent(settings, listener, child, None if ours else spawn_program, without(os.environb))
        hand_over(settings, listener, output)
        parent.serve()
    except QuailError as error:
        if settings.verbosity != SILENT:
            raise
        return EXIT_PERMANENT if isinstance(error, UsageError) else error.exit_code


if __name__ == "__main__":
    main()
