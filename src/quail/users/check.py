"""Is this really that user? What checkpassword and authd's children do with a name and a secret.

A name that users/passwords has is judged by that alone: what it opens is the mailbox that mail for this local part goes
to. In a system home any other name may be an account of the machine, with its own password, and opens that account. Nobody
becomes root or a service of ours. An unknown name costs as much time as a wrong password.
"""

import hashlib
import hmac
import os
import time

from quail.errors import TemporaryError
from quail.users import argon, passwords
from quail.users.getpw import LONGEST, SERVICES, gets_mail
from quail.users.nss import Entry
from quail.users.nss import by_name as account_by_name
from quail.users.owners import Owners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _collections_abc import Callable

    from quail.users.shadow import Shadow

# What `secret` is: the password; APOP's digest (RFC 1939 s7); CRAM-MD5's (RFC 2195); or any of them, as in checkpassword's
# contract, which does not say.
PLAIN, APOP, CRAM, ANY = b"P", b"A", b"C", b"?"
METHODS = (PLAIN, APOP, CRAM, ANY)
_SHELL = b"/bin/sh"
_MOST_TEXT = 1000  # bytes of what went wrong
_LONGEST_NUMBER = 10  # digits of a uid


class Attempt:
    """user: as it was typed. secret: what proves it. challenge: what the digests were made for, empty if none was given."""

    __slots__ = ("challenge", "method", "secret", "user")

    def __init__(self, user: bytes, secret: bytes, challenge: bytes = b"", method: bytes = PLAIN) -> None:
        self.user = user
        self.secret = secret
        self.challenge = challenge
        self.method = method


class Login:
    """Who somebody is: name; uid and gid to run as; home; shell."""

    __slots__ = ("gid", "home", "name", "shell", "uid")

    def __init__(self, name: bytes, uid: int, gid: int, home: bytes, shell: bytes = b"") -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home
        self.shell = shell or _SHELL


class Checker:
    """The passwords of one home, and in a system home of the machine. Files are read at each check, by whoever may: root,
    or the owner of a single home.
    """

    def __init__(
        self,
        home: str,
        *,
        system: bool,
        refused: frozenset[int] = frozenset(),
        by_name: "Callable[[bytes], Entry | None]" = account_by_name,
        shadow_of: "Callable[[bytes], Shadow | None] | None" = None,
        clock: "Callable[[], float]" = time.time,
    ) -> None:
        """refused: uids of services, beside those that the services' usual names have. by_name, shadow_of: nss.by_name,
        shadow.by_name or their like. clock: Unix time.
        """
        self._home = home
        self._system = system
        self._refused = refused
        self._by_name = by_name
        self._shadow_of = shadow_of
        self._clock = clock

    def load(self) -> None:
        """Import what a check may need: before a fork, so that each child has it."""
        argon.load()
        if self._system:
            import quail.users.shadow  # noqa: PLC0415

            quail.users.shadow.load()

    def check(self, attempt: Attempt) -> Login | None:
        """Who that is; None if the secret is wrong, there is no such user, or nobody may come in as that. TemporaryError
        if it can't be told.
        """
        name = attempt.user.lower()
        if not name or not attempt.secret or b"\0" in name:
            return None
        record = passwords.look_up(self._home, name)
        if record is not None:
            return self._owner(name) if _proves(record, attempt) else None
        if attempt.method not in (PLAIN, ANY):
            return None  # only users/passwords can have what a digest is made of
        if self._system:
            return self._account(attempt)
        argon.matches(argon.NOBODY, attempt.secret)
        return None

    def _owner(self, name: bytes) -> Login | None:
        """Whose mailbox mail for this local part goes to."""
        owner = Owners(self._system, home=self._home, by_name=self._by_name).assigned(name)
        if owner is not None and not owner.dash:
            if not self._system:
                return Login(name, os.getuid(), os.getgid(), owner.home)
            return Login(name, owner.uid, owner.gid, owner.home) if self._admits(owner.user, owner.uid) else None
        entry = self._by_name(name) if self._system and len(name) <= LONGEST else None
        return self._login(entry) if entry is not None and self._admits(entry.name, entry.uid) else None

    def _account(self, attempt: Attempt) -> Login | None:
        from quail.users import shadow  # noqa: PLC0415  a single home needs none of it

        entry = self._by_name(attempt.user) if len(attempt.user) <= passwords.LONGEST else None
        if entry is not None and self._admits(entry.name, entry.uid):
            found: Shadow | None = shadow.Shadow(entry.password)
            if entry.password == b"x":
                found = (self._shadow_of or shadow.by_name)(attempt.user)
            if found is not None and found.is_open(self._clock()):
                return self._login(entry) if shadow.matches(found.hashed, attempt.secret) else None
        shadow.match_nobody(attempt.secret)
        return None

    def _admits(self, name: bytes, uid: int) -> bool:
        """Whether anybody may come in as this account."""
        return gets_mail(name, uid) and uid not in self._refused and uid not in self._service_uids()

    def _service_uids(self) -> frozenset[int]:
        if self._refused:
            return self._refused
        entries = [self._by_name(name) for name in sorted(SERVICES)]
        return frozenset(entry.uid for entry in entries if entry is not None)

    @staticmethod
    def _login(entry: Entry) -> Login | None:
        if not entry.home.startswith(b"/"):
            return None
        return Login(entry.name, entry.uid, entry.gid, entry.home, entry.shell)


