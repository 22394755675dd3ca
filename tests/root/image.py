"""The test root: Debian bookworm with the mail programs that Quail is tested and measured against.

Made once by debootstrap (about a minute with the download), kept in the user's cache under a name that is a hash of its
recipe, and never written to again: box.py runs programs on a copy-on-write view of it. The machine itself is not changed:
debootstrap is unpacked beside the root, and the packages are configured without network in namespaces of their own.
Needs uid 0. To start over, remove the folder `quail-test-root` in the cache.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from tests.root.apt import RELEASE, AptError, PrivateApt, download_environment
from tests.root.box import Box, BoxError

RECIPE = 1  # raise it when a change below makes a different root of the same packages
PACKAGES = (
    "alpine",
    "bsd-mailx",
    "cron",
    "curl",
    "dovecot-lmtpd",
    "dovecot-pop3d",
    "fetchmail",
    "getmail6",
    "iproute2",
    "libcdb1",
    "maildrop",
    "mpop",
    "mutt",
    "postfix",
    "procmail",
    "procps",
    "python3",
    "s-nail",
    "strace",
    "swaks",
    "tinycdb",
    "ucspi-tcp",
)
# Their programs bear the names of other packages' programs, or Quail's: each lies unpacked in a folder of its own.
ORACLES = ("daemontools", "dot-forward", "fastforward", "freecdb", "ucspi-tcp-ipv6")
USER, UID = "tester", 1000
NEEDED = (
    "bin/ip",
    "etc/postfix/postfix-files",
    "opt/oracles/daemontools/usr/bin/multilog",
    "opt/oracles/daemontools/usr/bin/supervise",
    "opt/oracles/daemontools/usr/bin/svscan",
    "opt/oracles/dot-forward/usr/bin/dot-forward",
    "opt/oracles/fastforward/usr/bin/fastforward",
    "opt/oracles/fastforward/usr/sbin/qmail-newaliases",
    "opt/oracles/freecdb/usr/bin/cdbmake",
    "opt/oracles/freecdb/usr/bin/cdbstats",
    "opt/oracles/ucspi-tcp-ipv6/usr/bin/rblsmtpd",
    "opt/oracles/ucspi-tcp-ipv6/usr/bin/tcpserver",
    "usr/bin/alpine",
    "usr/bin/bsd-mailx",
    "usr/bin/cdb",
    "usr/bin/curl",
    "usr/bin/fetchmail",
    "usr/bin/getmail",
    "usr/bin/maildrop",
    "usr/bin/mpop",
    "usr/bin/mutt",
    "usr/bin/procmail",
    "usr/bin/python3.11",
    "usr/bin/s-nail",
    "usr/bin/strace",
    "usr/bin/swaks",
    "usr/bin/tcprules",
    "usr/bin/tcpserver",
    "usr/lib/dovecot/lmtp",
    "usr/lib/dovecot/pop3",
    "usr/sbin/cron",
    "usr/sbin/dovecot",
    "usr/sbin/policy-rc.d",
    "usr/sbin/postfix",
    "usr/sbin/smtp-source",
    "home/" + USER,
)
HERE = os.path.dirname(os.path.abspath(__file__))
CHECKOUT = os.path.dirname(os.path.dirname(HERE))


class RootUnavailableError(Exception):
    """The test root cannot be made or entered here; the text is the reason."""


def cache_folder() -> str:
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "quail-test-root")


def reason_against() -> str | None:
    """Why this process cannot use the test root, or None."""
    if os.geteuid() != 0:
        return "needs uid 0: it makes a Debian root and enters it in namespaces of its own"
    for tool in ("apt-get", "apt-config", "dpkg", "wget", "unshare", "nsenter", "pivot_root", "chroot"):
        if shutil.which(tool) is None:
            return f"needs the command {tool}"
    return None


def kept(path: str, make: Callable[[str], None], is_whole: Callable[[str], bool]) -> int:
    """Make the folder `path` unless it is there and whole, under a lock; a broken one is made anew.

    make(tmp) fills a new folder, which is renamed to `path` when it returns. Returns a descriptor that holds a shared lock:
    as long as it is open (or until the process ends) nobody replaces the folder.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            fcntl.flock(lock, fcntl.LOCK_SH)
            if is_whole(path):
                return lock
            fcntl.flock(lock, fcntl.LOCK_UN)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # somebody makes it, or looks; who waited here would wait for whoever has it then
                time.sleep(0.05)
                continue
            if not is_whole(path):  # another process may have been quicker
                tmp = path + ".making"
                for old in (tmp, path):
                    shutil.rmtree(old, ignore_errors=True)
                os.makedirs(tmp)
                make(tmp)
                if not is_whole(tmp):
                    raise RootUnavailableError(f"{tmp} is not whole after it was made: see what is missing there")
                os.rename(tmp, path)
            fcntl.flock(lock, fcntl.LOCK_UN)
    except BaseException:
        os.close(lock)
        raise


