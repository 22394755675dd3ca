"""usage: qmail-lmtp [ -drDR ] server [ recipient ... ]

In a dot-qmail file: hand the message over to an LMTP server, with the lines of qmail-local's $RPLINE (Return-Path) and $DTLINE
(Delivered-To) in front; -r, -d leave one out. The server is the path of its Unix socket, or host:port. Without a recipient
the message is for $RECIPIENT. Exit 0 if every recipient has it; 111 if one may have it later; else 100.
"""

import _signal as signal  # type: ignore[import-not-found]  # the public module costs 5 ms for its enums
import os

from quail.control.reader import Control
from quail.control.routes import LMTP, Relay, parse_relay
from quail.delivery.lmtp import Handover, connect, lines
from quail.delivery.remote.message import Mail, UnreadableError, whole
from quail.errors import EXIT_PERMANENT, EXIT_TEMPORARY, ConfigError, PermanentError, TemporaryError, UsageError
from quail.programs.run import home, program, say
from quail.smtp.client import MAX_RECIPIENTS, sendable

_DOUBLE_BOUNCE = b"#@[]"  # a sender that is no address anywhere else: nobody is to hear of this mail again
_LINES = {"r": "RPLINE", "d": "DTLINE"}


@program("qmail-lmtp", takes=(1, None))
def main(args: list[bytes]) -> int:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    prefix, server, recipients = _read(args)
    recipients = recipients or [_variable("RECIPIENT")]
    sender = _variable("SENDER")
    sender = b"" if sender == _DOUBLE_BOUNCE else sender
    if len(recipients) > MAX_RECIPIENTS or not (sendable(sender) and all(map(sendable, recipients))):
        raise PermanentError("an address can't be sent, or there are too many of them")
    control = Control(f"{home()}/control")
    helo, patience = control.required("helohost"), control.integer("timeoutremote")
    try:
        mail = Mail(b"", sender, recipients, b"", whole(0))
        connection = connect(server, control.integer("timeoutconnect"), lambda text: say(f"qmail-lmtp: {text}"))
        handover = Handover(connection, helo, patience)
        told = handover.send(mail, prefix)
        handover.quit()
    except UnreadableError as error:
        raise TemporaryError("unable to read message") from error
    for line in lines(mail, told):
        say(f"qmail-lmtp: {line}")
    codes = [reply.code if reply is not None else 0 for reply in told]
    if any(code < 200 or 400 <= code < 500 for code in codes):
        return EXIT_TEMPORARY
    return EXIT_PERMANENT if any(code >= 500 for code in codes) else 0


def _read(args: list[bytes]) -> tuple[bytes, Relay, list[bytes]]:
    """What goes in front, and who is meant."""
    wanted = dict.fromkeys(_LINES, True)
    left = list(args)
    while left and left[0][:1] == b"-" and len(left[0]) > 1:
        letters = left.pop(0)[1:].decode("latin-1")
        if letters == "-":
            break
        for letter in letters:
            if letter.lower() not in wanted:
                raise UsageError
            wanted[letter.lower()] = letter.isupper()
    if not left:
        raise UsageError
    server, *recipients = left
    try:
        relay = parse_relay("server", 0, LMTP.encode() + b":" + server)
    except ConfigError as error:
        raise UsageError(f"{os.fsdecode(server)} is no LMTP server: write its path, or host:port") from error
    assert relay is not None
    if relay.protocol != LMTP:  # digits alone
        raise UsageError(f"{os.fsdecode(server)} is no LMTP server: write its path, or host:port")
    return b"".join(_variable(name) for letter, name in _LINES.items() if wanted[letter]), relay, recipients


def _variable(name: str) -> bytes:
    """What qmail-local has set for us."""
    value = os.environb.get(name.encode())
    if value is None:
        raise PermanentError(f"{name} not set")
    return value


if __name__ == "__main__":
    main()
