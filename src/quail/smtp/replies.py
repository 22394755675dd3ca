"""What the server says: enhanced codes (RFC 2034, 3463) in front, otherwise qmail-smtpd's words where it has some."""

from quail.smtp import body

OK = b"250 2.0.0 ok\r\n"
SENDER_OK = b"250 2.1.0 ok\r\n"
RECIPIENT_OK = b"250 2.1.5 ok\r\n"
FLUSHED = b"250 2.0.0 flushed\r\n"
GO_AHEAD = b"354 go ahead\r\n"
TRY = b"252 2.0.0 send some mail, i'll try my best\r\n"
HELP = b"214 2.0.0 https://www.rfc-editor.org/rfc/rfc5321\r\n"
TOO_BIG = b"552 5.3.4 sorry, that message size exceeds my databytes limit\r\n"
FAULTS = {
    body.BARE_LF: b"554 5.6.0 bare LF in the message: lines end with CR LF (RFC 5321 section 2.3.8)\r\n",
    body.BARE_CR: b"554 5.6.0 bare CR in the message: lines end with CR LF (RFC 5321 section 2.3.8)\r\n",
    body.LINE_TOO_LONG: b"554 5.6.0 sorry, a line of that message is too long (RFC 5321 section 4.5.3.1.6)\r\n",
    body.TOO_MANY_HOPS: b"554 5.4.6 too many hops, this message is looping\r\n",
    body.TOO_BIG: TOO_BIG,
}
SHUTDOWN = b"421 4.3.2 service shutting down, try again\r\n"
TIMEOUT = b"451 4.4.2 timeout\r\n"
TOO_MANY_BAD = b"421 4.7.0 sorry, too many bad commands\r\n"
TOO_MUCH_JUNK = b"421 4.7.0 sorry, too many commands that bring no mail\r\n"
TOO_MANY_RECIPIENTS = b"452 4.5.3 sorry, too many recipients; the others in a message of their own\r\n"
TROUBLE = b"451 4.3.0 sorry, trouble reading my lists; try again later\r\n"
LINE_TOO_LONG = b"500 5.5.2 command line too long\r\n"
BAD_LINE_END = b"500 5.5.2 command lines end with CR LF, and no other CR or LF is in them (RFC 5321 section 2.3.8)\r\n"
UNIMPLEMENTED = b"502 5.5.1 unimplemented\r\n"
SAY_LHLO = b"500 5.5.1 this is LMTP: say LHLO (RFC 2033 section 4.1)\r\n"
MALFORMED = b"501 5.5.4 malformed parameter\r\n"
UNKNOWN = b"555 5.5.4 parameter not recognized or not implemented\r\n"
SYNTAX = b"555 5.5.4 syntax error\r\n"
MAIL_FIRST = b"503 5.5.1 MAIL first\r\n"
RCPT_FIRST = b"503 5.5.1 RCPT first\r\n"
BAD_SENDER = b"553 5.1.7 sorry, that sender address has a control character\r\n"
BAD_RECIPIENT = b"553 5.1.3 sorry, that recipient address is empty or has a control character\r\n"
BADMAILFROM = b"553 5.7.1 sorry, your envelope sender is in my badmailfrom list\r\n"
NO_RELAY = b"553 5.7.1 sorry, that domain isn't in my list of allowed rcpthosts\r\n"
