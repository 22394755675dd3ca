"""Dovecot as Debian builds it: POP3 from a user's Maildir, with an index beside it, which is its default.

What differs from its defaults: a fixed password for everybody, no TLS, and plain passwords are taken.
"""

import os

from bench.accounts import HOMES, PASSWORD, Accounts
from tests.root.box import Box, Guest

CONFIGURATION = f"""\
protocols = pop3
listen = 127.0.0.1
base_dir = /run/dovecot
log_path = /srv/log
ssl = no
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = passwd
}}
"""


class Dovecot:
    """One installation in `folder`, which the box has as /srv; its mailbox is that of user000."""

    name = "Dovecot"
    port = 110

    def __init__(self, folder: str) -> None:
        """Write the configuration, and make the home."""
        self.folder = folder
        os.mkdir(folder + "/homes")
        self.binds = {folder: "/srv", folder + "/homes": HOMES}
        self.accounts = Accounts(folder + "/homes", 1)
        with open(folder + "/dovecot.conf", "w", encoding="utf-8") as file:
            file.write(CONFIGURATION)

    def start(self, box: Box, tracer: tuple[str, ...] = ()) -> Guest:
        """Start it in the foreground of the box, below `tracer` if given."""
        self.accounts.enrol(box)
        return box.popen([*tracer, "dovecot", "-F", "-c", "/srv/dovecot.conf"])

    def version(self, box: Box) -> str:
        return box.run(["dovecot", "--version"]).stdout.split()[0]
