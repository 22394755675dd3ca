"""The real users process in a system home: users/cdb, accounts, alias, dot-qmail files; a name service that hangs or fails."""

import fcntl
import os
import signal
import subprocess
import sys

import pytest
from tests.system.delivery_home import PATIENCE, Peer

from quail.net import users_protocol as users
from quail.services.users import MAX_WAITING_EACH, THREADS, THREADS_EACH
from quail.users import assign

LAUNCHER = os.path.join(os.path.dirname(__file__), "users_launcher.py")
UID = os.getuid() or 4321
FOR_EVER = 3600


class Service:
    """A system home with a running users service; accounts joe, shop, alias and one without a home."""

    def __init__(self, path, *, patience=FOR_EVER, fresh=0.0):
        self.path = path
        for name in ("control", "users", "run", "joe", "shop", "alias"):
            (path / name).mkdir()
            os.chown(path / name, UID, -1)
        (path / "control/me").write_text("localhost\n")
        (path / "control/virtualdomains").write_text("virtual.example:shop\nall.example:alias-all\n")
        lines = [f"{name}:{UID}:100:{path}/{name}" for name in ("joe", "shop", "alias", "stuck", "stuck2", "gone")]
        (path / "passwd").write_text("\n".join([*lines, f"root:0:0:{path}/joe", f"qmailq:{UID}:100:{path}/joe", ""]))
        for name in ("stuck", "stuck2"):
            (path / name).mkdir()
            os.chown(path / name, UID, -1)
        (path / "gate").touch()
        self.gate = os.open(path / "gate", os.O_RDWR)
        fcntl.flock(self.gate, fcntl.LOCK_EX)
        self.open_sockets = []
        self.folder = os.open(path, os.O_RDONLY)
        self.short = f"/proc/self/fd/{self.folder}"
        self.process = subprocess.Popen(
            [sys.executable, LAUNCHER, str(path), str(patience), str(fresh)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout.readline() == b"up\n"

    def file(self, name):
        (self.path / name).touch()

    def assign(self, lines):
        data = assign.compile_cdb(assign.parse(lines.encode() + b".\n", "users/assign"))
        (self.path / "users/new").write_bytes(data)
        (self.path / "users/new").rename(self.path / "users/cdb")

    def asked(self):
        return (self.path / "asked").read_text().split()

    def open_gate(self):
        fcntl.flock(self.gate, fcntl.LOCK_UN)

    def close(self):
        os.close(self.gate)
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) in (0, 111)
        self.process.stdout.close()
        for sock in self.open_sockets:
            sock.close()
        os.close(self.folder)


class Client(Peer):
    def __init__(self, service):
        super().__init__(service, "users")

    def put(self, tag, letter, payload):
        self.sock.sendall(users.encode(tag, letter, payload))

    def answer(self):
        message = users.decode(self.frame())
        return message.tag, message.letter, message.payload

    def ask(self, letter, payload):
        self.put(5, letter, payload)
        tag, *rest = self.answer()
        assert tag == 5
        return tuple(rest)


@pytest.fixture
def make(tmp_path):
    made = []

    def start(**options):
        made.append(Service(tmp_path, **options))
        return made[-1]

    yield start
    for service in made:
        service.close()


@pytest.fixture
def service(make):
    return make()


@pytest.fixture
def client(service):
    return Client(service)


FILES = ("shop/.qmail-in", "joe/.qmail-list-default", "alias/.qmail-postmaster", "alias/.qmail-all-default")


@pytest.mark.parametrize(
    ("recipient", "letter"),
    [
        (b"joe@localhost", b"K"),
        (b"JOE@LocalHost", b"K"),
        (b"joe", b"K"),
        (b"joe-x@localhost", b"N"),
        (b"joe-list-x@localhost", b"K"),
        (b"joe-List-X.Y@localhost", b"K"),
        (b"nobody@localhost", b"N"),
        (b"postmaster@localhost", b"K"),
        (b"PostMaster@localhost", b"K"),
        (b"root@localhost", b"N"),
        (b"qmailq@localhost", b"N"),
        (b"gone@localhost", b"N"),
        (b"@localhost", b"N"),
        (b"", b"N"),
        (b"in@virtual.example", b"K"),
        (b"out@virtual.example", b"N"),
        (b"any.thing@all.example", b"K"),
        (b"nobody@elsewhere.example", b"K"),
        (b"down@localhost", b"T"),
        (b"down-x@localhost", b"T"),
        (b"bug@localhost", b"T"),
    ],
)
def test_the_three_answers(service, client, recipient, letter):
    for name in FILES:
        service.file(name)
    assert client.ask(b"R", recipient)[0] == letter


def test_users_cdb_goes_first(service, client):
    service.file("shop/.qmail-a")
    service.assign(
        f"=joe:shop:{UID}:100:{service.path}/shop:-:none:\n+sales-:shop:{UID}:100:{service.path}/shop:-::\n"
        f"=boss:shop:{UID}:100:{service.path}/shop:::\n=root:root:0:0:{service.path}/joe:::\n"
    )
    said = [client.ask(b"R", name + b"@localhost")[0] for name in (b"joe", b"sales-a", b"sales-b", b"boss")]
    assert said == [b"N", b"K", b"N", b"K"]
    assert not (service.path / "asked").read_bytes()
    assert client.ask(b"R", b"root@localhost") == (b"N", b"")  # its line does not count: no delivery runs as root
    service.file("alias/.qmail-root")
    assert client.ask(b"R", b"root@localhost") == (b"K", b"")
    assert client.ask(b"R", b"shop@localhost") == (b"K", b"")


@pytest.mark.parametrize(
    ("local", "owner"),
    [
        (b"joe", (b"joe", b"joe", b"", b"")),
        (b"Joe-A.b", (b"joe", b"joe", b"-", b"A.b")),
        (b"nobody-X", (b"alias", b"alias", b"-", b"nobody-X")),
        (b"root", (b"alias", b"alias", b"-", b"root")),
        (b"", (b"alias", b"alias", b"-", b"")),
    ],
)
def test_whose_is_it(service, client, local, owner):
    letter, payload = client.ask(b"L", local)
    assert letter == b"K"
    found = users.decode_owner(payload)
    assert (found.uid, found.gid) == (UID, 100)
    assert (found.user, found.home, found.dash, found.ext) == (
        owner[0],
        os.fsencode(service.path / owner[1].decode()),
        *owner[2:],
    )


def test_trouble_says_what_is_wrong_and_is_logged(service, client):
    for letter, question in ((b"L", b"down-x"), (b"R", b"down-x@localhost")):
        answer, text = client.ask(letter, question)
        assert (answer, text) == (b"T", b"unable to look up account down-x: connection refused")
        assert f"can't tell about {question!r}: unable" in (service.path / "log").read_text()
    (service.path / "users/cdb").write_bytes(b"rubbish")
    assert client.ask(b"L", b"joe")[0] == b"T"
    assert client.ask(b"R", b"joe@localhost")[0] == b"T"


def test_a_bug_in_a_look_up_is_trouble_with_that_question_alone(client):
    assert client.ask(b"L", b"bug") == (b"T", b"this is a bug: ZeroDivisionError: in a look-up")
    assert client.ask(b"L", b"joe")[0] == b"K"


def test_others_are_answered_while_look_ups_are_stuck(service, client):
    client.put(1, b"R", b"stuck-x@localhost")
    client.put(2, b"L", b"stuck2")
    client.put(3, b"R", b"stuck-x@localhost")  # waits for the same look-up as the first
    for tag in range(10, 60):
        client.put(tag, b"L", b"joe-%d" % tag)
    answers = [client.answer() for _ in range(50)]
    assert sorted(tag for tag, _, _ in answers) == list(range(10, 60))
    assert {letter for _, letter, _ in answers} == {b"K"}
    service.open_gate()
    assert sorted(client.answer()[:2] for _ in range(3)) == [(1, b"N"), (2, b"K"), (3, b"N")]
    assert service.asked().count("stuck-x") == service.asked().count("stuck") == 1


def test_every_thread_stuck_leaves_what_users_cdb_knows(service, client):
    service.assign(f"=boss:shop:{UID}:100:{service.path}/shop:::\n")
    for tag in range(THREADS + 5):
        client.put(tag, b"L", b"stuck%d" % tag)
    client.put(1000, b"L", b"joe")
    for tag in range(2000, 2010):
        client.put(tag, b"R", b"boss@localhost")
    assert [client.answer()[:2] for _ in range(10)] == [(tag, b"K") for tag in range(2000, 2010)]
    service.open_gate()
    assert {client.answer()[1] for _ in range(THREADS + 6)} == {b"K"}


def test_one_user_who_hangs_leaves_the_threads_to_others(service, client):
    service.assign(f"+list-:shop:{UID}:100:{service.path}/shop:-::\n")
    for tag in range(THREADS * 3):
        client.put(tag, b"R", b"Stuck-%d@localhost" % tag)
    for tag in range(1000, 1020):
        client.put(tag, b"R", b"list-%d@localhost" % tag)
        client.put(1000 + tag, b"L", b"joe-%d" % tag)
    assert sorted(client.answer()[1] for _ in range(40)) == [b"K"] * 20 + [b"N"] * 20
    assert len([name for name in service.asked() if name.startswith("stuck")]) == THREADS_EACH
    for _ in range(MAX_WAITING_EACH):
        client.put(5000, b"L", b"stuck-%s" % os.urandom(8).hex().encode())
    assert client.answer() == (5000, b"T", b"too many look-ups at once")
    assert Client(service).ask(b"L", b"joe-again")[0] == b"K"


def test_a_question_that_waits_too_long_is_told_so_and_the_answer_comes_to_the_next(make):
    service = make(patience=0.1, fresh=FOR_EVER)
    client = Client(service)
    for _ in range(2):
        assert client.ask(b"R", b"stuck-x@localhost") == (b"T", b"the look-up takes too long")
    assert "can't tell about b'stuck-x@localhost': the look-up takes too long" in (service.path / "log").read_text()
    service.open_gate()
    while (answer := client.ask(b"R", b"stuck-x@localhost")) != (b"N", b""):
        assert answer[0] == b"T"
    assert service.asked().count("stuck-x") == 1


def test_answers_are_kept_for_a_moment_and_what_users_cdb_says_counts_at_once(make):
    service = make(fresh=FOR_EVER)
    client = Client(service)
    for _ in range(3):
        assert client.ask(b"L", b"joe-x")[0] == b"K"
        assert client.ask(b"R", b"joe-x@localhost") == (b"N", b"")
        assert client.ask(b"R", b"down@localhost")[0] == b"T"
    assert service.asked() == ["joe-x", "joe", "joe-x", "joe", "down", "down", "down"]
    service.file("joe/.qmail-x")
    assert client.ask(b"R", b"joe-x@localhost") == (b"N", b"")
    service.assign(f"=joe-x:shop:{UID}:100:{service.path}/shop:::\n")
    assert client.ask(b"R", b"joe-x@localhost") == (b"K", b"")
    service.assign("")
    service.process.send_signal(signal.SIGHUP)
    while client.ask(b"R", b"joe-x@localhost") == (b"N", b""):
        pass  # until the signal has come
    assert len(service.asked()) == 9


def test_without_keeping_each_question_is_looked_up(service, client):
    for count in range(1, 4):
        assert client.ask(b"L", b"joe")[0] == b"K"
        assert service.asked() == ["joe"] * count


def test_term_ends_it_whatever_is_stuck(service, client):
    client.put(1, b"L", b"stuck")
    client.put(2, b"L", b"joe")
    assert client.answer()[:2] == (2, b"K")
    service.process.terminate()
    assert service.process.wait(PATIENCE) == 0


def test_a_client_that_has_gone_is_nobodys_trouble(service, client):
    other = Client(service)
    other.put(1, b"L", b"stuck")
    assert other.ask(b"L", b"joe")[0] == b"K"
    other.sock.close()
    service.open_gate()
    assert client.ask(b"L", b"stuck")[0] == b"K"
