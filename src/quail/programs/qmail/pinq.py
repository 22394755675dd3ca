"""usage: pinq [ arg ... ]

maildir2mbox, and then pine, or alpine where there is no pine, with these arguments. Exit 111 if the mail can't be moved or the
program can't be run; else as the program does.
"""

from quail.programs.qmail import maildir2mbox
from quail.programs.run import program


@program("pinq")
def main(args: list[bytes]) -> None:
    maildir2mbox.read_with((b"pine", b"alpine"), args)


if __name__ == "__main__":
    main()
