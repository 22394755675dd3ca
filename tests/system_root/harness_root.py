"""A system home in the test root: real accounts, real uids, port 25 of a network of its own, `quail serve` as root.

The queue and the homes of users lie on a disk of the machine; the rest of the box is memory and gone with it. Process numbers
are the machine's everywhere here, except in what programs inside the box are told.
"""

import contextlib
import ctypes
import json
import os
import re
import shutil
import stat
import subprocess
import threading

from tests.root.testroot import QUAIL, QUAIL_ENVIRONMENT
from tests.system.harness import PATIENCE, Server, Smtp, children

DOMAIN = "example.test"
QMAIL = "/var/qmail"  # in the box
SENDMAIL = "/usr/sbin/sendmail"
# Names of ordinary users, their uids (which are their gids too) and the modes of their homes.
USERS = {
    "alice": (2001, 0o700),
    "bob": (2002, 0o700),
    "carol": (2003, 0o755),
    "dave": (2004, 0o750),
    "mallory": (2005, 0o700),
}
SERVICES = ("lspawn", "queue", "rspawn", "smtpd", "users")
# What a root shell may have, and no service and no program of a user is to get of it: groups, an open umask; and limits.
OPERATOR = ("prlimit", "--nofile=1024:4096", "setpriv", "--groups=0,4,6", "sh", "-c", 'umask 0; exec "$@"', "sh")
INSIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inside")
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def uid(name):
    return USERS[name][0]


