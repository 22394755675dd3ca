"""quail serve: run the home's services in the foreground, under one parent that starts again what ends."""

import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable

import click

from quail.cli import launchers, preflight
from quail.cli.home import home_option, must_be_home
from quail.control import checks
from quail.control.places import SYSTEM
from quail.control.reader import Control
from quail.control.table import SERVED
from quail.errors import PermanentError, QuailError, TemporaryError
from quail.net.listeners import bind_tcp, bind_unix
from quail.oserrors import words
from quail.services import lspawn, users
from quail.services.queue import service as queue
from quail.services.rspawn import service as rspawn
from quail.services.smtpd import census
from quail.services.smtpd import service as smtpd
from quail.storage import tcpto
from quail.storage.calls import prepare_syncfs
from quail.storage.durable import replace_file
from quail.supervise.log import LineLog
from quail.supervise.tree import Member, Tree
from quail.users.accounts import Accounts

# Who may connect in a system home, beside root: everybody may send mail; else the one service that is the client, or
# operators. In a single home all are the starter's alone.
UNIX_SOCKETS = {
    "queue.sock": None,
    "users.sock": "qmaild",
    "lspawn.sock": "qmailq",
    "rspawn.sock": "qmailq",
    "control.sock": "qmailq",
}
_SMTPD_GRACE = 10.0  # seconds
_QUEUE_GRACE = 35.0
_LAST_GRACE = 35.0
_SIGNALS_FOR: dict[int, tuple[str, ...]] = {signal.SIGALRM: ("queue",)}
_MOST_DESCRIPTORS = 1 << 20


class Started:
    """What has been bound, for whoever wants to tell: service name to "address:port"."""

    __slots__ = ("home", "ports")

    def __init__(self, home: str, ports: dict[str, str]) -> None:
        """`home` is absolute."""
        self.home = home
        self.ports = ports


@click.command()
@click.option("--smtp-port", type=int, help="This port for smtp, for once, instead of the one in control/listen.")
@click.option("--stamp", is_flag=True, help="Begin log lines with the time of day; so on a terminal anyway.")
@home_option
def serve(home: str, smtp_port: int | None, stamp: bool) -> None:
    """Run all services in the foreground until Ctrl-C or TERM."""
    serve_home(home, smtp_port=smtp_port, stamp=stamp or sys.stderr.isatty())


def serve_home(
    home: str,
    *,
    smtp_port: int | None = None,
    stamp: bool = False,
    started: Callable[[Started], None] | None = None,
) -> None:
    """Serve until TERM or INT; `started` is called, in this process, once everything runs."""
    must_be_home(home)
    os.chdir(home)
    home = os.getcwd()
    _refuse_foreign_home(home)
    os.umask(0o022)
    nofile = _raise_limit()
    log = LineLog(stamp=stamp)
    _check(home, log)
    control = Control()
    mode = os.fsdecode(control.line("mode") or b"")
    accounts = _accounts(home) if mode == SYSTEM else None
    if accounts is None and os.geteuid() == 0:
        log(
            "warning: serving a single home as root: use an ordinary account; program lines in dot-qmail files are refused"
        )
    _refresh_launchers(home, accounts, log)
    _complete_tcpto(accounts, log)
    workers = control.integer("smtpdworkers")
    sockets, ports = _bind(control, smtp_port, workers, accounts)

    def identity(name: str) -> tuple[int, int] | None:
        return None if accounts is None else (accounts[name].uid, accounts[name].gid)

    members = [
        Member(
            "queue",
            queue.run,
            ("queue.sock", "control.sock"),
            stage=1,
            grace=_QUEUE_GRACE,
            prefix="",
            identity=identity("qmailq"),
        ),
        Member(
            "users",
            users.run,
            ("users.sock",),
            stage=2,
            grace=_LAST_GRACE,
            prefix="users: ",
            identity=identity("qmailp"),
        ),
        Member("lspawn", lspawn.run, ("lspawn.sock",), stage=2, grace=_LAST_GRACE, prefix="lspawn: "),
        Member(
            "rspawn",
            rspawn.run,
            ("rspawn.sock",),
            stage=2,
            grace=_LAST_GRACE,
            prefix="rspawn: ",
            identity=identity("qmailr"),
        ),
    ]
    for worker in range(workers):
        own = tuple(name for name in sockets if name.startswith("smtp.") and name.endswith(f".{worker}"))
        if own:
            members.append(
                Member(
                    "smtpd",
                    smtpd.run,
                    own,
                    stage=0,
                    grace=_SMTPD_GRACE,
                    prefix="smtpd: ",
                    worker=worker,
                    identity=identity("qmaild"),
                )
            )
    prepare_syncfs()  # for the delivery workers
    tree = Tree(
        members,
        sockets,
        home=home,
        mode=mode,
        log=log,
        nofile=nofile,
        uids=accounts.uids() if accounts is not None else None,
        counters=census.make(workers),
        signals_for=_SIGNALS_FOR,
    )
    _write("run/ports.json", json.dumps(ports, indent=2, sort_keys=True) + "\n")

    def ready() -> None:
        log("serving " + home + (": " + ", ".join(f"{n} on {p}" for n, p in sorted(ports.items())) if ports else ""))
        if started is not None:
            started(Started(home, ports))

    try:
        tree.run(ready)
    finally:
        for name in ("run/ports.json", "run/pids.json"):
            try:
                os.unlink(name)
            except OSError:
                pass
    log("stopped")


