"""quail init --single: a whole home, never a half one, and never on top of something else."""

import marshal
import os
import pwd
import stat

import pytest
from click.testing import CliRunner

from quail.cli import launchers
from quail.cli.init import init
from quail.cli.init_single import init_single
from quail.control.checks import check
from quail.control.reader import Control
from quail.errors import PermanentError, TemporaryError, UsageError
from quail.net.tcprules import Rules
from quail.storage.calls import SystemCalls
from quail.storage.tcpto import PATH, Tcpto
from quail.users.lookup import Lookup


def tree(home: str) -> dict[str, object]:
    """Every path below the home: content of a file, with HOME for the home's own path; mode of a folder."""
    found: dict[str, object] = {}
    for folder, _, names in os.walk(home):
        found[os.path.relpath(folder, home)] = stat.S_IMODE(os.stat(folder).st_mode)
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                data = file.read().replace(home.encode(), b"HOME")
            if folder.endswith("/.code"):  # sources may change meanwhile
                data = [module[0] for module in marshal.loads(data)[2]]
            found[os.path.relpath(os.path.join(folder, name), home)] = data
    return found


@pytest.fixture
def home(tmp_path) -> str:
    return str(tmp_path / "home")


def test_a_home_that_is_right(home: str) -> None:
    assert init_single(home, name="Joe", smtp_port=0, pop3_port=0) == "joe"
    assert check(home) == []
    control = Control(f"{home}/control")
    assert control.line("mode") == b"single"
    assert control.line("me") == b"localhost"
    assert control.lines("locals") == control.lines("rcpthosts") == [b"localhost"]
    assert control.lines("defaultdelivery") == [b"./Maildir/"]
    assert control.integer("concurrencyremote") == 0
    assert Tcpto.open(f"{home}/{PATH}").trouble == ""
    assert {service: port for service, _, port in control.listen()} == {"smtp": 0, "pop3": 0, "qmtp": 0, "qmqp": 0}


def test_modes_let_nobody_into_mail_queue_and_sockets(home: str) -> None:
    mask = os.umask(0)
    try:
        init_single(home, name="joe")
        assert os.umask(0) == 0
    finally:
        os.umask(mask)
    found = tree(home)
    private = ["queue", "queue/journal", "queue/drop", "queue/damaged", "run", "mail/joe"]
    private += ["mail/joe/Maildir", "mail/joe/Maildir/new", "mail/joe/Maildir/cur", "mail/joe/Maildir/tmp"]
    assert {found[path] for path in private} == {0o700}
    assert found["queue/mess"] == 0o710  # in queue/, where nobody gets
    assert {found[path] for path in (".", "control", "users", "alias", "etc", "etc/tcprules.d", "mail")} == {0o755}
    assert {stat.S_IMODE(os.stat(f"{home}/control/{name}").st_mode) for name in os.listdir(f"{home}/control")} == {
        0o644
    }


def test_users_and_aliases(home: str) -> None:
    init_single(home, name="joe")
    users = Lookup(f"{home}/users/cdb")
    ids = (os.geteuid(), os.getegid())
    for local, folder, dash in [
        (b"joe", "mail/joe", b""),
        (b"joe-list", "mail/joe", b"-"),
        (b"postmaster", "alias", b"-"),
        (b"root", "alias", b"-"),
        (b"mailer-daemon", "alias", b"-"),
    ]:
        user = users.find(local)
        assert user is not None, local
        assert (user.uid, user.gid, user.home, user.dash) == (*ids, f"{home}/{folder}".encode(), dash)
    assert users.find(b"somebody") is None
    found = tree(f"{home}/alias")
    assert {name: found[name] for name in found if name != "."} == {
        ".qmail-postmaster": b"&joe\n",
        ".qmail-root": b"&joe\n",
        ".qmail-mailer-daemon": b"&joe\n",
    }


def test_root_is_a_mailbox_when_root_makes_it(home: str) -> None:
    init_single(home, name="root")
    assert not os.path.exists(f"{home}/alias/.qmail-root")
    user = Lookup(f"{home}/users/cdb").find(b"root")
    assert user is not None
    assert user.home == f"{home}/mail/root".encode()


def test_rules_allow_everybody_and_relay_for_nobody(home: str) -> None:
    init_single(home, name="joe")
    decision = Rules(f"{home}/etc/tcprules.d/qmail-smtp.cdb").decide(b"192.0.2.1")
    assert not decision.deny
    assert decision.environment == ()


def test_rules_let_nobody_in_by_qmqp(home: str) -> None:
    init_single(home, name="joe")
    assert Rules(f"{home}/etc/tcprules.d/qmail-qmqp.cdb", closed=True).decide(b"127.0.0.1").deny


@pytest.mark.parametrize(
    ("smtp_port", "lines"),
    [
        (2525, ["smtp 127.0.0.1:2525", "qmtp 127.0.0.1:2209", "qmqp 127.0.0.1:2628"]),
        (2626, ["smtp 127.0.0.1:2626", "qmtp 127.0.0.1:2310", "qmqp 127.0.0.1:2729"]),
        (0, ["smtp 127.0.0.1:0", "qmtp 127.0.0.1:0", "qmqp 127.0.0.1:0"]),
        (65535, ["smtp 127.0.0.1:65535", "qmtp 127.0.0.1:65219"]),
        (25, ["smtp 127.0.0.1:25", "qmqp 127.0.0.1:128"]),
    ],
)
def test_other_services_are_as_far_from_smtp_as_ever(home: str, smtp_port: int, lines: list[str]) -> None:
    init_single(home, name="joe", smtp_port=smtp_port)
    with open(f"{home}/control/listen", encoding="ascii") as file:
        found = file.read().splitlines()
    assert set(lines) <= set(found)
    assert [line for line in found if line[:3] == "qmq" or line[:3] == "qmt"] == lines[1:]


