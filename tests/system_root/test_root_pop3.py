"""POP3 in a system home: whose password opens what, who a session is, and what popd's account can do without a password."""

import itertools
import json
import os
import poplib
import socket

import pytest
from tests.root.testroot import QUAIL, QUAIL_ENVIRONMENT
from tests.system.harness import PATIENCE, children
from tests.system.pop3_house import comm
from tests.system_root.harness_root import QMAIL, status_of, uid

CONTROL = {"listen": "smtp 0.0.0.0:25\npop3 0.0.0.0:110", "maxconnectionsperip": "1000"}
CRYPT = "import crypt,sys;print(crypt.crypt(sys.argv[1], getattr(crypt, 'METHOD_' + sys.argv[2])))"
_SOURCES = itertools.count(1)
REFUSED = r"\[AUTH\] authorization failed"


@pytest.fixture(scope="module")
def people(home):
    """alice has yescrypt, as Debian makes them; bob SHA-512; carol is locked, dave has run out, mallory has none."""
    box = home.box
    box.run(["chpasswd"], data="alice:alice's\ncarol:carol's\ndave:dave's\nroot:root's\nqmaild:qmaild's\n")
    made = box.run(["python3", "-W", "ignore", "-c", CRYPT, "bob's", "SHA512"]).stdout.strip()
    assert made.startswith("$6$")
    box.run(["usermod", "-p", made, "bob"])
    box.run(["usermod", "-L", "carol"])
    box.run(["chage", "-E", "2020-01-01", "dave"])
    shadow = box.run(["getent", "shadow", "alice"]).stdout
    assert ":$y$" in shadow
    return home


class Client(poplib.POP3):
    """Who comes from an address of choice."""

    def __init__(self, source):
        self._source = source
        super().__init__("127.0.0.1", 110, timeout=PATIENCE)

    def _create_socket(self, timeout):
        return socket.create_connection((self.host, self.port), timeout, (self._source, 0))


def login(home, name, secret, source="127.0.0.1"):
    client = home.in_network(Client, source)
    try:
        client.user(name)
        client.pass_(secret)
    except BaseException:
        client.close()
        raise
    return client


def passwd(home, name, secret, *words):
    home.box.run([*QUAIL, "--home", QMAIL, "user", "passwd", name, *words], env=QUAIL_ENVIRONMENT, data=f"{secret}\n")


def sessions(home):
    return [pid for pid in home.descendants() if comm(pid) == "quail-pop3"]


@pytest.mark.parametrize("name", ["alice", "bob"], ids=["yescrypt", "sha512"])
def test_the_machines_password_opens_the_users_mail(people, name):
    people.deliver(f"{name}@example.test")
    client = login(people, name, f"{name}'s")
    (pid,) = sessions(people)
    status = status_of(pid)
    assert status["Uid"].split() == status["Gid"].split() == [str(uid(name))] * 4
    assert status["Groups"].split() == [str(uid(name))]
    assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Amb")} == {"0" * 16}
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0  # not dumpable: the user's other processes can't look into it
    kept = {os.readlink(f"/proc/{pid}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{pid}/fd")}
    assert kept == {"/dev/null", "socket", "pipe"}
    assert len(os.listdir(f"/proc/{pid}/fd")) == 7  # the connection twice: TERM ends its reading
    assert os.readlink(f"/proc/{pid}/cwd").endswith(f"/{name}")
    count = client.stat()[0]
    assert count >= 1
    client.dele(1)
    client.quit()
    people.line(rf"session of {name} from 127\.0\.0\.1 by pop3 ended: quit, 0 sent, 1 removed")
    with pytest.raises(poplib.error_proto, match=REFUSED):
        login(people, name, "wrong")


@pytest.mark.parametrize("name", ["carol", "dave", "root", "qmaild", "mallory", "alias", "nobody", "sync"])
def test_who_does_not_come_in(people, name):
    with pytest.raises(poplib.error_proto, match=REFUSED):
        login(people, name, f"{name}'s", f"127.0.1.{next(_SOURCES)}")  # each guess the first of its address
    login(people, "alice", "alice's").quit()


def test_a_password_of_quails_own(people):
    """In place of the machine's, or where that is locked; never for root or a service."""
    passwd(people, "carol", "mail alone")
    login(people, "carol", "mail alone").quit()
    for name in ("root", "qmaild"):
        done = people.box.run(
            [*QUAIL, "--home", QMAIL, "user", "passwd", name], env=QUAIL_ENVIRONMENT, data="x\n", check=False
        )
        assert done.returncode == 100
    assert os.stat(people.path / "users/passwords").st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "path",
    ["/etc/shadow", f"{QMAIL}/users/passwords", "/home/alice/Maildir/new", f"{QMAIL}/queue/journal", "/home/mallory"],
)
def test_popds_account_reads_nothing(people, path):
    passwd(people, "carol", "mail alone")
    number = int(people.box.run(["id", "-u", "qmailpop"]).stdout)
    done = people.box.run(
        ["ls" if path.endswith(("new", "journal", "mallory")) else "cat", path], user=number, check=False
    )
    assert done.returncode != 0
    assert "Permission denied" in done.stderr


