"""Making a system home, or completing one: whatever is missing is made, and nothing that is there is changed.

It is a home from the moment at which control/mode appears, last of all and by one rename. Until then control/.mode.new marks
what an interrupted init has begun; the next one goes on with it, and writes the settings anew, for its own domain.
"""

import os
import socket

from quail.cli import bytecode, launchers, preflight
from quail.cli.init_single import refuse_strangers
from quail.cli.rules import complete_rules
from quail.cli.system import boot, links
from quail.cli.system.accounts import Machine
from quail.cli.system.layout import FOLDERS
from quail.control.domain import LOCAL_ONLY, default_domain, fit_domain
from quail.control.places import SYSTEM, SYSTEM_RULES
from quail.control.table import TABLE
from quail.errors import PermanentError, TemporaryError
from quail.oserrors import words
from quail.storage import tcpto
from quail.storage.calls import REAL, SystemCalls
from quail.storage.durable import replace_file
from quail.storage.folders import make_folder
from quail.users import getpw
from quail.users.accounts import ALIAS, Accounts
from quail.users.mailboxes import ALIASES
from quail.users.nss import by_name


class Made:
    """What init did, for whoever tells.

    name: the domain. fresh: whether there was no whole home before. accounts: names of groups and accounts that were made.
    linked, taken: names of sendmail that lead here now, or that something else has. rules: the rules file, if it was made.
    """

    __slots__ = ("accounts", "fresh", "linked", "name", "rules", "taken")

    def __init__(self, name: str, *, fresh: bool) -> None:
        self.name = name
        self.fresh = fresh
        self.accounts: list[str] = []
        self.linked: list[str] = []
        self.taken: list[str] = []
        self.rules: str | None = None


def init_system(
    domain: str,
    home: str,
    *,
    admin: str | None = None,
    sendmail: bool = True,
    machine: Machine | None = None,
    root: str = "",
    calls: SystemCalls = REAL,
) -> Made:
    """Make a system home, or complete it. Only for root.

    admin: the account that gets the mail for root, postmaster and mailer-daemon. sendmail: whether the names of sendmail are to
    lead here. machine: whose accounts; root: what stands before each path outside of the home; these two are for tests.
    UsageError for a bad domain; PermanentError if the home is something else, an account does not fit, or the place does not;
    TemporaryError if something can't be written now.
    """
    machine = machine or Machine()
    home = os.path.abspath(home)
    if any(char in home for char in ":\n"):
        raise PermanentError(f"{home!r} can't be a home: users/assign has no way to write a colon or a line feed")
    made = Made(fit_domain(domain), fresh=_is_new(home))
    preflight.check_places(home)
    if admin is not None:
        refuse_unfit_admin(admin)
    mask = os.umask(0o022)
    try:
        made.accounts = machine.complete(home)
        accounts = machine.accounts()
        if made.fresh:
            _begin(home, made.name, accounts, calls)
        _make_folders(home, accounts, admin, calls, fresh=made.fresh)
        launchers.write(home, owner=(0, accounts.qmail_gid), calls=calls)
        boot.complete(home, owner=(0, accounts.qmail_gid), calls=calls)
        bytecode.compile_quail()
        made.rules = complete_rules(root + SYSTEM_RULES, root + "/etc/tcp.{}.cdb", calls=calls)
        if sendmail:
            made.linked, made.taken = links.make(home, root=root, calls=calls)
        if made.fresh:
            replace_file(f"{home}/control/mode", b"system\n", tmp=f"{home}/control/.mode.new", calls=calls)
    except OSError as error:
        file = error.filename if isinstance(error.filename, str) else home
        raise TemporaryError(f"unable to write {file}: {words(error)}") from error
    finally:
        os.umask(mask)
    return made


def _is_new(home: str) -> bool:
    """False for a system home that is whole. PermanentError for anything that can't become one."""
    try:
        with open(f"{home}/control/mode", "rb") as file:
            if file.readline().strip() == SYSTEM.encode():
                return False
    except FileNotFoundError:
        refuse_strangers(home)
        return True
    except OSError as error:
        raise TemporaryError(f"unable to read {home}/control/mode: {words(error)}") from error
    raise PermanentError(f"{home} is a single home: choose another folder with --home, or serve this one as it is")