def test_the_mailbox_is_the_callers_by_default(home: str) -> None:
    assert init_single(home) == pwd.getpwuid(os.geteuid()).pw_name.lower()


def test_a_caller_without_a_name(home: str, monkeypatch) -> None:
    def nobody(_uid: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    # Containers run programs as uids that no passwd file knows; the first command must work there too.
    assert init_single(home) == "me"
    assert os.path.isdir(f"{home}/mail/me/Maildir/new")


def test_a_disk_of_its_own(home: str) -> None:
    """Whose file system has made a folder for what it may find lost, before anybody else has made anything."""
    os.makedirs(f"{home}/lost+found")
    assert init_single(home, name="joe") == "joe"
    assert os.path.isdir(f"{home}/lost+found")


def test_bad_name_makes_nothing(home: str) -> None:
    with pytest.raises(UsageError):
        init_single(home, name="a b")
    assert not os.path.exists(home)


def test_deep_path_is_made(home: str) -> None:
    init_single(f"{home}/a/b", name="joe")
    assert check(f"{home}/a/b") == []


# Refusals


def test_a_home_stays_as_it_is(home: str) -> None:
    init_single(home, name="joe")
    before = tree(home)
    with pytest.raises(PermanentError, match="is a home already: quail serve --home"):
        init_single(home, name="jane")
    assert tree(home) == before


@pytest.mark.parametrize("path", ["control/me", "notes", ".profile"])
def test_other_peoples_folders_stay_as_they_are(home: str, path: str) -> None:
    os.makedirs(os.path.dirname(f"{home}/{path}"))
    with open(f"{home}/{path}", "wb") as file:
        file.write(b"precious")
    before = tree(home)
    with pytest.raises(PermanentError, match="choose a new folder"):
        init_single(home, name="joe")
    assert tree(home) == before


def test_a_file_in_the_place_of_the_home(home: str) -> None:
    with open(home, "wb"):
        pass
    with pytest.raises(PermanentError, match="is not a folder"):
        init_single(home, name="joe")


def test_a_path_that_users_assign_cannot_hold(home: str) -> None:
    with pytest.raises(PermanentError, match="colon"):
        init_single(home + ":1", name="joe")
    assert not os.path.exists(home + ":1")


def test_an_empty_folder_will_do(home: str) -> None:
    os.mkdir(home, 0o700)
    init_single(home, name="joe")
    assert check(home) == []


# Interruptions


class Failing(SystemCalls):
    """Fails at the n-th call that changes or syncs something, and at all that follow: the process is gone."""

    NAMES = ("open", "write", "fsync", "rename", "mkdir", "unlink")

    def __init__(self, fail_at: int) -> None:
        self.left = fail_at
        for name in self.NAMES:
            setattr(self, name, self._wrap(getattr(SystemCalls, name)))

    def _wrap(self, call):
        def counted(*args, **kwargs):
            self.left -= 1
            if self.left < 0:
                raise OSError(5, "Input/output error", args[0] if isinstance(args[0], str) else None)
            return call(*args, **kwargs)

        return counted


def test_interrupted_anywhere_it_is_no_home_and_the_next_init_completes_it(tmp_path, monkeypatch) -> None:
    two = {"qmail-queue": "quail.programs.qmail.qmail_queue", "quail": "quail.cli.main"}
    monkeypatch.setattr(launchers, "programs", lambda: two)  # the others are made as these are
    whole = str(tmp_path / "whole")
    counting = Failing(10**9)
    init_single(whole, name="joe", calls=counting)
    total = 10**9 - counting.left
    assert total > 100
    expected = {path: data for path, data in tree(whole).items() if not path.startswith("users/")}
    for fail_at in range(total):
        home = str(tmp_path / f"home{fail_at}")
        with pytest.raises(TemporaryError):
            init_single(home, name="joe", calls=Failing(fail_at))
        if os.path.exists(f"{home}/control/mode"):
            assert fail_at >= total - 2  # renamed, but its folder not synced: the home is whole
        else:
            init_single(home, name="joe")
        found = tree(home)
        assert {path: data for path, data in found.items() if not path.startswith("users/")} == expected
        assert check(home) == []
        assert Lookup(f"{home}/users/cdb").find(b"postmaster") is not None


# The command


def test_command(home: str) -> None:
    result = CliRunner().invoke(init, ["--single", home, "--name", "joe", "--smtp-port", "0"], catch_exceptions=False)
    assert result.exit_code == 0
    assert f"{home} is a home of Quail now." in result.output
    assert f"{home}/mail/joe/Maildir for joe@localhost, postmaster and root and mailer-daemon" in result.output
    assert f"quail user passwd joe --home {home}\n" in result.output
    assert f"Programs, sendmail among them: {home}/bin\n" in result.output
    assert f"waits in the queue; to send it: quail config set concurrencyremote 200 --home {home}\n" in result.output
    assert f"quail serve --home {home}" in result.output
    assert ("runs as root" in result.output) == (os.geteuid() == 0)


def test_command_says_what_is_missing(home: str) -> None:
    with pytest.raises(UsageError, match="quail init --single DIR"):
        CliRunner().invoke(init, [], catch_exceptions=False)
    with pytest.raises(UsageError, match="quail init --system DOMAIN"):
        CliRunner().invoke(init, ["--system", "example.com", "--single", home], catch_exceptions=False)
    assert CliRunner().invoke(init, ["--single", home, "--smtp-port", "65536"]).exit_code == 2
    assert not os.path.exists(home)
