"""usage: datemail [ sendmail's options ] [ recipient ... ]

sendmail, with a Date field of now, in the local time zone, before the message. Exits as sendmail does; 111 if stdin can't be
read.
"""

from quail.programs.qmail.predate import date_field
from quail.programs.qmail.sendmail import send
from quail.programs.run import program
from quail.storage.spool import replace_input


@program("datemail")
def main(args: list[bytes]) -> int:
    replace_input(date_field())
    send(args)
    return 0


if __name__ == "__main__":
    main()