def _refuse_foreign_home(home: str) -> None:
    """Root writes in run/ and queue/, and reads control/: whoever owns the home could put links there."""
    owner = os.stat(home).st_uid
    if os.geteuid() == 0 and owner != 0:
        raise PermanentError(
            f"{home} belongs to uid {owner}: serve a single home as its owner; a system home belongs to root (chown root"
            f" {home})"
        )


def _accounts(home: str) -> Accounts:
    """Those of a system home, after a look at whether they can run it at all."""
    if os.geteuid() != 0:
        raise PermanentError(f"{home} is a system home: only root can serve it")
    accounts = Accounts.load()
    preflight.check(home, accounts)
    return accounts


def _refresh_launchers(home: str, accounts: Accounts | None, log: LineLog) -> None:
    try:
        changed = launchers.refresh(home, owner=None if accounts is None else (0, accounts.qmail_gid))
    except OSError as error:
        log(f"warning: unable to write the programs in {home}/bin: {words(error)}")
        return
    except PermanentError as error:
        log(f"warning: {error}")
        return
    if changed:
        log(f"programs in {home}/bin that lead to this version now: {' '.join(changed)}")


def _complete_tcpto(accounts: Accounts | None, log: LineLog) -> None:
    try:
        tcpto.complete(tcpto.PATH, owner=None if accounts is None else (accounts["qmailr"].uid, accounts.qmail_gid))
    except OSError as error:
        log(f"warning: unable to make {tcpto.PATH}, so slow hosts are not remembered: {words(error)}")


def _raise_limit() -> tuple[int, int]:
    """Each client takes a descriptor or two, and the usual soft limit is 1024. Returns the old one: programs get that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft, hard


def _check(home: str, log: LineLog) -> None:
    """Say what is wrong with the control files; stop if anything would keep a service from running."""
    problems = checks.check(home)
    for problem in problems:
        log(str(problem))
    if any(problem.severity == checks.ERROR for problem in problems):
        raise PermanentError(f"not started: correct the files below {home}/control named above")


def _bind(
    control: Control, smtp_port: int | None, workers: int, accounts: Accounts | None
) -> tuple[dict[str, socket.socket], dict[str, str]]:
    """Sockets by name, and what TCP ports they have. Nothing stays bound when one can't be."""
    sockets: dict[str, socket.socket] = {}
    ports: dict[str, str] = {}
    os.makedirs("run", exist_ok=True)
    _refuse_second()
    try:
        for count, (service, address, port) in enumerate(control.listen()):
            if service not in SERVED:
                continue
            wanted = smtp_port if smtp_port is not None and service == "smtp" and service not in ports else port
            listeners = bind_tcp(service, address, wanted, workers)
            for worker, listener in enumerate(listeners):
                sockets[f"{service}.{count}.{worker}"] = listener
            bound = listeners[0].getsockname()[1]
            where = f"[{address}]:{bound}" if ":" in address else f"{address}:{bound}"
            ports[service] = f"{ports[service]} {where}" if service in ports else where
        for name, owner in UNIX_SOCKETS.items():
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


def _refuse_second() -> None:
    """Somebody who answers on the control socket is another serve of this home; its sockets must not be taken away."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect("run/control.sock")
    except OSError:
        return
    finally:
        probe.close()
    raise TemporaryError(f"{os.getcwd()} is being served already (run/pids.json says by whom); stop that first")


def _write(path: str, text: str) -> None:
    replace_file(path, text.encode())
