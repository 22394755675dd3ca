"""usage: forward address ...

In a dot-qmail file: send the message on to the addresses, with the sender of qmail-local's $NEWSENDER and its $DTLINE in front.
Says `forward: qp N` on stderr. Exit 0; 100 if it is refused for good or a variable is not set; 111 if it is not queued now.
"""

from quail.delivery.resend import message, queue, variable
from quail.programs.run import home, program, say


@program("forward")
def main(args: list[bytes]) -> int:
    dtline, sender = variable("DTLINE"), variable("NEWSENDER")
    number = queue(sender, args, message(dtline), home=home())
    say(f"forward: qp {number}")
    return 0


if __name__ == "__main__":
    main()
