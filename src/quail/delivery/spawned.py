"""A delivery that qmail-lspawn has forked: whose it is, becoming that user, and what its end says (facts 4.6, 6.1).

Nothing foreign is looked at by root: the look-up has a process of its own, which is qmailp by then, and what it says must be
six fields. How it ends is an exit code, as if qmail-local had been run.
"""

import _signal as signal  # type: ignore[import-not-found]  # the enums of the public module touch pages, which cost the fork
import os
from collections.abc import Iterable, Mapping

from quail.delivery import local, shed
from quail.delivery.dotqmail import NO_MAILBOX, Plans
from quail.delivery.message import Message
from quail.delivery.order import Order
from quail.delivery.program import Runner
from quail.errors import EXIT_PERMANENT, EXIT_TEMPORARY, PeerError, QuailError
from quail.net.lspawn_protocol import DEFERRED, DELIVERED, FAILED, MAX_REPORT_TEXT
from quail.net.spawn_protocol import Command, Report
from quail.net.users_protocol import Owner, decode_owner, encode_owner
from quail.queue.handover import Reply
from quail.queue.submit import submit
from quail.users.getpw import HomeError, NoAliasError
from quail.users.nss import by_name
from quail.users.owners import Owners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

KEEP = MAX_REPORT_TEXT + 1  # bytes of output: one more tells that there was more
AS_SERVICE = b"Not allowed to perform deliveries as a service of the mail system: %b.\n"

_TOO_LONG = b"\nError report too long, sorry.\n"
_CRASHED = DEFERRED, b"qmail-local crashed.\n"
_BUG, _AS_ROOT, _NO_HOME, _NO_ALIAS, _NO_USERS, _TROUBLE, _NO_MEMORY, _NO_LOOKUP = (
    112,
    113,
    115,
    116,
    117,
    118,
    119,
    121,
)
_SOFT = frozenset((EXIT_TEMPORARY, 71, 74, 75))
# What the exit codes of the daemon itself say, in place of any output.
_OWN = {
    _BUG: (DEFERRED, b"Internal qmail-lspawn bug.\n"),
    _AS_ROOT: (DEFERRED, b"Not allowed to perform deliveries as root.\n"),
    _NO_HOME: (DEFERRED, b"NFS failure in qmail-local.\n"),
    _NO_ALIAS: (DEFERRED, b"Unable to find alias user!\n"),
    _NO_USERS: (DEFERRED, b"Trouble reading users/cdb in qmail-lspawn.\n"),
    _TROUBLE: (DEFERRED, b"Temporary failure in qmail-lspawn.\n"),
    _NO_MEMORY: (DEFERRED, b"Out of memory in qmail-lspawn.\n"),
    120: (DEFERRED, b"Unable to run qmail-local.\n"),
    _NO_LOOKUP: (DEFERRED, b"Unable to run qmail-getpw.\n"),
    126: (FAILED, b"Unable to run qmail-local.\n"),
}
_MESSAGE = 3  # its descriptor in a child
_LOOKUP_PATIENCE = 60  # seconds
_MOST_ANSWER = 1 << 16  # bytes


class Home:
    """What deliveries of one home go by. path: of the home, absolute. default_delivery: dot-qmail lines. environment: what
    programs find. program_timeout: in seconds. lookup_as: uid and gid of qmailp, and service_uids: as whom nothing is
    delivered; both None in a single home, where everything is done as the caller.
    """

    __slots__ = ("default_delivery", "environment", "lookup_as", "path", "program_timeout", "programs", "service_uids")

    def __init__(
        self,
        path: str,
        default_delivery: bytes,
        *,
        environment: Mapping[bytes, bytes],
        program_timeout: int,
        lookup_as: tuple[int, int] | None,
        service_uids: frozenset[int] | None,
    ) -> None:
        """As described above."""
        self.path = path
        self.default_delivery = default_delivery
        self.environment = environment
        self.program_timeout = program_timeout
        self.lookup_as = lookup_as
        self.service_uids = service_uids
        self.programs = service_uids is not None or os.getuid() != 0


def start(home: Home, command: Command, message: int, output: int) -> int:
    """Fork a delivery; its process. OSError."""
    pid = os.fork()
    if pid == 0:
        _live(home, command, message, output)
    return pid


def report(code: int, output: bytes) -> Report:
    """What an exit code (negative: a signal) and the first KEEP bytes of output come to."""
    if code < 0:
        return _CRASHED
    if code in _OWN:
        return _OWN[code]
    text = output.partition(b"\0")[0]
    if len(text) > MAX_REPORT_TEXT:
        text = text[:MAX_REPORT_TEXT] + _TOO_LONG
    return (DELIVERED if code == 0 else DEFERRED if code in _SOFT else FAILED), text


