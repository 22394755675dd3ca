"""quail init --system: a whole home for the machine, from nothing, from half, and never on top of something else."""

import marshal
import os
import stat

import pytest
from click.testing import CliRunner

from quail.cli import bytecode, launchers, preflight
from quail.cli.init import init
from quail.cli.system import install, links
from quail.cli.system.accounts import Machine
from quail.cli.system.layout import FOLDERS
from quail.control.checks import check
from quail.control.domain import default_domain, fit_domain
from quail.control.reader import Control
from quail.errors import PermanentError, TemporaryError, UsageError
from quail.net.tcprules import Rules, compile_rules
from quail.storage.calls import SystemCalls
from quail.users.accounts import IN_QMAIL, NAMES, Account, Accounts
from quail.users.nss import Entry

QMAIL_GID, NOFILES_GID = 9001, 9002
UIDS = {name: 9100 + number for number, name in enumerate(NAMES)}


class Paper(Machine):
    """Accounts on paper."""

    def __init__(self, home, *, tools=True):
        self.home = home
        self.tools = tools
        self.groups = {}
        self.entries = {}

    def group(self, name):
        return self.groups.get(name)

    def account(self, name):
        return self.entries.get(name)

    def has_tools(self):
        return self.tools

    def make_group(self, name):
        self.groups[name] = {"qmail": QMAIL_GID, "nofiles": NOFILES_GID}[name]

    def make_account(self, name, group, home):
        self.entries[name] = (UIDS[name], self.groups[group], home)

    def accounts(self):
        found = [Account(name, *self.entries[name][:2]) for name in NAMES]
        return Accounts(found, self.groups["qmail"], self.groups["nofiles"])


class Calls(SystemCalls):
    """Notes who is given what; gives nothing away, for the tests run as anybody. Fails from the n-th call on."""

    CHANGING = ("open", "write", "fsync", "rename", "mkdir", "unlink", "symlink", "fchown", "fchmod")

    def __init__(self, fail_at=10**9):
        self.left = fail_at
        self.given = {}
        for name in self.CHANGING:
            setattr(self, name, self._wrap(getattr(self, name)))

    def _wrap(self, call):
        def counted(*args, **kwargs):
            self.left -= 1
            if self.left < 0:
                raise OSError(5, "Input/output error", args[0] if isinstance(args[0], str) else None)
            return call(*args, **kwargs)

        return counted

    def fchown(self, fd, uid, gid):
        self.given[os.readlink(f"/proc/self/fd/{fd}").removesuffix(".tmp")] = (uid, gid)


@pytest.fixture(autouse=True)
def fit_places(monkeypatch):
    """The folders of a test, and of the code under test, are nothing for a system home."""
    monkeypatch.setattr(preflight, "check_places", lambda home: None)
    monkeypatch.setattr(bytecode, "compile_quail", lambda: True)
    two = {"qmail-queue": "quail.programs.qmail.qmail_queue", "quail": "quail.cli.main"}
    monkeypatch.setattr(launchers, "programs", lambda: two)  # the others are made as these are


class Site:
    """A machine below a folder."""

    def __init__(self, folder):
        self.home = f"{folder}/var/qmail"
        self.root = f"{folder}/root"
        for name in ("usr/sbin", "usr/lib", "usr/bin", "etc"):
            os.makedirs(f"{self.root}/{name}")
        self.machine = Paper(self.home)

    def init(self, domain="mail.example.com", **options):
        options = {"calls": Calls(), **options}
        return install.init_system(domain, self.home, machine=self.machine, root=self.root, **options)

    def tree(self):
        found = {}
        for top in (self.home, self.root):
            for folder, _, names in os.walk(top):
                found[os.path.relpath(folder, top)] = stat.S_IMODE(os.stat(folder).st_mode)
                for name in names:
                    path = os.path.join(folder, name)
                    if os.path.islink(path):
                        found[os.path.relpath(path, top)] = os.readlink(path).replace(self.home, "HOME")
                        continue
                    with open(path, "rb") as file:
                        data = file.read().replace(self.home.encode(), b"HOME")
                    if folder.endswith("/.code"):  # sources may change meanwhile
                        data = [module[0] for module in marshal.loads(data)[2]]
                    found[os.path.relpath(path, top)] = data
        return found

    def read(self, name):
        with open(f"{self.home}/{name}", encoding="utf-8") as file:
            return file.read()


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_a_home_that_is_right(site):
    made = site.init("Mail.Example.COM.")
    assert made.fresh
    assert made.name == "mail.example.com"
    # What nothing reads yet is for programs of a later version.
    assert [str(problem) for problem in check(site.home) if "nothing reads it" not in problem.reason] == []
    control = Control(f"{site.home}/control")
    assert control.line("mode") == b"system"
    assert control.line("me") == b"mail.example.com"
    assert control.line("defaultdomain") == control.line("plusdomain") == b"example.com"
    assert control.lines("locals") == control.lines("rcpthosts") == [b"mail.example.com", b"localhost"]
    assert control.integer("concurrencylocal") == 100
    assert control.integer("concurrencyremote") == 200
    assert control.lines("defaultdelivery") == [b"./Maildir/"]
    assert control.listen()[0] == ("smtp", "0.0.0.0", 25)
    assert not os.path.exists(f"{site.home}/control/.mode.new")


