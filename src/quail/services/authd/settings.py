"""What authd reads from control files, and what sessions are."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from quail.control.reader import Control


class Serve(Protocol):
    """What sessions of a service do."""

    def __call__(self, client: int, maildir: str, rest: bytes, /) -> str:
        """Serve one client on a descriptor, out of a Maildir, going on from what the client has sent already; what came of
        it, for the log. Runs as the user, in the user's home.
        """

    def excuse(self, *, lasting: bool) -> bytes:
        """What a client hears who has been accepted and can't be served; lasting: until somebody mends something."""


Prepare = Callable[[Control], Serve]
"""A service's function on the top level of a module, which reads what it needs of the control files, while that can be
done.
"""

HERE = b"./Maildir/"  # where mail is unless control/defaultdelivery has another Maildir


class Settings:
    """maildir: of every user, as seen from the home. checkpassword: the words of a program that is to judge instead of us;
    empty for none. most: sessions at once.
    """

    __slots__ = ("checkpassword", "maildir", "most", "serves")

    def __init__(self, control: Control, services: Mapping[bytes, Prepare]) -> None:
        """ConfigError, TemporaryError."""
        self.maildir = maildir_of(control.lines("defaultdelivery"))
        self.checkpassword = (control.line("checkpassword") or b"").split()
        self.most = control.integer("concurrencypop3")
        self.serves = {name: prepare(control) for name, prepare in services.items()}


def maildir_of(lines: Sequence[bytes]) -> str:
    """The first Maildir of a default delivery (dot-qmail(5)), where sessions look for mail."""
    for line in lines:
        place = line.rstrip(b" \t")
        if place[:1] in {b".", b"/"} and place[-1:] == b"/":
            return os.fsdecode(place.rstrip(b"/") or b"/")
    return os.fsdecode(HERE.rstrip(b"/"))
