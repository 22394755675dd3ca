"""The services of a home: who each of them is, what it binds, and that nobody serves it twice."""

import fcntl
import os
import socket

from quail.control.reader import Control
from quail.control.table import SERVED
from quail.errors import QuailError, TemporaryError
from quail.net.listeners import bind_tcp, bind_unix
from quail.oserrors import words
from quail.services import lspawn, users
from quail.services.queue import service as queue
from quail.services.rspawn import service as rspawn
from quail.services.smtpd import service as smtpd
from quail.supervise.tree import Member
from quail.users.accounts import Accounts

NAMES = ("queue", "users", "lspawn", "rspawn", "smtpd")
# Who may connect in a system home, beside root: everybody may send mail; else the one service that is the client, or
# operators. In a single home all are the starter's alone.
_UNIX_SOCKETS: dict[str, dict[str, str | None]] = {
    "queue": {"queue.sock": None, "control.sock": "qmailq"},
    "users": {"users.sock": "qmaild"},
    "lspawn": {"lspawn.sock": "qmailq"},
    "rspawn": {"rspawn.sock": "qmailq"},
}
_RUN = {"queue": queue.run, "users": users.run, "lspawn": lspawn.run, "rspawn": rspawn.run, "smtpd": smtpd.run}
_ACCOUNTS = {"queue": "qmailq", "users": "qmailp", "rspawn": "qmailr", "smtpd": "qmaild"}  # lspawn stays root
_STAGES = {"smtpd": 0, "queue": 1}  # the others after them
_LAST_STAGE = 2
_SMTPD_GRACE = 10.0  # seconds
_GRACE = 35.0


def members(
    names: tuple[str, ...], sockets: dict[str, socket.socket], workers: int, accounts: Accounts | None
) -> list[Member]:
    """What serve is to run, of these services; `sockets` are what bind() gave."""
    found = []
    for name in names:
        account = _ACCOUNTS.get(name)
        identity = None
        if accounts is not None and account is not None:
            identity = (accounts[account].uid, accounts[account].gid)
        for worker in range(workers if name == "smtpd" else 1):
            own = tuple(_UNIX_SOCKETS.get(name, ()))
            if name == "smtpd":
                own = tuple(each for each in sockets if each.startswith("smtp.") and each.endswith(f".{worker}"))
                if not own:
                    continue
            found.append(
                Member(
                    name,
                    _RUN[name],
                    own,
                    stage=_STAGES.get(name, _LAST_STAGE),
                    grace=_SMTPD_GRACE if name == "smtpd" else _GRACE,
                    prefix="" if name == "queue" else f"{name}: ",
                    worker=worker,
                    identity=identity,
                )
            )
    return found


def bind(
    names: tuple[str, ...], control: Control, smtp_port: int | None, workers: int, accounts: Accounts | None
) -> tuple[dict[str, socket.socket], dict[str, str]]:
    """Sockets by name, and what TCP ports they have. Nothing stays bound when one can't be."""
    sockets: dict[str, socket.socket] = {}
    ports: dict[str, str] = {}
    try:
        for count, (service, address, port) in enumerate(control.listen() if "smtpd" in names else ()):
            if service not in SERVED:
                continue
            wanted = smtp_port if smtp_port is not None and service == "smtp" and service not in ports else port
            listeners = bind_tcp(service, address, wanted, workers)
            for worker, listener in enumerate(listeners):
                sockets[f"{service}.{count}.{worker}"] = listener
            bound = listeners[0].getsockname()[1]
            where = f"[{address}]:{bound}" if ":" in address else f"{address}:{bound}"
            ports[service] = f"{ports[service]} {where}" if service in ports else where
        for service in names:
            for name, owner in _UNIX_SOCKETS.get(service, {}).items():
                if accounts is None:
                    sockets[name] = bind_unix(f"run/{name}", 0o600)
                elif owner is None:
                    sockets[name] = bind_unix(f"run/{name}", 0o666)
                else:
                    sockets[name] = bind_unix(f"run/{name}", 0o600, accounts[owner].uid)
    except (QuailError, OSError):
        for listener in sockets.values():
            listener.close()
        raise
    return sockets, ports


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
