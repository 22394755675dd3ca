"""Quail from this checkout, with what `quail init` writes: recipients checked, every event logged (to a file).

It runs on the root's own Python. To hold what it accepts, the bench sets concurrencylocal to 0: the queue then does all that
it does at accept, delivery is never started, and nothing is left out of the accept path.
"""

import json
import os

from bench.accounts import HOMES, PASSWORD, Accounts
from bench.world import RELAY, World
from tests.root.box import Box, Guest
from tests.root.testroot import QUAIL, QUAIL_ENVIRONMENT, TESTER

RULES = "/etc/tcprules.d/qmail-smtp"


class Quail:
    """One single home in `folder`, which the box has as /srv, served by an ordinary user. Leaving the box stops it."""

    name = "Quail"
    port = 2525
    recipient = "tester@localhost"

    def __init__(self, folder: str, *, held: bool) -> None:
        """`held`: accepted messages stay queued."""
        self.folder, self.held, self.maildir = folder, held, folder + "/home/mail/tester/Maildir/new"
        self.binds = {folder: "/srv"}
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
        return _serve(self.folder, box, [*tracer, *QUAIL, "serve", "--home", "/srv/home"], TESTER, QUAIL_ENVIRONMENT)

    def queued(self, box: Box) -> int:
        """Messages that were accepted and are held."""
        lines = self.quail(box, "queue", "list", "--json", "--home", "/srv/home").splitlines()
        return sum(1 for line in lines if json.loads(line))

    def version(self, box: Box) -> str:
        return self.quail(box, "--version").split()[-1]


class SystemQuail:
    """The mail system of a machine: a system home at its usual place, served by root, and the code installed as for everybody.

    Installed means a copy in the box, which `quail init` compiles: into the checkout it can't write there, and a program that
    starts for one message would compile what it imports each time.
    """

    name = "Quail"
    port = 25
    domain = "bench.test"
    home = "/var/qmail"
    sendmail = home + "/bin/sendmail"
    _code = "/usr/local/lib/quail"

    def __init__(self, folder: str, users: int) -> None:
        """Make homes for so many users."""
        self.folder = folder
        self.binds = {folder: "/srv", folder + "/qmail": self.home, folder + "/homes": HOMES}
        for name in ("qmail", "homes"):
            os.mkdir(f"{folder}/{name}")
        self.accounts = Accounts(folder + "/homes", users)
        self._environment = {"PYTHONPATH": ":".join(f"{self._code}/{part}" for part in ("src", "packages"))}

    def start(self, box: Box, tracer: tuple[str, ...] = ()) -> Guest:
        """Make the home and serve it in the foreground of the box, below `tracer` if given."""
        self.accounts.enrol(box)
        box.run(["sh", "-c", f"mkdir {self._code} && cp -r /opt/quail/src /opt/quail/packages {self._code}"])
        self._quail(box, "init", "--system", self.domain, "--home", self.home)
        self._set_up(box)
        return _serve(self.folder, box, [*tracer, *self._words()], 0, self._environment)

    def _words(self) -> list[str]:
        """What serves."""
        return [*QUAIL, "serve", "--home", self.home]

    def _set_up(self, box: Box) -> None:
        """What differs from a new home."""

    def _quail(self, box: Box, *words: str) -> str:
        return box.run([*QUAIL, *words], env=self._environment).stdout

    def version(self, box: Box) -> str:
        return self._quail(box, "--version").split()[-1]


class RemoteQuail(SystemQuail):
    """The same, beside a World; port 25 is that of the world's hosts, and the load may relay."""

    port = 2525

    def __init__(self, folder: str, *, relay: bool) -> None:
        """`relay`: all mail for others goes to one host; else where the name server says."""
        super().__init__(folder, 1)
        self._settings = {"listen": f"smtp 127.0.0.1:{self.port}"}
        if relay:
            self._settings["smtproutes"] = f":{RELAY}"

    def start(self, box: Box, tracer: tuple[str, ...] = ()) -> Guest:
        """Start the world too."""
        self.world = World(box, self.folder)
        return super().start(box, tracer)

    def _set_up(self, box: Box) -> None:
        for name, value in self._settings.items():
            self._quail(box, "--home", self.home, "config", "set", name, value)
        # As README says; serve has not been started yet.
        box.run(["sh", "-c", f"cat > {RULES}"], data='127.:allow,RELAYCLIENT=""\n:allow\n')
        box.run(["sh", "-c", f"{self.home}/bin/tcprules {RULES}.cdb {RULES}.tmp < {RULES}"])


class CrowdedQuail(SystemQuail):
    """The same, for many clients at once, which its defaults allow."""

    most_connections = 10_000

    def __init__(self, folder: str) -> None:
        super().__init__(folder, 2)


class Pop3Quail(SystemQuail):
    """The same with POP3, and a password of Quail's own for user000."""

    port = 110

    def __init__(self, folder: str) -> None:
        super().__init__(folder, 1)

    def _set_up(self, box: Box) -> None:
        lines = ("smtp 127.0.0.1:25", f"pop3 127.0.0.1:{self.port}")
        self._quail(box, "--home", self.home, "config", "set", "listen", *lines)
        words = [*QUAIL, "--home", self.home, "user", "passwd", self.accounts.names[0]]
        box.run(words, env=self._environment, data=f"{PASSWORD}\n" * 2)


def _serve(folder: str, box: Box, words: list[str], user: int, environment: dict[str, str]) -> Guest:
    log = os.open(folder + "/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return box.popen(words, user=user, env=environment, stdout=log, stderr=log)
    finally:
        os.close(log)
