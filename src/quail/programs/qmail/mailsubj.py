"""usage: mailsubj subject recipient ...

Send what is on stdin to the recipients, with this Subject, by way of qmail-inject, whose exit codes and words it has. Exit 100
too without a subject, 111 if stdin can't be read.
"""

from quail.programs.qmail.sendmail import inject
from quail.programs.run import program
from quail.storage.spool import replace_input


@program("mailsubj", takes=(1, None))
def main(args: list[bytes]) -> int:
    replace_input(b"Subject: %b\nTo: %b\n\n" % (args[0], b" ".join(args[1:])))
    inject([])
    return 0


if __name__ == "__main__":
    main()