def _proves(record: passwords.Record, attempt: Attempt) -> bool:
    """Whether the secret is the one that is kept."""
    if attempt.method != PLAIN and record.secret is not None and attempt.challenge:
        digest = attempt.secret.lower()
        if attempt.method != CRAM and hmac.compare_digest(digest, _apop(attempt.challenge, record.secret)):
            return True
        if attempt.method != APOP and hmac.compare_digest(digest, _cram(attempt.challenge, record.secret)):
            return True
    return attempt.method in (PLAIN, ANY) and argon.matches(record.hashed, _prepared(attempt.secret))


def _apop(challenge: bytes, secret: bytes) -> bytes:
    return hashlib.md5(challenge + secret, usedforsecurity=False).hexdigest().encode()


def _cram(challenge: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, challenge, "md5").hexdigest().encode()


def _prepared(secret: bytes) -> bytes:
    """As the hash was made; what can't be prepared is no password of anybody."""
    if secret.isascii():
        return secret
    from quail.sasl.prep import prepare  # noqa: PLC0415  few passwords need it

    try:
        return prepare(secret.decode(), stored=False).encode()
    except ValueError:  # UnicodeDecodeError is one
        return secret


def apart(checker: Checker, attempt: Attempt) -> Login | None:
    """checker.check() in a child: what it has read of everybody's passwords is not in the memory of a process that becomes a
    user. Raises as check() does.
    """
    readable, writable = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writable, judge(checker, attempt))
        finally:
            os._exit(0)
    os.close(writable)
    with open(readable, "rb", buffering=0) as file:
        verdict = file.readall() or b""
    os.waitpid(pid, 0)
    return take(verdict)


def judge(checker: Checker, attempt: Attempt) -> bytes:
    """What check() says, for take() in another process; it fits a pipe."""
    try:
        login = checker.check(attempt)
    except TemporaryError as error:
        return refused_for(str(error))
    except Exception as error:
        return refused_for(f"this is a bug: {error!r}")
    return accepted(login) if login is not None else b"N"


def accepted(login: Login) -> bytes:
    """A verdict for take()."""
    return b"K" + b"\0".join((login.name, b"%d" % login.uid, b"%d" % login.gid, login.home, login.shell))


def refused_for(trouble: str) -> bytes:
    """A verdict for take(): it can't be told."""
    return b"T" + trouble.encode(errors="surrogateescape")[:_MOST_TEXT]


def take(verdict: bytes) -> Login | None:
    """What judge() was told; TemporaryError if it can't be told, the process that ran it has died, or this is no verdict:
    with control/checkpassword it comes from a process that a user may have taken over.
    """
    if verdict[:1] == b"N":
        return None
    fields = verdict[1:].split(b"\0")
    if verdict[:1] != b"K" or len(fields) != 5:
        raise TemporaryError(os.fsdecode(verdict[1:]) or "the process that checks the password has died")
    if not all(number.isdigit() and len(number) <= _LONGEST_NUMBER for number in fields[1:3]):
        raise TemporaryError("the process that checks the password has named a user without a number")
    return Login(fields[0], int(fields[1]), int(fields[2]), fields[3], fields[4])
