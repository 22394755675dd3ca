"""Who may come in as whom: users/passwords first, then the machine's accounts; never root, never a service."""

import hashlib
import hmac
import os
import subprocess
import sys

import pytest

from quail.errors import ConfigError, TemporaryError
from quail.users import argon, build, check, mailboxes, passwords, shadow
from quail.users.check import ANY, APOP, CRAM, PLAIN, Attempt, Checker
from quail.users.nss import Entry

SECRET = "pässword"
CHALLENGE = b"<1.2@host>"
ACCOUNTS = {
    b"ann": Entry(b"ann", 2001, 2001, b"/home/ann", shell=b"/bin/bash"),
    b"root": Entry(b"root", 0, 0, b"/root"),
    b"toor": Entry(b"toor", 0, 0, b"/root"),
    b"qmaild": Entry(b"qmaild", 501, 500, b"/var/qmail"),
    b"mailer": Entry(b"mailer", 501, 500, b"/var/qmail"),
    b"daemon": Entry(b"daemon", 502, 500, b"/"),
    b"old": Entry(b"old", 2002, 2002, b"/home/old", password=b"$5$kept in passwd"),
    b"alias": Entry(b"alias", 500, 500, b"/var/qmail/alias"),
    b"odd": Entry(b"odd", 2003, 2003, b"nowhere"),
}


@pytest.fixture
def home(tmp_path):
    for folder in ("users", "control", "mail", "alias"):
        (tmp_path / folder).mkdir()
    return str(tmp_path)


def put(home, name, secret=SECRET, *, cram=False):
    prepared = passwords.judge_password(secret.encode())
    passwords.put(home, passwords.make(name, secret.encode(), prepared=prepared, reversible=cram))


def single(home):
    return Checker(home, system=False, by_name={}.get)


class Machine:
    """Shadow entries and hashes of the test's own, and what was looked at."""

    def __init__(self, monkeypatch, entries=None):
        self.entries = {b"ann": shadow.Shadow(b"hash of right")} if entries is None else entries
        self.asked, self.nobody = [], 0
        monkeypatch.setattr(shadow, "matches", lambda hashed, secret: hashed.endswith(b" of " + secret))
        monkeypatch.setattr(shadow, "match_nobody", self._nobody)

    def _nobody(self, _secret):
        self.nobody += 1

    def shadow_of(self, name):
        self.asked.append(name)
        return self.entries.get(name)


def system(home, machine, **words):
    return Checker(home, system=True, by_name=ACCOUNTS.get, shadow_of=machine.shadow_of, **words)


def login(found):
    return None if found is None else (found.name, found.uid, found.gid, found.home, found.shell)


def attempt(user, secret=SECRET, challenge=b"", method=PLAIN):
    return Attempt(user, secret.encode() if isinstance(secret, str) else secret, challenge, method)


# A single home


def test_a_mailbox_of_a_single_home(home):
    mailboxes.add_user(home, "jane", os.getuid(), os.getgid())
    put(home, b"jane")
    mine = (b"jane", os.getuid(), os.getgid(), f"{home}/mail/jane".encode(), b"/bin/sh")
    checker = single(home)
    assert login(checker.check(attempt(b"jane"))) == mine
    assert login(checker.check(attempt(b"JANE"))) == mine
    assert login(checker.check(attempt(b"jane", "pa\u0308ssword"))) == mine
    for secret in (b"", b"password", b"p\xe4ssword", SECRET.encode() + b" ", b"x" * 100_000, b"\0"):
        assert checker.check(attempt(b"jane", secret)) is None
    for user in (b"", b"joe", b"jane\0", b"jane ", b"\xff", b"jane-list", b"x" * 10_000):
        assert checker.check(attempt(user)) is None


def test_a_password_without_a_mailbox_opens_nothing(home):
    mailboxes.add_user(home, "joe", os.getuid(), os.getgid())
    mailboxes.add_alias(home, "postmaster", "joe")
    for name in (b"jane", b"postmaster", b"joe-list"):
        put(home, name)
        assert single(home).check(attempt(name)) is None


def digests(secret):
    apop = hashlib.md5(CHALLENGE + secret.encode()).hexdigest()
    return apop, hmac.new(secret.encode(), CHALLENGE, "md5").hexdigest()