def _run(words: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-12:])
        raise RootUnavailableError(f"{words[0]} failed with {done.returncode}:\n{tail}")


def _write(path: str, text: str, mode: int = 0o644) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def _unpack_oracles(apt: PrivateApt, folder: str) -> None:
    try:
        for package in ORACLES:
            apt.unpack(package, os.path.join(folder, package))
    except AptError as error:
        raise RootUnavailableError(str(error)) from None


def _make_root(folder: str) -> None:
    root, tools = os.path.join(folder, "root"), os.path.join(folder, "tools")
    os.makedirs(os.path.join(folder, "stage"))
    with tempfile.TemporaryDirectory(prefix="quail-apt-") as private:
        try:
            apt = PrivateApt(private)
            mirror = apt.mirror()
            for package in ("debootstrap", "debian-archive-keyring"):
                apt.unpack(package, tools)
        except AptError as error:
            raise RootUnavailableError(str(error)) from None
        share = os.path.join(tools, "usr/share")
        environment = os.environ | download_environment(private) | {"DEBOOTSTRAP_DIR": share + "/debootstrap"}
        _run(
            [
                os.path.join(tools, "usr/sbin/debootstrap"),
                "--foreign",
                "--variant=minbase",
                "--keyring=" + share + "/keyrings/debian-archive-keyring.gpg",
                "--include=" + ",".join(PACKAGES),
                RELEASE,
                root,
                mirror,
            ],
            environment,
        )
        _unpack_oracles(apt, root + "/opt/oracles")
    # No service of this root is ever started by its package. debootstrap takes the file away when it is done.
    policy = (root + "/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
    _write(*policy)
    try:
        with Box(root, os.path.join(folder, "stage"), view="direct") as box:
            box.run(["/debootstrap/debootstrap", "--second-stage"], timeout=600)
            box.run(["useradd", "--create-home", "--uid", str(UID), "--shell", "/bin/sh", USER])
    except BoxError as error:
        raise RootUnavailableError(str(error)) from None
    _write(*policy)
    _write(root + "/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
    _write(root + "/etc/hostname", "localhost\n")
    _write(root + "/etc/resolv.conf", "")
    for part in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(os.path.join(root, part), ignore_errors=True)
    shutil.rmtree(tools)
    _write(
        folder + "/made.json",
        json.dumps({"recipe": RECIPE, "packages": PACKAGES, "oracles": ORACLES, "release": RELEASE}),
    )


def _root_is_whole(folder: str) -> bool:
    return os.path.exists(folder + "/made.json") and all(
        os.path.exists(os.path.join(folder, "root", name)) for name in NEEDED
    )


def _name(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


class Image:
    """A finished test root on this machine. `folder`/root is the tree, `folder`/stage an empty mount point."""

    def __init__(self) -> None:
        """Make the root if it is not there; raise RootUnavailableError when that cannot be done."""
        reason = reason_against()
        if reason is not None:
            raise RootUnavailableError(reason)
        self.folder = os.path.join(cache_folder(), _name(RECIPE, RELEASE, PACKAGES, ORACLES, os.uname().machine))
        self._lock = kept(self.folder, _make_root, _root_is_whole)
        self.root = self.folder + "/root"
        self.stage = self.folder + "/stage"


class GuestPackages:
    """What Quail itself needs, installed for the root's Python 3.11 (which is not always the one that runs the tests)."""

    def __init__(self) -> None:
        """Install requirements.txt into a folder of the cache, once for each of its versions."""
        requirements = os.path.join(CHECKOUT, "requirements.txt")
        with open(requirements, encoding="utf-8") as file:
            text = file.read()

        def make(folder: str) -> None:
            words = ["--quiet", "--disable-pip-version-check", "--no-compile", "--only-binary=:all:"]
            words += ["--python-version=3.11", "--implementation=cp", "--target=" + folder, "-r", requirements]
            _run([sys.executable, "-m", "pip", "install", *words])

        self.folder = os.path.join(cache_folder(), "python-" + _name(text, os.uname().machine))
        self._lock = kept(self.folder, make, lambda folder: os.path.isdir(folder + "/click"))
