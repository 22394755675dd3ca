"""What is to be done with mail for an address: the home, its dot-qmail file, or the default delivery (facts 6.4-6.7).

A Plans object remembers what it found for as long as one batch: many messages for one address ask the disk once. A plan that
can't be followed is a Refusal, with the report that qmail-local would give.
"""

import errno
import os
import stat

from quail import oserrors
from quail.delivery.instructions import MBOX, PROGRAM, Step, parse
from quail.net.lspawn_protocol import DEFERRED, FAILED
from quail.users import qmailfile

WRITABLE_BY_OTHERS = 0o002  # qmail's conf-patrn
MAX_FILE = 1 << 20  # bytes of a dot-qmail file
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO)
BLANK = b"Uh-oh: first line of .qmail file is blank. (#4.2.1)\n"
NO_MAILBOX = b"Sorry, no mailbox here by that name. (#5.1.1)\n"


class Refusal(Exception):  # noqa: N818  it is an answer, not an error of this program
    """The delivery ends here with this report."""

    def __init__(self, letter: bytes, text: bytes) -> None:
        """Letter and text of the report."""
        super().__init__(letter, text)
        self.letter = letter
        self.text = text


class Plan:
    """Steps to follow. make_maildir: they are the default delivery, whose Maildir is made when it is missing."""

    __slots__ = ("make_maildir", "steps")

    def __init__(self, steps: list[Step], *, make_maildir: bool) -> None:
        """As described above."""
        self.steps = steps
        self.make_maildir = make_maildir


class Plans:
    """Plans by owner, looked up once."""

    def __init__(self, default_delivery: bytes) -> None:
        """`default_delivery` holds dot-qmail lines."""
        self._default = default_delivery
        self._homes: dict[str, Refusal | None] = {}
        self._plans: dict[tuple[str, bytes, bytes], Plan | Refusal] = {}
        self._senders: dict[tuple[str, bytes, bytes], bytes] = {}

    def check_home(self, home: str) -> None:
        """Refusal if mail may not be delivered there now."""
        if home not in self._homes:
            self._homes[home] = _home_trouble(home)
        refusal = self._homes[home]
        if refusal is not None:
            raise refusal

    def find(self, home: str, dash: bytes, ext: bytes) -> Plan:
        """The plan for an address of this home, or its Refusal."""
        key = (home, dash, ext)
        plan = self._plans.get(key)
        if plan is None:
            try:
                plan = self._read(home, dash, ext)
            except Refusal as refusal:
                plan = refusal
            self._plans[key] = plan
        if isinstance(plan, Refusal):
            raise plan
        return plan

    def _read(self, home: str, dash: bytes, ext: bytes) -> Plan:
        for name, _default in qmailfile.candidates(dash, ext):
            path = f"{home}/{os.fsdecode(name)}"
            found = _slurp(path, name)
            if found is None:
                continue
            content, executable = found
            if content:
                return self._plan(content, path, executable=executable, make_maildir=False)
            return self._default_plan()
        if dash:
            raise Refusal(FAILED, NO_MAILBOX)
        return self._default_plan()

    def _default_plan(self) -> Plan:
        return self._plan(self._default, "control/defaultdelivery", executable=False, make_maildir=True)

    @staticmethod
    def _plan(content: bytes, path: str, *, executable: bool, make_maildir: bool) -> Plan:
        if not content or content.startswith(b"\n"):
            raise Refusal(DEFERRED, BLANK)
        steps = parse(content, forward_only=executable)
        for step in steps:
            if step.kind in (PROGRAM, MBOX):
                what = "run programs" if step.kind == PROGRAM else "deliver to mbox files"
                text = f"{path} line {step.line}: this version of Quail can't {what}. (#4.3.0)\n"
                raise Refusal(DEFERRED, os.fsencode(text))
        return Plan(steps, make_maildir=make_maildir)

    def new_sender(self, home: str, dash: bytes, ext: bytes, sender: bytes, local: bytes, host: bytes) -> bytes:
        """The envelope sender of what this address forwards: rewritten if it is a list with an owner (facts 6.7)."""
        if sender in (b"", b"#@[]"):
            return sender
        key = (home, dash, ext)
        suffix = self._senders.get(key)
        if suffix is None:
            suffix = self._senders[key] = _owner_suffix(home, dash, ext)
        if not suffix:
            return sender
        if suffix == b"-owner":
            return local + b"-owner@" + host
        return local + b"-owner-@" + host + b"-@[]"


def _home_trouble(home: str) -> Refusal | None:
    try:
        mode = os.stat(home + "/.").st_mode  # fails where entering would; workers stay where run/ is
    except OSError as error:
        return Refusal(DEFERRED, b"Unable to switch to %b: %b. (#4.3.0)\n" % (os.fsencode(home), _reason(error)))
    if mode & WRITABLE_BY_OTHERS:
        return Refusal(DEFERRED, b"Uh-oh: home directory is writable. (#4.7.0)\n")
    if mode & stat.S_ISVTX:
        return Refusal(DEFERRED, b"Home directory is sticky: user is editing his .qmail file. (#4.2.1)\n")
    return None


def _slurp(path: str, name: bytes) -> tuple[bytes, bool] | None:
    """Content and x bit of a dot-qmail file; None if it is absent, which is what anything but a regular file is."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in ABSENT:
            return None
        raise _cannot_open(name, error) from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_mode & WRITABLE_BY_OTHERS:
            raise Refusal(DEFERRED, b"Uh-oh: .qmail file is writable. (#4.7.0)\n")
        content = b""
        while piece := os.read(fd, MAX_FILE + 1):
            content += piece
            if len(content) > MAX_FILE:
                raise Refusal(DEFERRED, b"Unable to read %b: more than %d bytes. (#4.3.0)\n" % (name, MAX_FILE))
        return content, bool(status.st_mode & stat.S_IXUSR)
    except OSError as error:
        raise _cannot_open(name, error) from error
    finally:
        os.close(fd)


def _owner_suffix(home: str, dash: bytes, ext: bytes) -> bytes:
    """`-owner`, `-owner-` (with VERP) or nothing, by the files there are for the whole extension."""
    name = qmailfile.name(dash, ext) + b"-owner"
    if not _exists(home, name):
        return b""
    return b"-owner-" if _exists(home, name + b"-default") else b"-owner"


def _exists(home: str, name: bytes) -> bool:
    try:
        os.stat(f"{home}/{os.fsdecode(name)}")
    except OSError as error:
        if error.errno in ABSENT:
            return False
        raise _cannot_open(name, error) from error
    return True


def _cannot_open(name: bytes, error: OSError) -> Refusal:
    return Refusal(DEFERRED, b"Unable to open %b: %b. (#4.3.0)\n" % (name, _reason(error)))


def _reason(error: OSError) -> bytes:
    return oserrors.words(error).encode()