class SystemHome(Server):
    """`path` is the home as the machine sees it, `homes` the folder of the users' homes, `tools` the programs of inside/."""

    @classmethod
    def folders(cls, folder):
        """What a box must see for a system home in this folder: for TestRoot.enter()."""
        binds = {}
        for name, guest in (("qmail", QMAIL), ("homes", "/home"), ("tools", "/srv/tools"), ("shared", "/srv/shared")):
            (folder / name).mkdir(mode=0o755)
            binds[str(folder / name)] = guest
        shutil.copytree(INSIDE, folder / "tools", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        return binds

    def __init__(self, box, folder, **control):
        """In a box that was entered with folders()."""
        self.box = box
        self.homes = folder / "homes"
        self.shared = folder / "shared"  # /srv/shared in the box: everybody may write there
        self.shared.chmod(0o1777)
        self._add_users()
        super().__init__(folder / "qmail", name="alice", **control)

    def _add_users(self):
        lines = ["set -e"]
        for name, (number, mode) in USERS.items():
            lines += [
                f"groupadd -g {number} {name}",
                f"useradd -m -u {number} -g {number} -s /bin/sh -K HOME_MODE={mode:04o} {name}",
            ]
        self.box.run(["sh", "-c", "\n".join(lines)])

    def make(self):
        self.initialised = self.quail("init", "--system", DOMAIN, "--home", QMAIL, home=False)
        self.box.run(["ln", "-sf", f"{QMAIL}/bin/sendmail", SENDMAIL])

    def spawn(self, *options):
        words = [*OPERATOR, *QUAIL, "serve", "--home", QMAIL, *options]
        env = QUAIL_ENVIRONMENT | {"EDITOR": "vi", "SUDO_USER": "operator"}
        return self.box.popen(words, env=env, stderr=subprocess.PIPE, start_new_session=True)

    def start(self, *options, wait=True):
        super().start(*options, wait=wait)
        if wait:  # a service that has just been forked is root for a moment yet
            self.until(lambda: "0" not in self._uids("queue", "rspawn", "smtpd", "users"), "services to have left root")
        return self

    def _uids(self, *services):
        return {status_of(pid)["Uid"].split()[0] for service in services for pid in self.pids[service]}

    def quail(self, *words, home=True, check=True):
        """Run the quail command as root."""
        where = ["--home", QMAIL] if home else []
        return self.box.run([*QUAIL, *where, *words], env=QUAIL_ENVIRONMENT, check=check)

    # Processes.

    @property
    def told_pids(self):
        """run/pids.json as it is: numbers of the box."""
        return super().pids

    @property
    def pids(self):
        own = self._numbers()
        return {name: [own.get(pid, 0) for pid in pids] for name, pids in self.told_pids.items()}

    def _numbers(self):
        """Numbers of the box and of the machine, for serve and everything that it has started."""
        serve = self.process.guest_pid if self.process is not None else None
        found, look = {}, [serve] if serve else []
        while look:
            pid = look.pop()
            try:
                found[box_pid(pid)] = pid
                look += children(pid)
            except (FileNotFoundError, ProcessLookupError):
                pass
        return found

    def descendants(self):
        """Every process that lives below serve; the machine's numbers."""
        return sorted(self._numbers().values())

    # Users.

    def home_of(self, user):
        return self.path / "alias" if user == "alias" else self.homes / user

    def write(self, user, name, text, mode=0o600):
        """A file of the user's in his home."""
        path = self.home_of(user) / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        owner = path.parent.stat().st_uid
        os.chown(path, owner, owner if user != "alias" else -1)
        path.chmod(mode)
        return path

    def dot_qmail(self, user, extension, text, mode=0o600):
        return self.write(user, f".qmail-{extension}" if extension else ".qmail", text, mode)

    def maildir(self, user, name):
        """Make a Maildir for a user."""
        owner = self.home_of(user).stat().st_uid
        top = self.home_of(user) / name
        for path in (top, top / "tmp", top / "new", top / "cur"):
            path.mkdir(mode=0o700)
            os.chown(path, owner, owner)

    @contextlib.contextmanager
    def closed_mailbox(self, user="alice"):
        """Deliveries to a user are put off: his home is sticky."""
        home = self.home_of(user)
        mode = home.stat().st_mode
        home.chmod(mode | stat.S_ISVTX)
        try:
            yield
        finally:
            home.chmod(mode)

    def mail(self, user="alice", folder="Maildir"):
        """The messages in a Maildir's new/, in the order of their names."""
        return [path.read_bytes() for path in self.mail_paths(user, folder)]

    def mail_paths(self, user, folder="Maildir"):
        new = self.home_of(user) / folder / "new"
        return sorted(new.iterdir()) if new.is_dir() else []

    def run_as(self, user, words, data="", check=True, env=None, timeout=PATIENCE):
        """A program in the box, as a user who is logged in."""
        own = {"HOME": f"/home/{user}", "USER": user, "LOGNAME": user, "SHELL": "/bin/sh"}
        return self.box.run(
            words, user=uid(user), cwd=f"/home/{user}", env=own | (env or {}), data=data, check=check, timeout=timeout
        )

    # Mail.

    def in_network(self, call, *words, **options):
        """Call something that makes sockets, so that they belong to the box's network; its result."""
        return in_network(self.box, call, *words, **options)

    @property
    def port(self):
        return 25

    def smtp(self, **options):
        return self.in_network(Smtp, 25, **options)

    def deliver(self, recipient, text=b"Subject: hello\r\n\r\nhello\r\n", sender="s@example.org"):
        """One message over SMTP, until nothing more is to be done for it; what the log told of it."""
        number = self.send(recipient, text, sender)
        self.end(number)
        return self.story(number)

    def settled(self, number):
        """Wait until the first delivery of the message has its report; that line."""

        def look():
            return next((line for line in self.story(number) if re.match(r"delivery \d+: ", line)), None)

        return self.until(look, f"a report of message {number}")


def box_pid(pid):
    """The number that a process has inside its box."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[-1]) for line in file if line.startswith("NSpid:"))


def enter_network(box):
    """Move the calling thread, and what it starts, into the box's network."""
    with open(f"/proc/{box.pid}/ns/net") as file:
        if _LIBC.setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def in_network(box, call, *words, **options):
    result, trouble = [], []

    def run():
        try:
            enter_network(box)
            result.append(call(*words, **options))
        except BaseException as error:
            trouble.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if trouble:
        raise trouble[0]
    return result[0]


def status_of(pid):
    """/proc/PID/status as a dict of texts."""
    with open(f"/proc/{pid}/status") as file:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}


def describe(path):
    """Kind, mode, owner and group of a file, as ls shows them."""
    status = os.lstat(path)
    return stat.filemode(status.st_mode), status.st_uid, status.st_gid


def read_json(path):
    return json.loads(path.read_text())
