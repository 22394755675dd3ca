"""The services of a home: who each of them is, what it binds, and that nobody serves it twice."""

import fcntl
import os
import socket
from collections.abc import Callable, Mapping

from quail.control.reader import Control
from quail.errors import QuailError, TemporaryError
from quail.net.listeners import bind_path, bind_tcp, bind_unix
from quail.oserrors import words
from quail.services import lspawn, users
from quail.services.authd import service as authd
from quail.services.inbound import census
from quail.services.popd import service as popd
from quail.services.popd import visit
from quail.services.qmtpd import service as qmtpd
from quail.services.queue import service as queue
from quail.services.rspawn import service as rspawn
from quail.services.smtpd import service as smtpd
from quail.supervise.context import Context
from quail.supervise.tree import Member
from quail.users.accounts import Accounts

_WORLD = None
_GRACE = 35.0  # seconds
_BESIDE_SMTP = ("qmtp", "qmqp")  # whose ports move along with it


class _Service:
    """What serve has to know of a service.

    account: who it is in a system home; None for root. sockets: those in run/ that it listens on, and in a system home who
    may connect beside root: an account, or everybody (_WORLD); in a single home all are the starter's
    alone. listens: which lines of control/listen are its own; without one such a service is not started. needed_for: the same
    for lines of another service, which needs it. stage: its turn when all stop, with so many seconds of grace. many: whether
    it has control/smtpdworkers processes.
    """

    __slots__ = ("account", "grace", "listens", "many", "needed_for", "run", "sockets", "stage")

    def __init__(
        self,
        run: Callable[[Context], None],
        account: str | None,
        *,
        sockets: Mapping[str, str | None] | None = None,
        listens: tuple[str, ...] = (),
        needed_for: tuple[str, ...] = (),
        stage: int = 2,
        grace: float = _GRACE,
        many: bool = False,
    ) -> None:
        self.run, self.account = run, account
        self.sockets = sockets or {}
        self.listens = listens
        self.needed_for = needed_for
        self.stage, self.grace = stage, grace
        self.many = many

    def workers(self, workers: int) -> int:
        return workers if self.many else 1


def _authd(context: Context) -> None:
    authd.run(context, {b"pop3": visit.prepare})


_SERVICES = {
    "queue": _Service(queue.run, "qmailq", sockets={"queue.sock": _WORLD, "control.sock": "qmailq"}, stage=1),
    "users": _Service(users.run, "qmailp", sockets={"users.sock": "qmaild"}),
    "lspawn": _Service(lspawn.run, None, sockets={"lspawn.sock": "qmailq"}),
    "rspawn": _Service(rspawn.run, "qmailr", sockets={"rspawn.sock": "qmailq"}),
    "smtpd": _Service(smtpd.run, "qmaild", listens=("smtp", "lmtp"), stage=0, grace=10.0, many=True),
    "popd": _Service(popd.run, "qmailpop", listens=("pop3",), stage=0, grace=10.0),
    "authd": _Service(_authd, None, sockets={"authd.sock": "qmailpop"}, needed_for=("pop3",), stage=0, grace=12.0),
    "qmtpd": _Service(qmtpd.run_qmtpd, "qmaild", listens=("qmtp",), stage=0, grace=10.0),
    "qmqpd": _Service(qmtpd.run_qmqpd, "qmaild", listens=("qmqp",), stage=0, grace=10.0),
}
NAMES = tuple(_SERVICES)


def members(
    names: tuple[str, ...], sockets: dict[str, socket.socket], workers: int, accounts: Accounts | None
) -> list[Member]:
    """What serve is to run, of these services; `sockets` are what bind() gave."""
    found = []
    for name in names:
        service = _SERVICES[name]
        identity = None
        if accounts is not None and service.account is not None:
            identity = (accounts[service.account].uid, accounts[service.account].gid)
        counters = census.make(service.workers(workers)) if service.listens else None
        for worker in range(service.workers(workers)):
            own = (*service.sockets, *_listeners(service, worker, sockets))
            if (service.listens and len(own) == len(service.sockets)) or any(path not in sockets for path in own):
                continue
            found.append(
                Member(
                    name,
                    service.run,
                    own,
                    stage=service.stage,
                    grace=service.grace,
                    prefix="" if name == "queue" else f"{name}: ",
                    worker=worker,
                    identity=identity,
                    counters=counters,
                )
            )
    return found


def _listeners(service: _Service, worker: int, sockets: Mapping[str, socket.socket]) -> list[str]:
    """Names that bind() gave to what this worker listens on for the network: SERVICE.LINE.WORKER."""
    return [
        name for name in sockets if name.partition(".")[0] in service.listens and name.rpartition(".")[2] == str(worker)
    ]


