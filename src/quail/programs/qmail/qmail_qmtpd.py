"""usage: qmail-qmtpd

Serves one QMTP client on descriptors 0 and 1 (qmail-qmtpd(8)), under tcpserver with $TCPREMOTEIP and the like, and hands its
mail to the queue service, or to $QMAILQUEUE. Exit 0 at the client's end, 100 when it does not speak QMTP, 111 for trouble here.
"""

import os

from quail.control.reader import Control
from quail.policy.qmtp import Rules
from quail.programs.run import enter_home, program, say
from quail.qmtp.server import Session
from quail.services.qmtpd.alone import Alone
from quail.users.judge import judge

SERVES_AGAIN = True  # see call_again() of become.py


@program("qmail-qmtpd", takes=0)
def main(_args: list[bytes]) -> int:
    enter_home()
    control = Control()
    session = Session(Rules(control).settings(os.environb))
    return Alone(session, b"QMTP", _tell, judge(control, _tell)).serve()


def _tell(text: str) -> None:
    say(f"qmail-qmtpd: {text}")


if __name__ == "__main__":
    main()
