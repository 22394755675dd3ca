"""What the users service answers about an envelope recipient, for a server that runs alone and asks no service."""

import os
from _collections_abc import Callable

from quail.control.reader import Control
from quail.message.address import split
from quail.message.routing import LOCAL, Routes
from quail.net.users_protocol import KNOWN, TROUBLE
from quail.users import rcpt
from quail.users.forwarded import Forwarded
from quail.users.owners import Owners


def judge(control: Control, complain: Callable[[str], object]) -> Callable[[bytes], bytes]:
    """A function from an address to a letter of users_protocol. The current directory is the home.

    complain is told why nobody can tell about an address. TemporaryError if a control file is malformed or can't be read.
    """
    routes = Routes(
        control.lines("locals"),
        control.pairs("virtualdomains"),
        control.lines("percenthack"),
        control.required("envnoathost"),
    )
    owners = Owners(control.line("mode") == b"system", home=os.getcwd())
    forwarded = Forwarded()

    def letter_of(address: bytes) -> bytes:
        where, rewritten = routes.route(address)
        if where != LOCAL:
            return KNOWN
        local, host = split(rewritten)
        letter, text = rcpt.check(local, owners.find, host=host, forwarded=forwarded)
        if letter == TROUBLE:
            complain(f"can't tell about {address!r}: {os.fsdecode(text)}")
        return letter

    return letter_of