def _live(home: Home, command: Command, message: int, output: int) -> "NoReturn":
    """The child."""
    code = _BUG
    try:
        code = (
            _deliver(home, command, message, output) if command.local else 0
        )  # `@host` is qmail's way to throw mail away
    except MemoryError:
        code = _NO_MEMORY
    except (OSError, QuailError):
        code = _TROUBLE
    finally:
        os._exit(code)


def _deliver(home: Home, command: Command, message: int, output: int) -> int:
    os.setsid()
    shed.quiet()
    message = _keep_only(message, output)
    os.umask(0o077)
    code, owner = _owner(home, command.local)
    if owner is None:
        if code == EXIT_PERMANENT:
            os.write(1, NO_MAILBOX)
        return code
    if home.service_uids is not None:
        if owner.uid == 0:
            return _AS_ROOT
        if owner.uid in home.service_uids:
            os.write(1, AS_SERVICE % owner.user)
            return EXIT_TEMPORARY
        shed.become_user(owner.uid, owner.gid)
    shed.hide()
    return _as_qmail_local(home, command, owner, message)


def _keep_only(message: int, output: int) -> int:
    """Have the message, where the report goes to as 1 and 2, and nothing else; the message's number, as which it stays open."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    for fd in (1, 2):
        os.dup2(output, fd)
    if message != _MESSAGE:
        os.dup2(message, _MESSAGE)
    os.set_inheritable(_MESSAGE, False)
    os.closerange(_MESSAGE + 1, os.sysconf("SC_OPEN_MAX"))
    return _MESSAGE


def _owner(home: Home, local_part: bytes) -> tuple[int, Owner | None]:
    """Whose the address is; None, and the exit code that says why it can't be told."""
    if home.lookup_as is None:
        return _find(home, local_part)
    answer, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        _look_up(home, home.lookup_as, local_part, theirs)
    os.close(theirs)
    data = bytearray()
    while piece := os.read(answer, _MOST_ANSWER):
        data += piece[: _MOST_ANSWER - len(data)]
    os.close(answer)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        return (code if code in _OWN or code == EXIT_PERMANENT else _NO_LOOKUP), None
    try:
        return 0, decode_owner(bytes(data))
    except PeerError:
        return _NO_LOOKUP, None


def _look_up(home: Home, identity: tuple[int, int], local_part: bytes, answer: int) -> "NoReturn":
    """In a process of its own, which ends with the exit code, or says the owner."""
    code = _NO_LOOKUP
    try:
        signal.alarm(_LOOKUP_PATIENCE)
        shed.become_user(*identity)
        for fd in (0, 1, 2, _MESSAGE):
            os.close(fd)  # the message and the report are no business of this account
        code, owner = _find(home, local_part)
        if owner is not None:
            os.write(answer, encode_owner(owner))
    finally:
        os._exit(code)


def _find(home: Home, local_part: bytes) -> tuple[int, Owner | None]:
    owners = Owners(home.lookup_as is not None, home=home.path, by_name=by_name)
    try:
        owner = owners.assigned(local_part)
    except QuailError:
        return _NO_USERS, None
    if owner is not None or home.lookup_as is None:
        return (0, owner) if owner is not None else (EXIT_PERMANENT, None)
    try:
        return 0, owners.account(local_part)
    except HomeError:
        return _NO_HOME, None
    except NoAliasError:
        return _NO_ALIAS, None
    except QuailError:
        return _TROUBLE, None


def _as_qmail_local(home: Home, command: Command, owner: Owner, message: int) -> int:
    """What the program does, in this process; its exit code."""
    os.environb.clear()
    os.environb.update(home.environment)

    def forward(sender: bytes, recipients: list[bytes], chunks: Iterable[bytes]) -> Reply:
        return submit(sender, recipients, chunks, home=home.path)

    surroundings = local.Surroundings(
        runner=Runner(time_limit=home.program_timeout, life=1),
        environment=home.environment,
        forward=forward,
        log=lambda _: None,  # the report is all that anybody hears
    )
    folder = os.fsdecode(owner.home)
    body = Message(b"", message)
    order = Order(owner.user, folder, command.local, owner.dash, owner.ext, command.host, command.sender, body)
    code, text = local.report(order, Plans(home.default_delivery, programs=home.programs), surroundings)
    try:
        os.write(1, text)
    except OSError:
        pass  # the daemon is gone
    return code