@pytest.mark.parametrize(("works", "lines"), [(True, ["0.0.0.0", "::"]), (False, ["0.0.0.0"])])
def test_ipv6_only_where_it_is(site, monkeypatch, works, lines):
    monkeypatch.setattr(install, "has_ipv6", lambda: works)
    site.init()
    assert [address for _, address, _ in Control(f"{site.home}/control").listen()] == lines


def test_every_folder_has_its_owner_and_mode(site):
    calls = Calls()
    mask = os.umask(0o077)
    try:
        site.init(calls=calls)
    finally:
        assert os.umask(mask) == 0o077
    for path, user, group, mode in FOLDERS:
        folder = f"{site.home}/{path}" if path else site.home
        assert stat.S_IMODE(os.stat(folder).st_mode) == mode, path
        assert calls.given[folder] == (0 if user == "root" else UIDS[user], {"qmail": QMAIL_GID}[group]), path
    assert calls.given[f"{site.home}/control/me"] == (0, QMAIL_GID)
    assert calls.given[f"{site.home}/queue/tcpto"] == (UIDS["qmailr"], QMAIL_GID)
    assert stat.S_IMODE(os.stat(f"{site.home}/queue/tcpto").st_mode) == 0o640
    assert stat.S_IMODE(os.stat(f"{site.home}/control/me").st_mode) == 0o644
    assert stat.S_IMODE(os.stat(f"{site.home}/bin/quail").st_mode) == 0o755
    assert stat.S_IMODE(os.stat(f"{site.home}/boot/home+df").st_mode) == 0o755
    assert calls.given[f"{site.home}/boot"] == calls.given[f"{site.home}/boot/home+df"] == (0, QMAIL_GID)


def test_accounts_and_their_groups(site):
    made = site.init()
    assert made.accounts == ["qmail", "nofiles", *NAMES]
    for name in NAMES:
        gid = QMAIL_GID if name in IN_QMAIL else NOFILES_GID
        home = f"{site.home}/alias" if name == "alias" else site.home
        assert site.machine.entries[name] == (UIDS[name], gid, home)


def test_roots_mail_stays_in_alias_unless_there_is_somebody(site, monkeypatch):
    calls = Calls()
    site.init(calls=calls)
    for name in ("root", "postmaster", "mailer-daemon"):
        assert site.read(f"alias/.qmail-{name}") == ""
        assert calls.given[f"{site.home}/alias/.qmail-{name}"] == (UIDS["alias"], QMAIL_GID)


def test_roots_mail_goes_to_the_admin(site, monkeypatch):
    monkeypatch.setattr(install, "gets_mail", lambda name: name == "jane")
    site.init(admin="jane")
    for name in ("root", "postmaster", "mailer-daemon"):
        assert site.read(f"alias/.qmail-{name}") == "&jane\n"


@pytest.mark.parametrize("admin", ["root", "alias", "qmaild", "Jane", "gone", "homeless", "", "j" * 40])
def test_who_cannot_get_roots_mail(site, monkeypatch, tmp_path, admin):
    own = os.geteuid() or 1000
    homes = {b"root": 0, b"alias": own, b"qmaild": own, b"Jane": own, b"j" * 40: own}
    entries = {name: Entry(name, uid, 100, os.fsencode(tmp_path)) for name, uid in homes.items()}
    entries[b"homeless"] = Entry(b"homeless", own, 100, b"/nonexistent")
    monkeypatch.setattr(install, "by_name", entries.get)
    with pytest.raises(PermanentError, match="can't get root's mail"):
        site.init(admin=admin)
    assert not os.path.exists(site.home)


