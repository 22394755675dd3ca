"""usage: qail [ arg ... ]

maildir2mbox, and then Mail, or mail where there is no Mail, with these arguments. Exit 111 if the mail can't be moved or the
program can't be run; else as the program does.
"""

from quail.programs.qmail import maildir2mbox
from quail.programs.run import program


@program("qail")
def main(args: list[bytes]) -> None:
    maildir2mbox.read_with((b"Mail", b"mail"), args)


if __name__ == "__main__":
    main()
