"""usage: qmail-qmqpd

Takes one message by QMQP on descriptors 0 and 1 (qmail-qmqpd(8)), under tcpserver with $TCPREMOTEIP and the like, for anybody
anywhere, and hands it to the queue service, or to $QMAILQUEUE. Exit 0 at the end, 100 when the client does not speak QMQP, 111
for trouble here.
"""

from quail.programs.run import enter_home, program, say
from quail.qmqp.server import Session
from quail.services.qmtpd.alone import Alone

SERVES_AGAIN = True  # see call_again() of become.py


@program("qmail-qmqpd", takes=0)
def main(_args: list[bytes]) -> int:
    enter_home()
    return Alone(Session(), b"QMQP", lambda text: say(f"qmail-qmqpd: {text}")).serve()


if __name__ == "__main__":
    main()
