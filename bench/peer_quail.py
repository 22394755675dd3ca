"""Quail from this checkout, with what `quail init --single` writes: recipients checked, every event logged (to a file).

It runs on the root's own Python as an ordinary user of the box. To hold what it accepts, the bench sets concurrencylocal
to 0: the queue then does all that it does at accept, delivery is never started, and nothing is left out of the accept path.
"""

import json
import os

from tests.root.box import Box, Guest
from tests.root.testroot import QUAIL, QUAIL_ENVIRONMENT, TESTER


class Quail:
    """One home in `folder`, which the box has as /srv. Nothing is left to stop but the box."""

    name = "Quail"
    port = 2525
    recipient = "tester@localhost"

    def __init__(self, folder: str, *, held: bool) -> None:
        """`held`: accepted messages stay queued."""
        self.folder, self.held, self.maildir = folder, held, folder + "/home/mail/tester/Maildir/new"
        os.chown(folder, TESTER, TESTER)

    def quail(self, box: Box, *words: str) -> str:
        """Run the quail command in the box; what it prints."""
        return box.run([*QUAIL, *words], user=TESTER, env=QUAIL_ENVIRONMENT, timeout=3600).stdout

    def start(self, box: Box, tracer: tuple[str, ...] = ()) -> Guest:
        """Make the home and serve it in the foreground of the box, below `tracer` if given."""
        self.quail(box, "init", "--single", "/srv/home")
        if self.held:
            self.quail(box, "--home", "/srv/home", "config", "set", "concurrencylocal", "0")
        return self.serve(box, tracer)

    def serve(self, box: Box, tracer: tuple[str, ...] = ()) -> Guest:
        """Serve the home that start() made."""
        log = os.open(self.folder + "/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            return box.popen(
                [*tracer, *QUAIL, "serve", "--home", "/srv/home"],
                user=TESTER,
                env=QUAIL_ENVIRONMENT,
                stdout=log,
                stderr=log,
            )
        finally:
            os.close(log)

    def queued(self, box: Box) -> int:
        """Messages that were accepted and are held."""
        lines = self.quail(box, "queue", "list", "--json", "--home", "/srv/home").splitlines()
        return sum(1 for line in lines if json.loads(line))

    def version(self, box: Box) -> str:
        return self.quail(box, "--version").split()[-1]
