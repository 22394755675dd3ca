"""The whole chain: users/cdb, the machine's accounts, alias; and a single home, which knows only users/cdb."""

import os
import subprocess
import sys

import pytest

from quail.errors import ConfigError, TemporaryError
from quail.users import assign
from quail.users.getpw import SERVICES, NoAliasError
from quail.users.nss import Entry
from quail.users.owners import Owners

LINES = b"""\
=boss:joe:1001:100:/srv/joe:-:boss:
+list-:list:1002:100:/srv/list:-::
=root:root:0:0:/root:::
=sys:qmailq:1003:100:/srv/joe:::
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "users").mkdir()
    (tmp_path / "joe").mkdir()
    (tmp_path / "alias").mkdir()
    return tmp_path


def assigned(home, lines):
    (home / "users/cdb").write_bytes(assign.compile_cdb(assign.parse(lines + b".\n", "users/assign")))


def machine(home):
    uid = os.getuid() or 4321
    os.chown(home / "joe", uid, -1)
    known = {
        b"joe": Entry(b"joe", uid, 100, os.fsencode(home / "joe")),
        b"alias": Entry(b"alias", 7790, 2108, b"/alias"),
    }
    asked = []

    def by_name(name):
        asked.append(name)
        return known.get(name)

    by_name.asked = asked
    return by_name


def found(owners, local):
    owner = owners.find(local)
    return owner and (owner.user, owner.dash, owner.ext)


@pytest.mark.parametrize("with_cdb", [True, False])
def test_a_system_home(home, with_cdb):
    if with_cdb:
        assigned(home, LINES)
    owners = Owners(True, home=str(home), by_name=machine(home))
    assert found(owners, b"joe") == (b"joe", b"", b"")
    assert found(owners, b"joe-X") == (b"joe", b"-", b"X")
    assert found(owners, b"boss") == ((b"joe", b"-", b"boss") if with_cdb else (b"alias", b"-", b"boss"))
    assert found(owners, b"list-X") == ((b"list", b"-", b"X") if with_cdb else (b"alias", b"-", b"list-X"))
    assert found(owners, b"list") == (b"alias", b"-", b"list")
    assert found(owners, b"") == (b"alias", b"-", b"")


def test_a_catch_all_line_leaves_nothing_to_the_accounts(home):
    assigned(home, b"+:alias:7790:2108:/alias:-::\n")
    by_name = machine(home)
    assert found(Owners(True, home=str(home), by_name=by_name), b"joe") == (b"alias", b"-", b"joe")
    assert by_name.asked == []


@pytest.mark.parametrize("local", [b"root", b"sys"])
def test_lines_that_no_delivery_may_run_as_do_not_count_in_a_system_home(home, local):
    assigned(home, LINES)
    assert found(Owners(True, home=str(home), by_name=machine(home)), local) == (b"alias", b"-", local)
    assert found(Owners(False, home=str(home)), local)[0] in {b"root", *SERVICES}


def test_a_single_home_asks_no_name_service(home):
    by_name = machine(home)
    owners = Owners(False, home=str(home), by_name=by_name)
    assigned(home, LINES)
    assert found(owners, b"boss") == (b"joe", b"-", b"boss")
    assert owners.find(b"joe") is None
    assert by_name.asked == []


def test_a_single_home_without_the_file_knows_nobody_and_refuses_nobody(home):
    """Its mailboxes are nowhere else: what a lost file says is not that nobody is there."""
    with pytest.raises(ConfigError, match=r"users/cdb: does not exist.*quail user rebuild"):
        Owners(False, home=str(home)).find(b"joe")


def test_trouble_with_the_file_is_no_answer_whatever_the_accounts_say(home):
    (home / "users/cdb").write_bytes(b"damaged")
    by_name = machine(home)
    with pytest.raises(TemporaryError, match="users/cdb"):
        Owners(True, home=str(home), by_name=by_name).find(b"joe")
    assert by_name.asked == []
    (home / "users/cdb").write_bytes(assign.Maker().to_bytes())
    with pytest.raises(ConfigError, match="qmail-newu"):
        Owners(True, home=str(home), by_name=by_name).find(b"joe")


def test_no_alias_user(home):
    with pytest.raises(NoAliasError):
        Owners(True, home=str(home), by_name=lambda _name: None).find(b"joe")


def test_ctypes_is_loaded_when_an_account_is_looked_up_and_not_before(home):
    assigned(home, LINES)
    code = (
        "import sys\n"
        "from quail.users.owners import Owners\n"
        "owners = Owners(True, home=sys.argv[1])\n"
        "owners.find(b'boss'); Owners(False, home=sys.argv[1]).find(b'joe')\n"
        "print('ctypes' in sys.modules)\n"
        "try:\n"
        "    owners.find(b'joe')\n"
        "except Exception:\n"
        "    pass\n"
        "print('ctypes' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code, str(home)], capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert done.stdout == "False\nTrue\n"