def test_an_admin_who_can(site, monkeypatch, tmp_path):
    os.mkdir(tmp_path / "jane")
    if os.geteuid() == 0:
        os.chown(tmp_path / "jane", 1000, 1000)
    uid = os.stat(tmp_path / "jane").st_uid
    jane = Entry(b"jane", uid, 100, os.fsencode(tmp_path / "jane"))
    monkeypatch.setattr(install, "by_name", {b"jane": jane}.get)
    site.init(admin="jane")
    assert site.read("alias/.qmail-root") == "&jane\n"


# Rules


def test_rules_relay_for_nobody(site):
    made = site.init()
    assert made.rules == f"{site.root}/etc/tcprules.d/qmail-smtp"
    rules = Rules(f"{made.rules}.cdb")
    for address in (b"127.0.0.1", b"192.0.2.1"):
        assert not rules.decide(address).deny
        assert rules.decide(address).environment == ()
    with open(made.rules, encoding="utf-8") as file:
        line = next(line for line in file if "127." in line)
    with open(f"{made.rules}.cdb", "wb") as file:
        file.write(compile_rules(line.lstrip("# ").encode(), "rules"))
    assert Rules(f"{made.rules}.cdb").decide(b"127.0.0.1").environment == ((b"RELAYCLIENT", b""),)


def test_rules_that_are_there_stay(site):
    os.makedirs(f"{site.root}/etc/tcprules.d")
    with open(f"{site.root}/etc/tcprules.d/qmail-smtp", "w") as file:
        file.write("10.:deny\n")
    assert site.init().rules is None
    assert Rules(f"{site.root}/etc/tcprules.d/qmail-smtp.cdb").decide(b"10.1.1.1").deny
    with open(f"{site.root}/etc/tcprules.d/qmail-smtp") as file:
        assert file.read() == "10.:deny\n"


def test_rules_of_a_site_that_has_them_elsewhere_go_on_to_count(site):
    with open(f"{site.root}/etc/tcp.smtp.cdb", "wb") as file:
        file.write(compile_rules(b":deny\n", "x"))
    assert site.init().rules is None
    assert sorted(os.listdir(f"{site.root}/etc/tcprules.d")) == [
        "qmail-pop3", "qmail-pop3.cdb", "qmail-qmqp", "qmail-qmqp.cdb"
    ]  # fmt: skip


def test_rules_of_qmqp_let_nobody_in(site):
    site.init()
    path = f"{site.root}/etc/tcprules.d/qmail-qmqp"
    assert Rules(f"{path}.cdb", closed=True).decide(b"127.0.0.1").deny
    with open(path, encoding="utf-8") as file:
        line = next(line for line in file if "192.0.2.8" in line)
    with open(f"{path}.cdb", "wb") as file:
        file.write(compile_rules(line.lstrip("# ").encode(), "rules"))
    rules = Rules(f"{path}.cdb", closed=True)
    assert [rules.decide(address).deny for address in (b"192.0.2.8", b"192.0.2.9")] == [False, True]


def test_qmtp_and_qmqp_are_there_to_be_switched_on(site):
    site.init()
    lines = site.read("control/listen").splitlines()
    assert "#qmtp 0.0.0.0:209" in lines
    assert "#qmqp 0.0.0.0:628" in lines


# The names of sendmail


def test_sendmail_is_found_by_its_names(site):
    assert site.init().linked == [site.root + name for name in links.NAMES]
    for name in links.NAMES:
        assert os.readlink(site.root + name) == f"{site.home}/bin/sendmail"
    again = site.init()
    assert (again.linked, again.taken) == ([], [])


def test_another_mail_systems_names_are_left_alone(site):
    with open(f"{site.root}/usr/sbin/sendmail", "wb") as file:
        file.write(b"postfix")
    os.symlink("../sbin/sendmail", f"{site.root}/usr/lib/sendmail")
    os.symlink("../sbin/gone", f"{site.root}/usr/bin/mailq")
    made = site.init()
    assert made.taken == [f"{site.root}/usr/{name}" for name in ("sbin/sendmail", "lib/sendmail", "bin/mailq")]
    assert made.linked == [f"{site.root}/usr/bin/newaliases"]
    with open(f"{site.root}/usr/sbin/sendmail", "rb") as file:
        assert file.read() == b"postfix"