@pytest.mark.parametrize("cram", [True, False], ids=["kept", "not kept"])
def test_digests_need_a_password_that_is_kept(home, cram):
    mailboxes.add_user(home, "jane", os.getuid(), os.getgid())
    put(home, b"jane", cram=cram)
    apop, response = digests(SECRET)
    right = {(apop, APOP), (apop, ANY), (response, CRAM), (response, ANY)}
    for secret in (apop, response, SECRET, apop.upper()):
        for method in check.METHODS:
            found = single(home).check(attempt(b"jane", secret, CHALLENGE, method))
            expected = (cram and (secret.lower(), method) in right) or (secret == SECRET and method in (PLAIN, ANY))
            assert (found is not None) is expected, (secret, method)
    assert single(home).check(attempt(b"jane", apop, b"<2.2@host>", APOP)) is None
    assert single(home).check(attempt(b"jane", hashlib.md5(SECRET.encode()).hexdigest(), b"", ANY)) is None


def test_a_digest_for_nobody(home):
    assert single(home).check(attempt(b"joe", digests(SECRET)[0], CHALLENGE, APOP)) is None


# A system home


def test_an_account_with_the_machines_password(home, monkeypatch):
    checker = system(home, Machine(monkeypatch))
    assert login(checker.check(attempt(b"ann", "right"))) == (b"ann", 2001, 2001, b"/home/ann", b"/bin/bash")
    assert checker.check(attempt(b"ann", "wrong")) is None


@pytest.mark.parametrize("user", [b"root", b"toor", b"qmaild", b"mailer", b"ANN", b"nobody", b"odd", b"x" * 300])
def test_who_never_comes_in(home, monkeypatch, user):
    """With the right password; and it takes as long as one that is wrong."""
    machine = Machine(monkeypatch, dict.fromkeys(ACCOUNTS, shadow.Shadow(b"hash of right")))
    assert system(home, machine).check(attempt(user, "right")) is None
    assert machine.nobody == (0 if user == b"odd" else 1)
    if user != b"nobody" and len(user) < 255:
        put(home, user.lower())
        found = system(home, machine).check(attempt(user))
        assert (found is not None) is (user == b"ANN")


def test_uids_that_services_have_just_now(home, monkeypatch):
    machine = Machine(
        monkeypatch, {b"ann": shadow.Shadow(b"hash of right"), b"daemon": shadow.Shadow(b"hash of right")}
    )
    checker = system(home, machine, refused=frozenset({502}))
    assert checker.check(attempt(b"daemon", "right")) is None
    assert checker.check(attempt(b"ann", "right")) is not None


@pytest.mark.parametrize("hashed", [b"", b"!", b"!hash of right", b"*"], ids=["empty", "!", "locked", "*"])
def test_locked_accounts(home, monkeypatch, hashed):
    machine = Machine(monkeypatch, {b"ann": shadow.Shadow(hashed)})
    assert system(home, machine).check(attempt(b"ann", "right")) is None
    assert machine.nobody == 1


def test_accounts_without_a_shadow_entry(home, monkeypatch):
    machine = Machine(monkeypatch, {})
    assert system(home, machine).check(attempt(b"ann", "right")) is None
    assert machine.nobody == 1


def test_a_hash_in_passwd_itself(home, monkeypatch):
    machine = Machine(monkeypatch, {})
    monkeypatch.setitem(ACCOUNTS, b"old", Entry(b"old", 2002, 2002, b"/home/old", password=b"hash of right"))
    assert system(home, machine).check(attempt(b"old", "right")) is not None
    assert machine.asked == []


def test_accounts_that_have_run_out(home, monkeypatch):
    machine = Machine(monkeypatch, {b"ann": shadow.Shadow(b"hash of right", expires=100)})
    for day, known in ((99, True), (100, False)):
        checker = system(home, machine, clock=lambda day=day: day * 86_400.0)
        assert (checker.check(attempt(b"ann", "right")) is not None) is known


def test_the_password_of_the_file_replaces_the_machines(home, monkeypatch):
    put(home, b"ann")
    machine = Machine(monkeypatch)
    assert login(system(home, machine).check(attempt(b"ann"))) == (b"ann", 2001, 2001, b"/home/ann", b"/bin/bash")
    assert system(home, machine).check(attempt(b"ann", "right")) is None
    assert machine.asked == []


def test_mailboxes_of_users_assign(home, monkeypatch):
    with open(f"{home}/users/append", "wb") as file:
        file.write(b"=shop:ann:2001:2001:/home/ann/shop:::\n=evil:root:0:0:/root:::\n=sly:qmaild:501:500:/:::\n")
        file.write(b"=sales:ann:2001:2001:/home/ann:-:sales:\n+:alias:500:500:/var/qmail/alias:-::\n")
    build.rebuild(home)
    machine = Machine(monkeypatch)
    for name in (b"shop", b"evil", b"sly", b"sales", b"ann"):
        put(home, name)
    checker = system(home, machine)
    assert login(checker.check(attempt(b"shop"))) == (b"shop", 2001, 2001, b"/home/ann/shop", b"/bin/sh")
    assert login(checker.check(attempt(b"ann"))) == (b"ann", 2001, 2001, b"/home/ann", b"/bin/bash")
    for name in (b"evil", b"sly", b"sales"):
        assert checker.check(attempt(name)) is None


