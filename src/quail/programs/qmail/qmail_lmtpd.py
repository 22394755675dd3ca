"""usage: qmail-lmtpd

Serves one LMTP client on descriptors 0 and 1 (qmail-lmtpd(8)), under tcpserver, inetd or whatever listens on a Unix socket, and
hands its mail to the queue service, or to $QMAILQUEUE. Exit 0 after QUIT, 1 after any other end of the session.
"""

from quail.programs.qmail.qmail_smtpd import serve
from quail.programs.run import program

SERVES_AGAIN = True  # see call_again() of become.py


@program("qmail-lmtpd", takes=0)
def main(_args: list[bytes]) -> int:
    return serve("qmail-lmtpd", lmtp=True)


if __name__ == "__main__":
    main()