def test_no_links_where_none_are_wanted_or_can_be(site):
    made = site.init(sendmail=False)
    assert (made.linked, made.taken) == ([], [])
    assert not os.path.lexists(f"{site.root}/usr/sbin/sendmail")

    class ReadOnly(Calls):
        def symlink(self, target, path):
            raise OSError(30, "Read-only file system", path)

    assert site.init(calls=ReadOnly()).taken == [site.root + name for name in links.NAMES]


# Accounts that are there


def test_accounts_that_fit_are_kept(site):
    site.machine.groups = {"qmail": 42}
    site.machine.entries = {"qmailq": (43, 42, "/elsewhere"), "qmails": (44, 42, site.home)}
    made = site.init()
    assert made.accounts == ["nofiles", *(name for name in NAMES if name not in ("qmailq", "qmails"))]
    assert site.machine.entries["qmailq"] == (43, 42, "/elsewhere")


@pytest.mark.parametrize(
    ("name", "entry", "text"),
    [
        ("qmaild", (0, 2, "/"), "account qmaild is uid 0, which is that of root"),
        ("qmaild", (5, 9, "/"), "group is gid 9 instead of nofiles: remove it, or call usermod --gid nofiles qmaild"),
        ("qmailq", (5, 2, "/"), "group is gid 2 instead of qmail"),
        (
            "alias",
            (5, 2, "/home/alias"),
            "account alias whose home is /home/alias instead of .*/alias: .*usermod --home",
        ),
        ("qmaill", (77, 2, "/"), "account qmaill is uid 77, which is that of qmaild"),
    ],
)
def test_accounts_that_do_not_fit_are_named_and_nothing_is_made(site, name, entry, text):
    site.machine.groups = {"qmail": 1, "nofiles": 2}
    site.machine.entries = {"qmaild": (77, 2, "/"), name: entry}
    with pytest.raises(PermanentError, match=text):
        site.init()
    assert len(site.machine.entries) <= 2
    assert not os.path.exists(site.home)


@pytest.mark.parametrize("groups", [{"qmail": 0}, {"nofiles": 0}, {"qmail": 7, "nofiles": 7}])
def test_groups_that_do_not_fit(site, groups):
    site.machine.groups = groups
    with pytest.raises(PermanentError, match=r"group .* is gid"):
        site.init()


def test_a_system_without_tools_lists_what_to_make(site):
    site.machine = Paper(site.home, tools=False)
    site.machine.groups = {"qmail": 1}
    with pytest.raises(PermanentError, match="no groupadd and useradd") as caught:
        site.init()
    assert "group nofiles; account alias (group nofiles, home " + site.home + "/alias" in str(caught.value)
    assert "account qmailq (group qmail, home " + site.home + ", no shell)" in str(caught.value)
    assert "group qmail;" not in str(caught.value)


# What is there


@pytest.mark.parametrize("file", ["control/me", "control/defaultdelivery", "rc", ".profile"])
def test_a_home_of_qmail_stays_as_it_is(site, file):
    os.makedirs(f"{site.home}/control" if "/" in file else site.home)
    with open(f"{site.home}/{file}", "w") as there:
        there.write("precious\n")
    before = site.tree()
    with pytest.raises(PermanentError, match="choose a new folder"):
        site.init()
    assert site.tree() == before
    assert site.machine.entries == {}


def test_a_single_home_stays_what_it_is(site):
    os.makedirs(f"{site.home}/control")
    with open(f"{site.home}/control/mode", "w") as file:
        file.write("single\n")
    with pytest.raises(PermanentError, match="is a single home"):
        site.init()


def test_a_whole_home_is_completed_and_not_changed(site):
    site.init()
    with open(f"{site.home}/control/me", "w") as file:
        file.write("other.example.org\n")
    os.unlink(f"{site.home}/control/locals")
    os.unlink(f"{site.home}/bin/quail")
    del site.machine.entries["qmailp"]
    os.rmdir(f"{site.home}/queue/mess")
    made = site.init("new.example.com")
    assert not made.fresh
    assert made.accounts == ["qmailp"]
    assert site.read("control/me") == "other.example.org\n"
    assert not os.path.exists(f"{site.home}/control/locals")  # it is gone because somebody wanted the default
    assert os.path.exists(f"{site.home}/bin/quail")
    assert os.path.isdir(f"{site.home}/queue/mess")


