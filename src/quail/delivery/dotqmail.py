"""What is to be done with mail for an address: the home, its dot-qmail file, or the default delivery (facts 6.4-6.7).

A Plans object remembers what it found for as long as one batch: many messages for one address ask the disk once. A plan that
can't be followed is a Refusal, with the report that qmail-local would give.
"""

import errno
import os
import stat

from quail import oserrors
from quail.delivery.instructions import FORWARD, MBOX, PROGRAM, Step, parse, words
from quail.delivery.refusal import Refusal
from quail.net.lspawn_protocol import DEFERRED, FAILED
from quail.users import qmailfile

WRITABLE_BY_OTHERS = 0o002  # qmail's conf-patrn
MAX_FILE = 1 << 20  # bytes of a dot-qmail file
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO)
BLANK = b"Uh-oh: first line of .qmail file is blank. (#4.2.1)\n"
NO_PROGRAMS = (
    b"programs are not run in a single home that is served by root: serve it as its user, or make it a system home"
    b" (quail init --system)"
)
STICKY = b"Home directory is sticky: user is editing his .qmail file. (#4.2.1)\n"
NO_MAILBOX = b"Sorry, no mailbox here by that name. (#5.1.1)\n"


class Plan:
    """Steps to follow. name: of the file that has them. default: what `default` in that name stands for, if it is there.
    make_maildir: they are the default delivery, whose Maildir is made when it is missing. may_wait: a step may take as long
    as somebody else likes: a program, or a file that others lock. forwards: a step forwards.
    """

    __slots__ = ("default", "forwards", "make_maildir", "may_wait", "name", "steps")

    def __init__(self, steps: list[Step], name: bytes, default: bytes | None, *, make_maildir: bool) -> None:
        """As described above."""
        kinds = {step.kind for step in steps}
        self.steps = steps
        self.name = name
        self.default = default
        self.make_maildir = make_maildir
        self.may_wait = PROGRAM in kinds or MBOX in kinds
        self.forwards = FORWARD in kinds

    def where(self, step: Step) -> bytes:
        """File and line, for people."""
        return b"%b line %d" % (self.name, step.line)


class Plans:
    """Plans by owner, looked up once."""

    def __init__(self, default_delivery: bytes, *, programs: bool = True) -> None:
        """`default_delivery` holds dot-qmail lines. programs: whether a file may have program lines."""
        self._default = default_delivery
        self._programs = programs
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
        for name, default in qmailfile.candidates(dash, ext):
            path = f"{home}/{os.fsdecode(name)}"
            found = _slurp(path, name)
            if found is None:
                continue
            content, executable = found
            if content:
                return self._plan(content, os.fsencode(path), default, executable=executable)
            return self._default_plan(default)
        if dash:
            raise Refusal(FAILED, NO_MAILBOX)
        return self._default_plan(None)

    def _default_plan(self, default: bytes | None) -> Plan:
        return self._plan(self._default, b"control/defaultdelivery", default, make_maildir=True)

    def _plan(
        self,
        content: bytes,
        name: bytes,
        default: bytes | None,
        *,
        executable: bool = False,
        make_maildir: bool = False,
    ) -> Plan:
        if not words(content.partition(b"\n")[0]):
            raise Refusal(DEFERRED, BLANK)
        plan = Plan(parse(content, forward_only=executable), name, default, make_maildir=make_maildir)
        for step in plan.steps:
            if step.kind == PROGRAM and not self._programs:
                raise Refusal(DEFERRED, b"%b: %b. (#4.3.0)\n" % (plan.where(step), NO_PROGRAMS))
        return plan

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
        return Refusal(DEFERRED, STICKY)
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
