"""Postfix as Debian builds it, with a configuration and folders of its own. It syncs each file that it queues or delivers.

What differs from its defaults is in its favour or makes the two sides alike: no chroot, local deliveries to one mailbox
20 at a time instead of 2, the log in a file as for Quail. Recipients are checked against the accounts (default).
"""

import os

from bench.accounts import HOMES, Accounts
from bench.world import RELAY, World
from tests.root.box import Box, Guest
from tests.root.testroot import TESTER

MAIN = """\
compatibility_level = 3.6
queue_directory = /srv/spool
data_directory = /srv/data
maillog_file = /srv/log
maillog_file_prefixes = /srv
myhostname = localhost
mydestination = localhost
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
biff = no
home_mailbox = Maildir/
local_destination_concurrency_limit = 20
"""
HOLD = "smtpd_recipient_restrictions = check_recipient_access static:HOLD, permit_mynetworks, reject\n"
MASTER = """\
{port:<10} inet  n  -  n  -     -  smtpd
pickup     unix  n  -  n  60    1  pickup
cleanup    unix  n  -  n  -     0  cleanup
qmgr       unix  n  -  n  300   1  qmgr
rewrite    unix  -  -  n  -     -  trivial-rewrite
bounce     unix  -  -  n  -     0  bounce
defer      unix  -  -  n  -     0  bounce
trace      unix  -  -  n  -     0  bounce
verify     unix  -  -  n  -     1  verify
flush      unix  n  -  n  1000? 0  flush
proxymap   unix  -  -  n  -     -  proxymap
proxywrite unix  -  -  n  -     1  proxymap
showq      unix  n  -  n  -     -  showq
error      unix  -  -  n  -     -  error
retry      unix  -  -  n  -     -  error
local      unix  -  n  n  -     -  local
smtp       unix  -  -  n  -     -  smtp
scache     unix  -  -  n  -     1  scache
anvil      unix  -  -  n  -     1  anvil
postlog    unix-dgram n - n -   1  postlogd
"""


class Postfix:
    """One installation in `folder`, which the box has as /srv. Nothing is left to stop but the box."""

    name = "Postfix"
    port = 25
    recipient = "tester@localhost"

    def __init__(self, folder: str, *, held: bool) -> None:
        """Write the configuration. `held`: accepted messages stay queued (in the hold queue)."""
        self.folder, self.held, self.maildir = folder, held, folder + "/home/Maildir/new"
        self.binds = {folder: "/srv"}
        _make_folders(folder, "home")
        os.chown(folder + "/home", TESTER, TESTER)
        _write_configuration(folder, MAIN + (HOLD if held else ""))

    def start(self, box: Box, tracer: tuple[str, ...] = ()) -> Guest:
        """Start it in the foreground of the box, below `tracer` if given."""
        box.run(["sh", "-c", "chown postfix /srv/data && usermod --home /srv/home tester"])
        return _start(self.folder, box, tracer, "/srv/etc")

    def queued(self, _box: Box) -> int:
        """Messages that were accepted and are held."""
        return sum(len(files) for _, _, files in os.walk(self.folder + "/spool/hold"))

    def version(self, box: Box) -> str:
        return box.run(["postconf", "-h", "mail_version"]).stdout.strip()


class SystemPostfix:
    """The mail system of a machine: the configuration in its usual place, so that sendmail works for everybody."""

    name = "Postfix"
    port = 25
    domain = "bench.test"
    sendmail = "/usr/sbin/sendmail"

    def __init__(self, folder: str, users: int, main: str = "") -> None:
        """Write the configuration, with these lines more in main.cf, and make homes for so many users."""
        self.folder = folder
        self.binds = {folder: "/srv", folder + "/homes": HOMES}
        _make_folders(folder, "homes")
        self.accounts = Accounts(folder + "/homes", users)
        _write_configuration(folder, MAIN.replace("localhost", self.domain) + main, self.port)

    def start(self, box: Box, tracer: tuple[str, ...] = ()) -> Guest:
        """Start it in the foreground of the box, below `tracer` if given."""
        self.accounts.enrol(box)
        box.run(["sh", "-c", "chown postfix /srv/data && cp /srv/etc/main.cf /srv/etc/master.cf /etc/postfix"])
        return _start(self.folder, box, tracer, "/etc/postfix")

    def version(self, box: Box) -> str:
        return box.run(["postconf", "-h", "mail_version"]).stdout.strip()


class RemotePostfix(SystemPostfix):
    """The same, beside a World; port 25 is that of the world's hosts."""

    port = 2525

    def __init__(self, folder: str, *, relay: bool) -> None:
        """`relay`: all mail for others goes to one host; else where the name server says."""
        super().__init__(folder, 1, f"relayhost = [{RELAY}]\n" if relay else "")

    def start(self, box: Box, tracer: tuple[str, ...] = ()) -> Guest:
        """Start the world too."""
        self.world = World(box, self.folder)
        return super().start(box, tracer)


class CrowdedPostfix(SystemPostfix):
    """The same, for many clients at once: each of them has a process."""

    most_connections = 1000

    def __init__(self, folder: str) -> None:
        """Let it have the processes."""
        super().__init__(folder, 2, f"default_process_limit = {self.most_connections + 100}\n")


def _make_folders(folder: str, homes: str) -> None:
    for name in ("etc", "spool", "data", homes):
        os.mkdir(f"{folder}/{name}")


def _write_configuration(folder: str, main: str, port: int = 25) -> None:
    for name, text in (("main.cf", main), ("master.cf", MASTER.format(port=port))):
        with open(f"{folder}/etc/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def _start(folder: str, box: Box, tracer: tuple[str, ...], configuration: str) -> Guest:
    log = os.open(folder + "/start.log", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return box.popen([*tracer, "postfix", "-c", configuration, "start-fg"], stdout=log, stderr=log)
    finally:
        os.close(log)
