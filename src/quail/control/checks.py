"""What is wrong with a home's configuration, file by file, before a service stumbles over it.

Every file is read as its readers would read it (errors), then looked at for what they would take without a word although
nobody can have meant it (warnings), and for what another file makes useless. Paths in problems are relative to the home.
"""

import os
import socket
from collections.abc import Callable, Iterator

from quail.cdb.reader import Reader
from quail.control.nameservers import parse_nameservers
from quail.control.places import rules_folder
from quail.control.qmqpservers import parse_qmqpservers
from quail.control.reader import Control, clamp, parse_addresses, parse_integer, parse_list, read_file
from quail.control.routes import parse_relay
from quail.control.table import CDB, INTEGER, LINE, LIST, LISTEN, PAIRS, TABLE, Entry, absent, bounds
from quail.errors import ConfigError, PeerError, QuailError
from quail.message.routing import REMOTE, Routes

ERROR, WARNING = "error", "warning"  # something stops or defers because of it; all runs, but hardly as intended

_LIKE = 0.8  # of two names, by difflib: a letter or two apart
DOMAIN_LISTS = ("locals", "rcpthosts", "morercpthosts", "percenthack", "virtualdomains")
COMPILED = (  # source, what is made of it, by which command
    ("control/morercpthosts", "control/morercpthosts.cdb", "qmail-newmrh"),
    ("users/assign", "users/cdb", "qmail-newu"),
)


class Problem:
    """One finding. line counts from 1; 0 means the file as a whole."""

    __slots__ = ("line", "path", "reason", "remedy", "severity")

    def __init__(self, path: str, line: int, severity: str, reason: str, remedy: str) -> None:
        self.path, self.line, self.severity, self.reason, self.remedy = path, line, severity, reason, remedy

    def __str__(self) -> str:
        where = f"{self.path} line {self.line}" if self.line else self.path
        return f"{where}: {self.severity}: {self.reason}; {self.remedy}"


def nearest(name: str) -> str | None:
    """The known file whose name is most like this one."""
    from difflib import get_close_matches  # noqa: PLC0415  only for people who mistype

    return next(iter(get_close_matches(name, TABLE, cutoff=_LIKE)), None)


def check(home: str) -> list[Problem]:
    """All problems of the home's control/ and of the files compiled from others, in the order of their paths."""
    directory = os.path.join(home, "control")
    try:
        present = sorted(os.listdir(directory))
    except OSError as error:
        remedy = "call quail init, or name the home by --home or $QMAILHOME"
        return [Problem("control", 0, ERROR, f"cannot be listed in {home}: {error.strerror}", remedy)]
    problems = list(_directory(directory))
    for name in present:
        problems += _unknown(name) if name not in TABLE else _file(directory, TABLE[name])
    problems += _missing(present)
    try:
        problems += _together(Control(directory), present)
        problems += _socket_folders(home, Control(directory))
    except QuailError:
        pass  # a file that cannot be read is among the problems already
    try:
        problems += _stale(home)
    except QuailError:
        pass  # control/mode, likewise
    problems.sort(key=lambda problem: (problem.path, problem.line))
    return problems


def _warn(name: str, line: int, reason: str, remedy: str) -> Problem:
    return Problem(f"control/{name}", line, WARNING, reason, remedy)


def _directory(directory: str) -> Iterator[Problem]:
    if os.stat(directory).st_mode & 0o002:
        yield Problem("control", 0, WARNING, "everybody may write into it", "call chmod 755 on it")


def _unknown(name: str) -> Iterator[Problem]:
    if name.startswith("."):
        return
    like = nearest(name)
    yield _warn(
        name,
        0,
        "nothing reads a file of this name",
        f"did you mean {like}?" if like else "remove it, unless another program does",
    )


def _file(directory: str, entry: Entry) -> Iterator[Problem]:
    path = f"{directory}/{entry.name}"
    control = Control(directory)
    severity = WARNING if all(reader.startswith("qmail-") for reader in entry.readers) else ERROR  # no service reads it
    read: dict[str, Callable[[str], object]] = {
        LINE: control.line,
        INTEGER: control.integer,
        LIST: control.lines,
        PAIRS: control.pairs,
        LISTEN: lambda _: control.listen(),
        CDB: lambda name: Reader(read_file(control.path(name)) or b""),
    }
    try:
        read[entry.kind](entry.name)
        mode = os.stat(path).st_mode
        data = read_file(path) or b""
        judge_values(entry, path, data)
    except ConfigError as error:
        yield Problem(f"control/{entry.name}", error.line, severity, error.reason, error.remedy)
        return
    except PeerError as error:
        yield Problem(f"control/{entry.name}", 0, ERROR, f"is {error}", "call qmail-newmrh")
        return
    except QuailError as error:
        what = str(error).removeprefix(f"{path}: ")
        yield Problem(f"control/{entry.name}", 0, severity, what, "let the account that runs the service read it")
        return
    except OSError:
        return  # removed this moment
    if mode & 0o002:
        yield _warn(entry.name, 0, "everybody may change it", "call chmod 644 on it")
    if entry.kind in {LINE, INTEGER}:
        yield from _one_line(path, entry, data)
    elif entry.kind in {LIST, PAIRS}:
        yield from _entries(path, entry, data)
    if reason := absent(entry):
        yield _warn(entry.name, 0, f"nothing reads it: {reason}", "keep it for later, or remove it")