def guess(home, account, attempts):
    number = int(home.box.run(["id", "-u", account]).stdout)
    done = home.box.run(["python3", "/srv/tools/guess.py", json.dumps(attempts)], user=number)
    return json.loads(done.stdout)


@pytest.mark.parametrize("account", ["alice", "qmaild", "qmailq", "qmailr", "qmailp", "alias"])
def test_nobody_else_speaks_with_authd(people, account):
    words = guess(people, account, [{"user": "alice", "secret": "alice's"}])
    assert words[0] == "PermissionError"


def test_a_popd_that_was_taken_over_becomes_nobody_without_a_password(people):
    attempts = [
        {"user": "alice", "secret": "wrong"},
        {"user": "alice", "secret": ""},
        {"user": "root", "secret": "root's"},
        {"user": "qmaild", "secret": "qmaild's"},
        {"user": "alice", "secret": "0" * 32, "method": "A"},
        {"user": "../root", "secret": "x"},
        {"user": "alice\x00root", "secret": "alice's"},
        {"user": "alice", "secret": "alice's", "service": "shell"},
        {"user": "alice", "secret": "alice's", "descriptor": False},
        {"user": "x", "secret": "x", "junk": "ffffffff"},
        {"user": "x", "secret": "x", "junk": "0000000301020304"},
    ]
    answers = guess(people, "qmailpop", attempts)
    assert [letter for letter, _ in answers] == ["N"] * 6 + ["closed"] * 5
    old = {"user": "alice", "secret": "alice's", "age": 60}  # popd does not wait for it any more
    assert guess(people, "qmailpop", [old])[0][0] == "T"
    assert guess(people, "qmailpop", [{"user": "alice", "secret": "alice's"}]) == [["K", "+OK \r\n+OK \r\n"]]
    assert sessions(people) == []


def test_services_run_as_they_should(people):
    number = people.box.run(["id", "-u", "qmailpop"]).stdout.strip()
    (popd,) = people.pids["popd"]
    assert status_of(popd)["Uid"].split() == [number] * 4
    (authd,) = people.pids["authd"]
    assert status_of(authd)["Uid"].split() == ["0"] * 4


def test_checkpassword_becomes_the_user(people):
    script = (
        "printf 'alice\\0alice'\\''s\\0\\0' > /tmp/three; "
        f"{QMAIL}/bin/checkpassword sh -c 'id -u; id -G; pwd; echo $USER $HOME $SHELL; umask' 3< /tmp/three"
    )
    done = people.box.run(["sh", "-c", script], env={"PATH": "/usr/bin:/bin"})
    number = uid("alice")
    assert done.stdout.split("\n")[:4] == [str(number), str(number), "/home/alice", "alice /home/alice /bin/sh"]


@pytest.mark.parametrize(
    ("name", "secret", "code"), [("root", "root's", 1), ("carol", "carol's", 1), ("bob", "bob's", 0)]
)
def test_checkpassword_refuses(people, name, secret, code):
    passwd(people, "carol", "mail alone")
    text = f"{name}\\0{secret}\\0\\0".replace("'", "'\\''")
    script = f"printf '{text}' > /tmp/three; exec {QMAIL}/bin/checkpassword true 3< /tmp/three"
    done = people.box.run(["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, check=False)
    assert (done.returncode, done.stderr) == (code, "")


def test_a_user_cannot_run_checkpassword_for_others(people):
    script = f"printf 'bob\\0x\\0\\0' > /tmp/mine; exec {QMAIL}/bin/checkpassword id 3< /tmp/mine"
    done = people.box.run(["sh", "-c", script], user=uid("alice"), env={"PATH": "/usr/bin:/bin"}, check=False)
    assert done.returncode == 111
    assert "cannot be read" in done.stderr or "unable to" in done.stderr


def test_a_home_that_is_away(people):
    """The client is told, by a process that is the user already."""
    home = people.homes / "bob"
    home.rename(people.homes / "away")
    try:
        with pytest.raises(poplib.error_proto, match=r"\[SYS/PERM\] unable to enter the home"):
            login(people, "bob", "bob's")
    finally:
        (people.homes / "away").rename(home)
    login(people, "bob", "bob's").quit()


def test_another_checkpassword_has_the_session_run_as_the_user(own_home):
    own_home.box.run(["chpasswd"], data="alice:alice's\n")
    own_home.control("listen", CONTROL["listen"])
    own_home.control("checkpassword", f"{QMAIL}/bin/checkpassword")
    own_home.start()
    client = login(own_home, "alice", "alice's")
    (authd,) = own_home.pids["authd"]
    (session,) = children(authd)
    assert status_of(session)["Uid"].split() == [str(uid("alice"))] * 4
    assert os.readlink(f"/proc/{session}/cwd").endswith("/alice")
    assert client.stat()[0] == 0
    client.quit()
    with pytest.raises(poplib.error_proto, match=REFUSED):
        login(own_home, "alice", "wrong")
    assert own_home.stop() == 0


def test_a_system_home_does_not_listen_by_itself(own_home):
    listen = (own_home.path / "control/listen").read_text()
    assert "\n#pop3 0.0.0.0:110\n" in listen
    own_home.start()
    assert "popd" not in own_home.pids
    assert "authd" not in own_home.pids
    assert own_home.stop() == 0