def test_trouble_is_told(home, monkeypatch):
    def broken(_name):
        raise TemporaryError("the name service is away")

    with pytest.raises(TemporaryError, match="is away"):
        Checker(home, system=True, by_name=broken).check(attempt(b"ann"))
    with open(f"{home}/users/passwords", "wb") as file:
        file.write(b"broken\n")
    os.chmod(f"{home}/users/passwords", 0o600)
    with pytest.raises(ConfigError):
        system(home, Machine(monkeypatch)).check(attempt(b"ann", "right"))


_STARVED = """
import os, resource, sys
from quail.errors import TemporaryError
from quail.users import argon, shadow
argon.load()
shadow.load()
hashed = sys.argv[1]
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * os.sysconf("SC_PAGE_SIZE") + (2 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
checks = {
    "argon": [lambda: argon.matches(hashed, b"secret")],
    "crypt": [lambda: shadow.matches(hashed.encode(), b"secret"), lambda: shadow.match_nobody(b"secret")],
}
for check in checks[sys.argv[2]]:
    try:
        print(check())
    except TemporaryError as error:
        print(error)
"""
_GREEDY = argon.NOBODY.replace("m=19456", "m=1048576")
_YESCRYPT = "$y$jCT$zuorrO/t7psLfjaXrBJoz/$k4j7aLHJARsrTDNJPHRX8WQsm41UOah8MVqHfjMHl43"  # of 128 MiB


@pytest.mark.parametrize(("kind", "hashed"), [("argon", _GREEDY), ("crypt", _YESCRYPT)])
def test_no_memory_for_a_hash_is_no_wrong_password(kind, hashed):
    """Else a busy machine tells people that their password is wrong, and counts it."""
    if kind == "crypt":
        shadow.load()
        if not hasattr(shadow._crypt[0], "crypt_checksalt"):
            pytest.skip("this libcrypt is no libxcrypt, or an old one")
    done = subprocess.run([sys.executable, "-c", _STARVED, hashed, kind], capture_output=True, check=True, text=True)
    said = done.stdout.splitlines()
    assert len(said) == (2 if kind == "crypt" else 1)
    assert all(line.startswith("unable to check a password: ") for line in said)


# Time


def test_unknown_names_cost_a_hash(home, monkeypatch):
    mailboxes.add_user(home, "jane", os.getuid(), os.getgid())
    put(home, b"jane")
    counted = []
    real = argon.matches
    monkeypatch.setattr(argon, "matches", lambda hashed, secret: counted.append(hashed) or real(hashed, secret))
    for user in (b"jane", b"nobody", b"root"):
        counted.clear()
        assert single(home).check(attempt(user, "wrong")) is None
        assert [hashed.split("$")[3] for hashed in counted] == ["m=19456,t=2,p=1"]


# In another process


@pytest.mark.parametrize("problem", [TemporaryError("no wonder"), ValueError("a bug"), None, False], ids=str)
def test_apart(problem):
    class Judge:
        def check(self, _attempt):
            if isinstance(problem, Exception):
                raise problem
            return check.Login(b"jane", 1, 2, b"/home/jane", b"/bin/ksh") if problem is None else None

    if isinstance(problem, Exception):
        with pytest.raises(TemporaryError, match=str(problem)):
            check.apart(Judge(), attempt(b"jane"))
    else:
        found = check.apart(Judge(), attempt(b"jane"))
        assert login(found) == (None if problem is False else (b"jane", 1, 2, b"/home/jane", b"/bin/ksh"))


def test_apart_from_one_that_dies():
    class Judge:
        def check(self, _attempt):
            os._exit(3)

    with pytest.raises(TemporaryError, match="has died"):
        check.apart(Judge(), attempt(b"jane"))


NUMBERS = (b"x", b"", b"-1", b" 1", b"1_0", b"9" * 5000)


@pytest.mark.parametrize(
    "verdict",
    [
        *(b"", b"K", b"Kjane", b"X", b"K1\x002\x003\x004"),
        *(b"Kjane\0%b\x002\0/\0/bin/sh" % number for number in NUMBERS),
        *(b"Kjane\x002\0%b\0/\0/bin/sh" % number for number in NUMBERS),
    ],
    ids=range(5 + 2 * len(NUMBERS)),
)
def test_words_that_are_no_verdict(verdict):
    with pytest.raises(TemporaryError):
        check.take(verdict)