def judge_values(entry: Entry, path: str, data: bytes) -> None:
    """ConfigError if the file is well formed, and something in it means nothing to its readers."""
    if entry.name == "smtproutes":
        for number, text in parse_list(path, data):
            parse_relay(path, number, text.partition(b":")[2])
    elif entry.name == "outgoingip":
        parse_addresses(path, data)
    elif entry.name == "nameservers":
        parse_nameservers(path, data)
    elif entry.name == "qmqpservers":
        parse_qmqpservers(path, data)


def _one_line(path: str, entry: Entry, data: bytes) -> Iterator[Problem]:
    first, _, rest = data.partition(b"\n")
    if first.startswith(b"#"):
        yield _warn(
            entry.name, 1, "is taken as the value: this file has no comments", "put the value on the first line"
        )
    elif first[:1] in {b" ", b"\t"}:
        yield _warn(entry.name, 1, "begins with a blank, which becomes part of the value", "remove the blank")
    if rest.strip():
        yield _warn(entry.name, 2, "only the first line counts", "remove the lines after it")
    if entry.kind == INTEGER:
        number = parse_integer(path, data)
        if first.strip().lstrip(b"0123456789"):
            yield _warn(entry.name, 1, f"is taken as {number}: a unit or sign is not understood", "write digits only")
        if (held := clamp(entry, number)) != number:
            yield _warn(entry.name, 1, f"is taken as {held}", f"write a number: {bounds(entry)}")


def _entries(path: str, entry: Entry, data: bytes) -> Iterator[Problem]:
    seen: dict[bytes, int] = {}
    for number, text in parse_list(path, data):
        name = text.partition(b":")[0] if entry.kind == PAIRS else text
        if entry.name != "defaultdelivery":
            if name[:1] in {b" ", b"\t"}:
                yield _warn(entry.name, number, "begins with a blank, and so matches nothing", "remove the blank")
            elif b" " in name or b"\t" in name:
                yield _warn(
                    entry.name, number, "has a blank in a name, and so matches nothing", "write one name a line"
                )
            if (line := seen.setdefault(name.lower(), number)) != number:
                yield _warn(entry.name, number, f"has the name of line {line} again", "keep the line that you mean")
        if entry.name in DOMAIN_LISTS and entry.kind == LIST:
            if b"@" in name:
                yield _warn(entry.name, number, "is an address, and so matches no domain", "write the domain only")
            elif name[:1] == b"." and entry.name in {"locals", "percenthack"}:
                yield _warn(
                    entry.name, number, "begins with a dot, and so matches nothing", "write each domain in full"
                )
        if entry.name == "badmailfrom" and b"@" not in name:
            yield _warn(
                entry.name, number, "has no @, and so matches no sender", "write @host for all senders of a host"
            )


def _missing(present: list[str]) -> Iterator[Problem]:
    if "me" not in present:
        yield Problem("control/me", 0, ERROR, "does not exist", "write the full name of this host into it")
    if "listen" not in present:
        remedy = f"write a line like {TABLE['listen'].example}"
        yield Problem("control/listen", 0, ERROR, "does not exist: no service is started", remedy)
    if "rcpthosts" not in present and "morercpthosts.cdb" not in present:
        reason = "does not exist: no mail from outside is accepted (qmail would relay for everybody)"
        yield _warn("rcpthosts", 0, reason, "write each domain that is received here on a line of its own")