@pytest.mark.skipif(os.geteuid() != 0, reason="a folder of another account is made by root")
def test_root_writes_nothing_where_an_account_may_have_put_links(site, tmp_path):
    site.init()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.unlink(f"{site.home}/alias/.qmail-root")
    os.symlink(victim, f"{site.home}/alias/.qmail-root.tmp")
    os.chown(f"{site.home}/alias", UIDS["alias"], QMAIL_GID)
    site.init()
    assert victim.read_text() == "precious"
    assert not os.path.exists(f"{site.home}/alias/.qmail-root")


def test_a_link_in_the_place_of_a_folder_is_not_followed(site, tmp_path):
    site.init()
    os.rmdir(f"{site.home}/queue/journal")
    os.mkdir(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", f"{site.home}/queue/journal")
    with pytest.raises(TemporaryError, match="queue/journal"):
        site.init()


def test_var_qmail_may_be_a_link_to_a_larger_disk(site, tmp_path):
    os.makedirs(tmp_path / "big")
    os.mkdir(os.path.dirname(site.home))
    os.symlink(tmp_path / "big", site.home)
    site.init()
    assert os.path.exists(tmp_path / "big/control/mode")


def test_interrupted_anywhere_it_is_no_home_and_the_next_init_completes_it(tmp_path):
    whole = Site(tmp_path / "whole")
    counting = Calls()
    whole.init("example.com", calls=counting)
    total = 10**9 - counting.left
    assert total > 150
    expected = whole.tree()
    for fail_at in range(total):
        site = Site(tmp_path / f"site{fail_at}")
        with pytest.raises(TemporaryError):
            site.init("typing.error.example", calls=Calls(fail_at))
        if os.path.exists(f"{site.home}/control/mode"):
            assert fail_at >= total - 2  # renamed, but its folder not synced: the home is whole
            continue
        assert site.init("example.com").fresh
        assert site.tree() == expected, fail_at


def test_localhost_keeps_its_mail_to_itself(site):
    site.init("localhost")
    assert Control(f"{site.home}/control").integer("concurrencyremote") == 0


# Domains


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Example.COM", "example.com"),
        ("a-b.xn--p1ai.", "a-b.xn--p1ai"),
        ("localhost", "localhost"),
        ("1.2.a4", "1.2.a4"),
    ],
)
def test_domains(text, name):
    assert fit_domain(text) == name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mailhost", "not a full name"),
        ("", "part of it is empty"),
        (".", "part of it is empty"),
        ("a..b", "part of it is empty"),
        (".example.com", "part of it is empty"),
        ("x" * 64 + ".com", "longer than 63"),
        ("x.".join(["abcdefgh"] * 29), "too long"),
        ("a_b.example", "letters, digits"),
        ("-a.example", "letters, digits"),
        ("a-.example", "letters, digits"),
        ("joe@example.com", "letters, digits"),
        ("192.0.2.1", "is an address"),
        ("bücher.example", "xn--"),
        ("a b.example", "letters, digits"),
        ("example.com\n", "letters, digits"),
    ],
)
def test_what_is_no_domain(site, text, reason):
    with pytest.raises(UsageError, match=reason):
        site.init(text)
    assert not os.path.exists(site.home)


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("example.com", "example.com"),
        ("mail.example.com", "example.com"),
        ("a.b.example.com", "b.example.com"),
        ("example.co.uk", "example.co.uk"),  # not co.uk, whose hosts are strangers
        ("mail.example.co.uk", "example.co.uk"),
        ("mail.example.de", "example.de"),
        ("localhost", "localhost"),
    ],
)
def test_default_domain(name, domain):
    assert default_domain(name) == domain


# The command


def invoke(*words, env=None):
    return CliRunner().invoke(init, [*words], env=env, catch_exceptions=False)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("example.com",),
        ("--system",),
        ("--single", "x", "--system", "example.com"),
        ("--single", "x", "example.com"),
        ("--system", "example.com", "example.org"),
    ],
)
def test_says_what_to_call(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UsageError, match=r"^say which: quail init --single DIR for yourself, or, as root, quail init --system"
    ):
        invoke(*words, "--home", str(tmp_path / "home"))
    assert not os.listdir(tmp_path)


def test_only_root_makes_one(site, monkeypatch):
    monkeypatch.setattr("quail.cli.init._is_root", lambda: False)
    with pytest.raises(PermanentError, match=r"made by root.*sudo quail init --system example.com.*--single DIR"):
        invoke("--system", "example.com", "--home", site.home)
    assert not os.path.exists(site.home)


