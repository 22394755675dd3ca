"""What authd has a process of the user do with a client that has logged in (services/authd/settings.py says how it is
called).
"""

from quail.control.reader import Control
from quail.services.popd.session import UNAVAILABLE, MaildirError, serve

NO_HOME = b"-ERR [SYS/PERM] unable to enter the home of this user\r\n"


def prepare(control: Control) -> "Visit":
    """Read what sessions go by; ConfigError, TemporaryError."""
    return Visit(quirks=bool(control.integer("pop3quirks")))


class Visit:
    """See Serve of services/authd/settings.py."""

    __slots__ = ("_quirks",)

    def __init__(self, *, quirks: bool) -> None:
        self._quirks = quirks

    def __call__(self, client: int, maildir: str, rest: bytes, /) -> str:
        """Serve the client."""
        try:
            served = serve(client, client, maildir, rest=rest, quirks=self._quirks, missing_ok=True)
        except MaildirError as error:
            return str(error)
        words = f"{served.reason}, {served.sent} sent, {served.removed} removed"
        return f"{words}, {len(served.failures)} could not be removed" if served.failures else words

    @staticmethod
    def excuse(*, lasting: bool) -> bytes:
        """See Serve."""
        return NO_HOME if lasting else UNAVAILABLE