def bind(
    names: tuple[str, ...], control: Control, wanted: Mapping[str, int], workers: int, accounts: Accounts | None
) -> tuple[dict[str, socket.socket], dict[str, str]]:
    """Sockets by name, and what TCP ports or paths they have. Nothing stays bound when one can't be.

    wanted: other ports for the first line of a service; with that of smtp those of QMTP and QMQP move along, so that two homes
    get by each other.
    """
    sockets: dict[str, socket.socket] = {}
    ports: dict[str, str] = {}
    by_line = {line: _SERVICES[name] for name in names for line in _SERVICES[name].listens}
    try:
        listed = control.listen() if by_line else []
        usual = next((port for line, _, port in listed if line == "smtp"), 0)
        for count, (line, address, port) in enumerate(listed):
            service = by_line.get(line)
            if service is None:
                continue
            if "/" in address:
                _refuse_own(line, address)
                for worker, listener in enumerate(bind_path(line, address, service.workers(workers))):
                    sockets[f"{line}.{count}.{worker}"] = listener
                _tell(ports, line, address)
                continue
            chosen = wanted.get(line, port) if line not in ports else port
            if line in _BESIDE_SMTP and "smtp" in wanted:
                chosen = _moved(port, wanted["smtp"], usual)
            listeners = bind_tcp(line, address, chosen, service.workers(workers))
            for worker, listener in enumerate(listeners):
                sockets[f"{line}.{count}.{worker}"] = listener
            bound = listeners[0].getsockname()[1]
            _tell(ports, line, f"[{address}]:{bound}" if ":" in address else f"{address}:{bound}")
        for name in names:
            needed_for = _SERVICES[name].needed_for
            if needed_for and not any(line in needed_for for line, _, _ in control.listen()):
                continue
            for path, owner in _SERVICES[name].sockets.items():
                if accounts is None:
                    sockets[path] = bind_unix(f"run/{path}", 0o600)
                elif owner is _WORLD:
                    sockets[path] = bind_unix(f"run/{path}", 0o666)
                else:
                    sockets[path] = bind_unix(f"run/{path}", 0o600, accounts[owner].uid)
    except (QuailError, OSError):
        for listener in sockets.values():
            listener.close()
        raise
    return sockets, ports


def needed(control: Control) -> tuple[str, ...]:
    """The services that control/listen asks for, directly or not, and those that every home has."""
    lines = {line for line, _, _ in control.listen()}
    return tuple(
        name
        for name, service in _SERVICES.items()
        if not (own := {*service.listens, *service.needed_for}) or own & lines
    )


def _tell(ports: dict[str, str], line: str, where: str) -> None:
    ports[line] = f"{ports[line]} {where}" if line in ports else where


def _refuse_own(line: str, path: str) -> None:
    """The sockets between services have names in run/ that no other may take away."""
    own = {os.path.realpath(f"run/{name}") for service in _SERVICES.values() for name in service.sockets}
    if os.path.realpath(path) in own:
        raise TemporaryError(
            f"{path}, wanted for {line}, is a socket of the services; correct the line in control/listen"
        )


def _moved(port: int, smtp_port: int, usual: int) -> int:
    """As far from smtp_port as it was from the usual one; any free one, if that can't be."""
    moved = port + smtp_port - usual if port and usual and smtp_port else 0
    return moved if 0 < moved < 65536 else 0


def listening(names: tuple[str, ...]) -> bool:
    """Whether one of these services listens for the network."""
    return any(_SERVICES[name].listens for name in names)


def claim(names: tuple[str, ...]) -> list[int]:
    """Make sure that no other serve has one of these services of this home, whose sockets must not be taken away;
    TemporaryError if so. Keep the descriptors as long as it is served: they are locks.
    """
    os.makedirs("run", exist_ok=True)
    locks = []
    for name in names:
        path = f"run/{name}.lock"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            locks.append(fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _release(locks)
            raise _served(name) from None
        except OSError as error:
            _release(locks)
            raise TemporaryError(f"unable to lock {path}: {words(error)}") from error
    if "queue" in names and _answers():
        _release(locks)
        raise _served("queue")
    return locks


def _release(locks: list[int]) -> None:
    for fd in locks:
        os.close(fd)


def _answers() -> bool:
    """Whether a queue of an older version, or one whose serve was killed just now, still has the control socket."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect("run/control.sock")
    except OSError:
        return False
    finally:
        probe.close()
    return True


def _served(name: str) -> TemporaryError:
    told = "run/pids.json" if os.path.exists("run/pids.json") else f"run/pids.{name}.json"
    return TemporaryError(f"{os.getcwd()} is being served already ({told} says by whom); stop that first")
