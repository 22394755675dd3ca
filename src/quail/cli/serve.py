"""quail serve: run the home's services in the foreground, under one parent that starts again what ends."""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType

import click

from quail.cli import launchers, members, preflight
from quail.cli.home import home_option, must_be_home
from quail.control import checks
from quail.control.places import SYSTEM
from quail.control.reader import Control
from quail.errors import PermanentError, UsageError
from quail.oserrors import words
from quail.storage import tcpto
from quail.storage.calls import prepare_syncfs
from quail.storage.durable import replace_file
from quail.supervise.descriptors import fill_standard
from quail.supervise.log import LineLog
from quail.supervise.logprogram import LogProgram
from quail.supervise.tree import Member, Tree
from quail.users.accounts import Accounts

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
@click.option(
    "--smtp-port",
    type=click.IntRange(0, 65535),
    help="This port for smtp, for once, instead of the one in control/listen.",
)
@click.option("--pop3-port", type=click.IntRange(0, 65535), help="The same for pop3.")
@click.option("--stamp", is_flag=True, help="Begin log lines with the time of day; so on a terminal anyway.")
@click.option(
    "--only",
    metavar="NAME[,NAME...]",
    help=f"Run these services alone, of {', '.join(members.NAMES)}; others may run the rest.",
)
@home_option
def serve(home: str, smtp_port: int | None, pop3_port: int | None, stamp: bool, only: str | None) -> None:
    """Run all services in the foreground until Ctrl-C or TERM."""
    serve_home(home, ports=wanted_ports(smtp_port, pop3_port), stamp=stamp or sys.stderr.isatty(), only=_names(only))


def wanted_ports(smtp: int | None, pop3: int | None) -> dict[str, int]:
    """Of the services for which an option gives another port than control/listen does."""
    return {name: port for name, port in (("smtp", smtp), ("pop3", pop3)) if port is not None}


def _names(only: str | None) -> tuple[str, ...]:
    if only is None:
        return members.NAMES
    wanted = only.split(",")
    for name in wanted:
        if name not in members.NAMES:
            raise UsageError(f"there is no service {name!r}: --only takes some of {', '.join(members.NAMES)}")
    return tuple(name for name in members.NAMES if name in wanted)


def serve_home(
    home: str,
    *,
    ports: Mapping[str, int] = MappingProxyType({}),
    stamp: bool = False,
    only: tuple[str, ...] = members.NAMES,
    started: Callable[[Started], None] | None = None,
    log: LineLog | None = None,
    log_program: LogProgram | None = None,
    adapt: Callable[[Member], None] | None = None,
    process_name: str = "quail-serve",
) -> None:
    """Serve until TERM or INT; `started` is called, in this process, once everything runs.

    `only`: the services that are meant, in the order of members.NAMES. What is the whole home's to do goes with the queue.
    `ports`: other ones than those of control/listen, by service.
    log: where to, if not to standard error; log_program: who reads it. adapt: may change what is to run, one by one.
    process_name: what ps shows of this process.
    """
    must_be_home(home)
    fill_standard()
    os.chdir(home)
    home = os.getcwd()
    _refuse_foreign_home(home)
    os.umask(0o022)
    nofile = _raise_limit()
    log = log or LineLog(stamp=stamp)
    _check(home, log)
    control = Control()
    mode = os.fsdecode(control.line("mode") or b"")
    accounts = _accounts(home) if mode == SYSTEM else None
    if accounts is None and os.geteuid() == 0:
        log(
            "warning: serving a single home as root: use an ordinary account; program lines in dot-qmail files are refused"
        )
    if "queue" in only:
        _refresh_launchers(home, accounts, log)
    if "rspawn" in only:
        _complete_tcpto(accounts, log)
    workers = control.integer("smtpdworkers")
    locks = members.claim(only)
    sockets, bound = members.bind(only, control, ports, workers, accounts)
    # Whoever serves a part of the home leaves the files of others alone.
    pids_path = f"run/pids{'' if only == members.NAMES else '.' + '.'.join(only)}.json"
    ports_path = f"run/ports{'' if 'smtpd' in only else '.' + '.'.join(only)}.json"
    told = [pids_path, *([ports_path] if members.listening(only) else [])]
    prepare_syncfs()  # for the delivery workers
    services = members.members(only, sockets, workers, accounts)
    for member in services:
        if adapt is not None:
            adapt(member)
    tree = Tree(
        services,
        sockets,
        home=home,
        mode=mode,
        log=log,
        nofile=nofile,
        uids=accounts.uids() if accounts is not None else None,
        signals_for=_SIGNALS_FOR,
        pids_path=pids_path,
        log_program=log_program,
        process_name=process_name,
    )
    if members.listening(only):
        _write(ports_path, json.dumps(bound, indent=2, sort_keys=True) + "\n")

    def ready() -> None:
        what = "" if only == members.NAMES else f"{' and '.join(only)} of "
        log(
            f"serving {what}{home}"
            + (": " + ", ".join(f"{n} on {p}" for n, p in sorted(bound.items())) if bound else "")
        )
        if started is not None:
            started(Started(home, bound))

    try:
        tree.run(ready)
    finally:
        for name in told:
            try:
                os.unlink(name)
            except OSError:
                pass
        for fd in locks:
            os.close(fd)
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


def _write(path: str, text: str) -> None:
    replace_file(path, text.encode())