def _together(control: Control, present: list[str]) -> Iterator[Problem]:
    """What only shows in two files at once. Raises QuailError for a file that cannot be read."""
    accepted = {text.lower() for name in ("rcpthosts", "morercpthosts") for text in control.lines(name)}
    if "rcpthosts" in present and "morercpthosts.cdb" not in present and not accepted:
        yield _warn(
            "rcpthosts", 0, "names no domain: no mail from outside is accepted", "add one, unless that is what you want"
        )
    local = [text.lower() for text in control.lines("locals")]
    virtual = control.pairs("virtualdomains")
    for name in virtual:
        domain = name.rpartition(b"@")[2]
        if domain in local:
            does_nothing = f" does nothing: {_shown(domain)}" if domain != name else ""
            reason = f"{_shown(name)}{does_nothing} is in locals too, which goes first"
            yield _warn("virtualdomains", 0, reason, "remove it from one of the two")
    for name in [*local, *(name.rpartition(b"@")[2] for name, prefix in virtual.items() if prefix)]:
        if accepted and name and not _covered(name, accepted):
            reason = f"{_shown(name)} is missing: mail for it is delivered here, but not accepted from outside"
            yield _warn("rcpthosts", 0, reason, "add it, unless that is what you want")
    if not control.integer("concurrencyremote"):
        yield from _waiting(control, local, virtual)
    for name in control.lines("percenthack"):
        if _covered(name.lower(), accepted):
            reason = f"{_shown(name)} is in rcpthosts too: anybody can relay to anywhere as user%host@{_shown(name)}"
            yield _warn("percenthack", 0, reason, "remove it")
    if "rcptcheck" in present and control.integer("rcptcheck") == 0:
        reason = "mail for unknown users is accepted, and bounces go to senders who are often forged"
        yield _warn("rcptcheck", 1, reason, "write 1")
    for address in control.addresses("outgoingip").values():
        if not _is_own(address):
            reason = f"{address} is not an address of this host: no mail goes out from it"
            yield _warn("outgoingip", 0, reason, "write an address that ip addr shows")


def _socket_folders(home: str, control: Control) -> Iterator[Problem]:
    """Where control/listen wants Unix sockets. `run` is made at the start."""
    for service, place, _ in control.listen():
        folder = os.path.dirname(os.path.normpath(os.path.join(home, place))) if "/" in place else home
        if not os.path.isdir(folder) and folder != os.path.normpath(os.path.join(home, "run")):
            reason = f"{place}, wanted for {service}, is in a folder that is not there"
            yield Problem("control/listen", 0, ERROR, reason, f"make {folder}, or correct the line")


def _is_own(address: str) -> bool:
    """Whether a connection could come from this address: the one thing that is asked of it."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _waiting(control: Control, local: list[bytes], virtual: dict[bytes, bytes]) -> Iterator[Problem]:
    """Domains that mail is accepted for, but stays in the queue. Entries for parts of a domain say too little to judge."""
    routes = Routes(local, virtual, (), b"")
    partly = {name.rpartition(b"@")[2] for name in virtual if b"@" in name}
    for name in control.lines("rcpthosts"):
        is_domain = not (name.startswith(b".") or any(char in name for char in b" \t@"))
        if is_domain and name.lower() not in partly and routes.route(b"@" + name)[0] == REMOTE:
            reason = (
                f"mail for {_shown(name)} is accepted from outside, but is not delivered here and so waits in the queue"
            )
            yield _warn("rcpthosts", 0, reason, "add it to locals or virtualdomains, or remove it here")


def _covered(name: bytes, accepted: set[bytes]) -> bool:
    """Whether rcpthosts' rules accept the domain: itself, or a suffix of it that begins with a dot."""
    return name in accepted or any(name[at:] in accepted for at in range(len(name)) if name[at : at + 1] == b".")


def _shown(name: bytes) -> str:
    return name.decode("ascii", "backslashreplace")


def _stale(home: str) -> Iterator[Problem]:
    """Compiled files that their source has overtaken, or that nobody can read: those put mail off, or turn clients away."""
    folder = rules_folder(os.fsdecode(Control(f"{home}/control").line("mode") or b""))
    try:
        rules = [
            name
            for name in os.listdir(os.path.join(home, folder))
            if f".{name}".count(".") == 1 and not name.endswith("~")
        ]
    except OSError:
        rules = []
    made = [(f"{folder}/{name}", f"{folder}/{name}.cdb", _tcprules(home, f"{folder}/{name}")) for name in rules]
    for source, compiled, command in (*COMPILED, *made):
        written, built = _changed(os.path.join(home, source)), _changed(os.path.join(home, compiled))
        if written is None:
            continue
        if built is None:
            yield Problem(compiled, 0, WARNING, f"does not exist, so nothing of {source} counts yet", f"call {command}")
        elif built < written:
            yield Problem(compiled, 0, WARNING, f"is older than {source}", f"call {command}")
        elif reason := _damage(os.path.join(home, compiled)):
            yield Problem(compiled, 0, WARNING, f"is {reason}", f"call {command}")


def _tcprules(home: str, source: str) -> str:
    path = os.path.join(home, source)
    return f"tcprules {path}.cdb {path}.tmp < {path}"


def _damage(path: str) -> str:
    """What keeps a cdb file from being read to its end; empty if nothing does, or it may not be looked into from here."""
    try:
        for _ in Reader(read_file(path) or b"").items():
            pass
    except PeerError as error:
        return str(error)
    except QuailError:
        return "" if os.path.isfile(path) else "not a regular file"
    return ""


def _changed(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None
