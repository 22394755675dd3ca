"""What authd has a process of the user do with a client that has logged in (services/authd/settings.py says how it is
called).
"""

from collections.abc import Callable

from quail.control.reader import Control
from quail.services.popd.session import MaildirError, serve


def prepare(control: Control) -> Callable[[int, str, bytes], str]:
    """Read what sessions go by; ConfigError, TemporaryError."""
    quirks = bool(control.integer("pop3quirks"))

    def visit(client: int, maildir: str, rest: bytes) -> str:
        try:
            served = serve(client, client, maildir, rest=rest, quirks=quirks, missing_ok=True)
        except MaildirError as error:
            return str(error)
        words = f"{served.reason}, {served.sent} sent, {served.removed} removed"
        return f"{words}, {len(served.failures)} could not be removed" if served.failures else words

    return visit
