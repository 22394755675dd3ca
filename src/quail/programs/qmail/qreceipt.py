"""usage: qreceipt address

In a dot-qmail file: if the message has a Notice-Requested-Upon-Delivery-To field with exactly this address, send a note to its
sender that it has been delivered. Exit 0; 100 if $SENDER is not set or the note is refused for good; 111 if it is not queued
now.
"""

import os

from quail.delivery.resend import queue, variable
from quail.errors import PeerError, QuailError, TemporaryError
from quail.message.address import quote
from quail.message.addresslist import Hosts, rewrite
from quail.message.header import Field, Splitter
from quail.oserrors import words
from quail.programs.run import READ_SIZE, home, program

_FIELD = b"notice-requested-upon-delivery-to"
_NO_SENDERS = (b"", b"#@[]")  # bounces, and bounces of these


@program("qreceipt", takes=(1, None))
def main(args: list[bytes]) -> int:
    address = args[0]
    sender = variable("SENDER")
    fields = _header()
    if sender not in _NO_SENDERS and any(_asks(field, address) for field in fields):
        ids = [field.text for field in fields if field.name == b"message-id"]
        queue(b"", [sender], [_notice(sender, address, ids[-1:])], home=home())
    return 0


def _header() -> list[Field]:
    splitter = Splitter()
    try:
        while data := os.read(0, READ_SIZE):
            if splitter.feed(data) is not None:
                return splitter.fields
    except OSError as error:
        raise TemporaryError(f"unable to read message: {words(error)}") from error
    splitter.finish()
    return splitter.fields


def _asks(field: Field, address: bytes) -> bool:
    if field.name != _FIELD:
        return False
    hosts = Hosts(_nothing, _nothing, _nothing)  # addresses are compared as they are
    try:
        return address in rewrite(field.body(), hosts)[1]
    except (PeerError, QuailError):
        return False


def _nothing() -> bytes:
    return b""


def _notice(sender: bytes, address: bytes, message_id: list[bytes]) -> bytes:
    mailbox = quote(sender).replace(b"\n", b"_")
    return (
        b"From: DELIVERY NOTICE SYSTEM <%b>\nTo: <%b>\nSubject: success notice\n\n" % (mailbox, mailbox)
        + b"This is the qreceipt program, with the notice that you asked for: your message was\ndelivered to %b.\n"
        % address
        + b"".join(b"It had this " + text for text in message_id)
    )


if __name__ == "__main__":
    main()
