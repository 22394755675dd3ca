"""Where a system home does not start: places that service accounts can't enter, or that others can change."""

import os

import pytest

from quail.cli import preflight
from quail.cli.system.layout import FOLDERS
from quail.errors import PermanentError
from quail.users.accounts import NAMES, Account, Accounts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="folders must belong to root to be right")
ACCOUNTS = Accounts([Account(name, 9100 + n, 9002) for n, name in enumerate(NAMES)], 9001, 9002)


@pytest.fixture
def place(monkeypatch):
    """A folder outside of everything that is wrong on this machine: its way there counts from here."""
    real = preflight._way

    def below(path):
        return [found for found in real(path) if found.startswith(root)]

    import tempfile

    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        monkeypatch.setattr(preflight, "_way", below)
        os.makedirs(f"{root}/opt/site/quail")
        for name in ("interpreter", "package", "package_parent"):
            monkeypatch.setattr(preflight, name, lambda: f"{root}/opt/site/quail")
        for name in ("library", "dependency_folders"):
            monkeypatch.setattr(preflight, name, list)
        yield root


def test_all_is_well(place):
    preflight.check_places(f"{place}/var/qmail")
    os.makedirs(f"{place}/var/qmail")
    preflight.check_places(f"{place}/var/qmail")


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o744, 0o751])
def test_closed_folders(place, mode):
    os.chmod(f"{place}/opt", mode)
    if mode == 0o751:
        preflight.check_places(f"{place}/var/qmail")  # nobody must list what is only on the way
    else:
        with pytest.raises(PermanentError, match=rf"can't enter the folder {place}/opt: chmod o\+x {place}/opt, or"):
            preflight.check_places(f"{place}/var/qmail")


def test_code_must_be_listed(place):
    os.chmod(f"{place}/opt/site/quail", 0o711)
    with pytest.raises(PermanentError, match=r"chmod o\+rx"):
        preflight.check_places(f"{place}/var/qmail")


@pytest.mark.parametrize("mode", [0o757, 0o1777, 0o777])
def test_folders_that_everybody_can_write(place, mode):
    os.chmod(f"{place}/opt/site", mode)
    with pytest.raises(PermanentError, match=f"everybody can write in the folder {place}/opt/site"):
        preflight.check_places(f"{place}/var/qmail")


def test_folders_that_a_group_can_write(place):
    os.chmod(f"{place}/opt/site", 0o775)
    preflight.check_places(f"{place}/var/qmail")  # root's own
    os.chown(f"{place}/opt/site", 0, 50)
    with pytest.raises(PermanentError, match=f"group 50 can write in the folder {place}/opt/site.*chmod go-w"):
        preflight.check_places(f"{place}/var/qmail")


def test_folders_of_others(place):
    os.chown(f"{place}/opt", 1000, 0)
    with pytest.raises(PermanentError, match=f"the folder {place}/opt belongs to uid 1000.*chown root {place}/opt"):
        preflight.check_places(f"{place}/var/qmail")


def test_the_home_too(place):
    os.makedirs(f"{place}/var")
    os.chmod(f"{place}/var", 0o777)
    with pytest.raises(PermanentError, match=f"the home is {place}/var/qmail, and everybody can write"):
        preflight.check_places(f"{place}/var/qmail")


def test_an_interpreter_that_others_may_not_run(place, monkeypatch):
    with open(f"{place}/python", "wb"):
        pass
    monkeypatch.setattr(preflight, "interpreter", lambda: f"{place}/python")
    os.chmod(f"{place}/python", 0o744)
    with pytest.raises(PermanentError, match=f"the Python interpreter is {place}/python, and .* can't enter"):
        preflight.check_places(f"{place}/var/qmail")
    os.chmod(f"{place}/python", 0o757)
    with pytest.raises(PermanentError, match="everybody can write"):
        preflight.check_places(f"{place}/var/qmail")
    os.chmod(f"{place}/python", 0o755)
    preflight.check_places(f"{place}/var/qmail")


@pytest.mark.parametrize("target", ["{}/open/quail", "../open/quail"])
def test_where_links_lead_and_where_they_lie(place, target):
    os.makedirs(f"{place}/open/quail")
    os.makedirs(f"{place}/var")
    os.symlink(target.format(place), f"{place}/var/qmail")
    preflight.check_places(f"{place}/var/qmail")
    os.chmod(f"{place}/open", 0o777)
    with pytest.raises(PermanentError, match=f"in the folder {place}/open"):
        preflight.check_places(f"{place}/var/qmail")
    os.chmod(f"{place}/open", 0o755)
    os.chmod(f"{place}/var", 0o777)  # who can write here can turn the link elsewhere
    with pytest.raises(PermanentError, match=f"in the folder {place}/var"):
        preflight.check_places(f"{place}/var/qmail")


def test_a_circle_of_links(place):
    os.symlink("b", f"{place}/a")
    os.symlink("a", f"{place}/b")
    with pytest.raises(PermanentError, match="circle of links"):
        preflight.check_places(f"{place}/a/qmail")


def test_this_very_machine_is_looked_at_in_full():
    """The way to the tests' own interpreter and code, each folder from the root on."""
    for place in (preflight.interpreter(), preflight.package()):
        way = preflight._way(place)
        assert way[0] == "/"
        assert way[-1] == os.path.realpath(place)
        assert os.path.dirname(way[-1]) in way


class TestHome:
    @pytest.fixture
    def home(self, place):
        home = f"{place}/var/qmail"
        for path, user, _, _ in FOLDERS:
            folder = f"{home}/{path}" if path else home
            os.makedirs(folder, exist_ok=True)
            os.chown(folder, 0 if user == "root" else ACCOUNTS[user].uid, 0)
        return home

    def test_all_is_well(self, home):
        preflight.check(home, ACCOUNTS)

    def test_a_folder_that_is_missing(self, home):
        os.rmdir(f"{home}/queue/drop")
        with pytest.raises(PermanentError, match="queue/drop is missing: quail init --system"):
            preflight.check(home, ACCOUNTS)

    @pytest.mark.parametrize(("path", "user"), [("queue", "qmailq"), ("alias", "alias"), ("control", "root")])
    def test_a_folder_of_somebody_else(self, home, path, user):
        os.chown(f"{home}/{path}", 1234, 0)
        text = f"{home}/{path} belongs to uid 1234 instead of {user}: chown -R {user} {home}/{path}"
        with pytest.raises(PermanentError, match=text):
            preflight.check(home, ACCOUNTS)


def listen_at(place, path):
    os.makedirs(f"{place}/var/qmail/control", exist_ok=True)
    with open(f"{place}/var/qmail/control/listen", "w", encoding="ascii") as file:
        file.write(f"smtp 0.0.0.0:25\nlmtp {path}\n")


def test_sockets_where_others_can_t_put_one(place):
    os.makedirs(f"{place}/spool/private")
    os.chown(f"{place}/spool/private", 9999, 9999)
    for path in ("run/lmtp", f"{place}/spool/private/lmtp"):
        listen_at(place, path)
        preflight.check_sockets(f"{place}/var/qmail")


@pytest.mark.parametrize("mode", [0o757, 0o1777])
def test_sockets_where_everybody_can_put_one(place, mode):
    os.makedirs(f"{place}/spool/private")
    os.chmod(f"{place}/spool", mode)
    listen_at(place, f"{place}/spool/private/lmtp")
    with pytest.raises(
        PermanentError, match=f"everybody can write in the folder {place}/spool: chmod o-w {place}/spool, or"
    ):
        preflight.check_sockets(f"{place}/var/qmail")