class TestAsRoot:
    @pytest.fixture(autouse=True)
    def as_root(self, site, monkeypatch):
        monkeypatch.setattr("quail.cli.init._is_root", lambda: True)
        monkeypatch.setattr("quail.cli.init.gets_mail", lambda name: name == "jane")
        monkeypatch.setattr(install, "gets_mail", lambda name: name == "jane")
        real = install.init_system

        def here(domain, home, **options):
            return real(domain, home, machine=site.machine, root=site.root, calls=Calls(), **options)

        monkeypatch.setattr("quail.cli.init.init_system", here)

    def test_tells_what_was_made(self, site):
        result = invoke("--system", "Example.com", "--home", site.home, env={"SUDO_USER": None})
        assert result.exit_code == 0
        assert f"{site.home} is the home of this machine's mail now, for example.com." in result.output
        assert "Groups and accounts made: qmail nofiles alias qmaild" in result.output
        assert f"root and postmaster goes to {site.home}/alias/Maildir/" in result.output
        assert f"Who may connect and relay: {site.root}/etc/tcprules.d/qmail-smtp (nobody relays)" in result.output
        assert f"send through Quail: {site.root}/usr/sbin/sendmail" in result.output
        assert f"by a relay: quail config set smtproutes :RELAY --home {site.home}\n" in result.output
        assert f"To start it: {site.home}/bin/quail serve --home {site.home}" in result.output
        with open(f"{site.home}/control/concurrencyremote", "w", encoding="ascii") as file:
            file.write("0\n")
        again = invoke("--system", "example.com", "--home", site.home)
        assert f"to send it: quail config set concurrencyremote 200 --home {site.home}\n" in again.output
        assert "was a home already" in again.output
        assert "made:" not in again.output

    @pytest.mark.parametrize(
        ("words", "sudo", "where"),
        [((), "jane", "to jane"), ((), "root", "alias/Maildir"), (("--admin", "jane"), "root", "to jane")],
    )
    def test_tells_where_roots_mail_goes(self, site, words, sudo, where):
        result = invoke("--system", "example.com", "--home", site.home, *words, env={"SUDO_USER": sudo})
        (line,) = [line for line in result.output.splitlines() if line.startswith("Mail for root")]
        assert where in line

    def test_options_may_come_before_the_domain(self, site):
        result = invoke("--system", "--home", site.home, "example.com")
        assert f"{site.home} is the home of this machine's mail now, for example.com." in result.output

    def test_a_home_that_is_there_has_a_domain(self, site):
        with pytest.raises(UsageError, match="quail init --system DOMAIN"):
            invoke("--system", "--home", site.home)
        invoke("--system", "example.com", "--home", site.home)
        os.rmdir(f"{site.home}/run")
        result = invoke("--system", "--home", site.home)
        assert "was a home already" in result.output
        assert "It is for" not in result.output
        assert os.path.isdir(f"{site.home}/run")

    def test_another_domain_and_another_admin_are_told_that_they_change_nothing(self, site):
        invoke("--system", "exmaple.com", "--home", site.home, "--admin", "jane")
        result = invoke("--system", "example.com", "--home", site.home)
        assert "It is for exmaple.com, not example.com; to change that: me, defaultdomain, " in result.output
        assert "--admin does not change it" not in result.output
        with open(f"{site.home}/alias/.qmail-root", "w") as file:
            file.write("&joe\n")
        result = invoke("--system", "EXMAPLE.com", "--home", site.home, "--admin", "jane")
        assert "alias/.qmail-root was there before, and --admin does not change it: write &jane into" in result.output
        assert "It is for" not in result.output

    def test_a_file_that_somebody_wrote_is_not_explained(self, site):
        invoke("--system", "example.com", "--home", site.home)
        with open(f"{site.home}/alias/.qmail-root", "w") as file:
            file.write("&jane\n&joe\n")
        assert "goes where" in invoke("--system", "example.com", "--home", site.home).output

    def test_names_what_another_mail_system_has(self, site):
        with open(f"{site.root}/usr/sbin/sendmail", "wb"):
            pass
        result = invoke("--system", "example.com", "--home", site.home)
        assert f"another mail system has them: {site.root}/usr/sbin/sendmail\n" in result.output
        assert "call this again" in result.output
        assert "Left alone" not in invoke("--system", "example.com", "--home", site.home, "--no-sendmail").output
