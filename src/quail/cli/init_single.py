"""Making a single home, which runs wholly as whoever makes it.

It is complete, and a home at all, from the moment at which control/mode appears: that is written last, by one rename. Until
then control/.mode.new marks what an interrupted init has begun, and the next init goes on with it.
"""

import os
import pwd

from quail.cli import launchers
from quail.cli.rules import write_rules
from quail.control.table import TABLE
from quail.errors import PermanentError, TemporaryError, UsageError
from quail.oserrors import words
from quail.storage import tcpto
from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import replace_file
from quail.storage.folders import make_folder
from quail.users.mailboxes import ALIASES, add_alias, add_user, fit_name

SMTP_PORT = 2525
POP3_PORT = 2110
_OTHER_PORTS = {"qmtp": 2209, "qmqp": 2628}  # beside that of SMTP; with another, as far from it
NAMELESS = "me"  # the first mailbox of a starter whose uid has no name, as in many containers

# What only the services need, and what people may look at. The queue makes queue/lock, serve the sockets in run/. By the mode
# of queue/mess the queue's first start sees that it must not make that anew: spawn daemons may be waiting in it by then.
_PRIVATE = {
    "queue": 0o700,
    "queue/journal": 0o700,
    "queue/mess": 0o710,
    "queue/drop": 0o700,
    "queue/damaged": 0o700,
    "run": 0o700,
}
_OPEN = ("alias", "etc", "etc/tcprules.d", "mail", "users")


def init_single(
    directory: str,
    *,
    name: str | None = None,
    smtp_port: int = SMTP_PORT,
    pop3_port: int | None = POP3_PORT,
    calls: SystemCalls = REAL,
) -> str:
    """Make a single home, or complete one that an interrupted call has begun; returns the name of its first mailbox.

    name: of the mailbox, the caller's account by default. smtp_port, pop3_port: 0 to 65535, on 127.0.0.1;
    None: not at all. QMTP and QMQP are as far from smtp_port as from the usual one. UsageError for a bad name,
    PermanentError if the directory is a home already or has something else in it, TemporaryError if it can't be written.
    """
    home = os.path.abspath(directory)
    first = fit_name(name) if name is not None else _own_name()
    if any(char in home for char in ":\n"):
        raise PermanentError(
            f"{home!r} can't be a home: users/assign has no way to write a path with a colon or a line feed"
        )
    mask = os.umask(0o022)
    try:
        if os.path.lexists(f"{home}/control/mode"):
            raise PermanentError(f"{home} is a home already: quail serve --home {home} starts it")
        refuse_strangers(home)
        _make(home, first, _listen(smtp_port, pop3_port), calls)
    except OSError as error:
        file = error.filename if isinstance(error.filename, str) else home
        raise TemporaryError(f"unable to write {file}: {words(error)}") from error
    finally:
        os.umask(mask)
    return first


def aliases(first: str) -> list[str]:
    """The addresses that go to the first mailbox."""
    return [alias for alias in ALIASES if alias != first]


def _own_name() -> str:
    try:
        return fit_name(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        return NAMELESS
    except UsageError as error:
        raise UsageError(f"{error}; give the mailbox another one with --name") from error


def refuse_strangers(home: str) -> None:
    """Raise PermanentError unless there is nothing, an empty folder or file system, or the work of an interrupted init."""
    if os.path.lexists(f"{home}/control/.mode.new"):
        return
    try:
        found = [name for name in os.listdir(home) if name != "lost+found"]
        if found == ["control"] and os.listdir(f"{home}/control") in ([], [".mode.new.tmp"]):
            return  # interrupted while the mark was made
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise PermanentError(f"{home} is not a folder") from None
    if "control" in found:
        raise PermanentError(
            f"{home} is a home of qmail or another program, and stays as it is: choose a new folder, or move it"
            " away and copy its control, alias and users into the new home (docs/compatibility.md)"
        )
    if found:
        raise PermanentError(f"{home} has other things in it: choose a new folder, or empty it")


def _make(home: str, first: str, listen: str, calls: SystemCalls) -> None:
    make_folder(home, calls=calls)
    make_folder(f"{home}/control", calls=calls)
    unfinished = f"{home}/control/.mode.new"
    replace_file(unfinished, b"", calls=calls)
    for name, mode in _PRIVATE.items():
        make_folder(f"{home}/{name}", mode, calls=calls)
    for name in _OPEN:
        make_folder(f"{home}/{name}", calls=calls)
    tcpto.complete(f"{home}/{tcpto.PATH}", calls=calls)
    for name, line in _settings(listen).items():
        replace_file(f"{home}/control/{TABLE[name].name}", f"{line}\n".encode(), calls=calls)
    write_rules(f"{home}/etc/tcprules.d", calls=calls)
    launchers.write(home, calls=calls)
    add_user(home, first, os.geteuid(), os.getegid(), calls=calls)
    for alias in aliases(first):
        add_alias(home, alias, first, calls=calls)
    replace_file(f"{home}/control/mode", b"single\n", tmp=unfinished, calls=calls)


def _listen(smtp_port: int, pop3_port: int | None) -> str:
    ports = {"smtp": smtp_port} | ({"pop3": pop3_port} if pop3_port is not None else {})
    for service, usual in _OTHER_PORTS.items():
        port = smtp_port and usual + smtp_port - SMTP_PORT
        if 0 <= port < 65536:
            ports[service] = port
    return "\n".join(f"{service} 127.0.0.1:{port}" for service, port in ports.items())


def _settings(listen: str) -> dict[str, str]:
    return {
        "me": "localhost",
        "locals": "localhost",
        "defaultdomain": "",  # joe@localhost is complete
        "rcpthosts": "localhost",
        "defaultdelivery": "./Maildir/",
        "concurrencylocal": "100",  # deliveries wait for syncs, which they share: the more at once, the fewer
        "concurrencyremote": "0",
        "listen": listen,
    }