def refuse_unfit_admin(admin: str) -> None:
    """PermanentError unless mail for this local part goes to an account of this name."""
    if not gets_mail(admin):
        raise PermanentError(
            f"{admin} can't get root's mail: name an account of a person, in lower case, that owns its home folder"
        )


def gets_mail(account: str) -> bool:
    """Whether mail for this local part goes to an account of the same name, by the rules of qmail-getpw."""
    name = os.fsencode(account)
    if name in {b"", getpw.ALIAS} or name != name.lower() or len(name) > getpw.LONGEST:
        return False
    entry = by_name(name)
    return entry is not None and getpw.gets_mail(entry.name, entry.uid) and getpw.owns_home(entry)


def _begin(home: str, name: str, accounts: Accounts, calls: SystemCalls) -> None:
    """The mark of what is not whole yet, and the settings."""
    owner = (0, accounts.qmail_gid)
    _make_home(home, owner, calls)
    make_folder(f"{home}/control", owner=owner, calls=calls)
    replace_file(f"{home}/control/.mode.new", b"", owner=owner, calls=calls)
    for entry, text in settings(name).items():
        replace_file(f"{home}/control/{TABLE[entry].name}", text.encode(), owner=owner, calls=calls)


def settings(name: str) -> dict[str, str]:
    """The control files of a new home: those of config-fast, and what is good today."""
    domains = dict.fromkeys((name, LOCAL_ONLY))
    listed = "".join(f"{domain}\n" for domain in domains)
    everywhere = ("0.0.0.0", *(["[::]"] if has_ipv6() else []))  # noqa: S104  a mail server of a machine is for all who send to it
    wide = "".join(f"smtp {address}:25\n" for address in everywhere)
    # Passwords would go over the network for everybody to read.
    wide += "".join(f"#pop3 {address}:110\n" for address in everywhere)
    wide += "".join(f"#qmtp {address}:209\n" for address in everywhere)
    wide += "".join(f"#qmqp {address}:628\n" for address in everywhere)
    return {
        "me": f"{name}\n",
        "defaultdomain": f"{default_domain(name)}\n",
        "plusdomain": f"{default_domain(name)}\n",
        "locals": listed,
        "rcpthosts": listed,
        "defaultdelivery": "./Maildir/\n",
        "concurrencylocal": "100\n",  # deliveries wait for syncs, which they share: the more at once, the fewer
        # They mostly wait for others, each for seconds and for little memory. localhost keeps its mail to itself.
        "concurrencyremote": "0\n" if name == LOCAL_ONLY else "200\n",
        "listen": wide,
    }


def has_ipv6() -> bool:
    """Whether a server on [::] could be started."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _make_home(home: str, owner: tuple[int, int], calls: SystemCalls) -> None:
    """/var/qmail may be a link to a larger disk: what it leads to is the administrator's."""
    make_folder(home, owner=None if os.path.islink(home) else owner, calls=calls)


def _make_folders(home: str, accounts: Accounts, admin: str | None, calls: SystemCalls, *, fresh: bool) -> None:
    for path, user, _, mode in FOLDERS:
        owner = (0 if user == "root" else accounts[user].uid, accounts.qmail_gid)
        if not path:
            _make_home(home, owner, calls)
            continue
        if path == ALIAS:
            _fill_alias(f"{home}/{path}", owner, admin, calls, fresh=fresh)
        make_folder(f"{home}/{path}", mode, owner=owner, calls=calls)
    tcpto.complete(f"{home}/{tcpto.PATH}", owner=(accounts["qmailr"].uid, accounts.qmail_gid), calls=calls)


def _fill_alias(folder: str, owner: tuple[int, int], admin: str | None, calls: SystemCalls, *, fresh: bool) -> None:
    """Where mail goes for the addresses that every host must have. Once the folder is alias's, root writes nothing there."""
    make_folder(folder, 0o700, calls=calls)
    if os.stat(folder).st_uid != os.geteuid():
        return
    for name in ALIASES:
        path = f"{folder}/.qmail-{name}"
        if fresh or not os.path.lexists(path):
            replace_file(path, f"&{admin}\n".encode() if admin else b"", owner=owner, calls=calls)
