"""kill -9 under load in a system home, with deliveries of several users under way: to Maildirs, an mbox and a program.

Every message that was acknowledged arrives, and no more often than deliveries were in flight when something died.
"""

import os
import re
import select

import pytest
from tests.system.killing import AT_ONCE, DELIVERING, Load, account, rounds
from tests.system_root.harness_root import DOMAIN, describe, enter_network, status_of, uid

SERVICES = ("lspawn", "worker", "users", "queue")
LOCALS = ("alice", "bob-box", "carol-run", "dave", "mail-for-alias", "alice-on")


@pytest.fixture
def under_load(own_home):
    own_home.control("concurrencylocal", str(AT_ONCE))
    own_home.control("maxconnectionsperip", "1000")
    own_home.dot_qmail("bob", "box", "./mbox\n")
    own_home.dot_qmail("carol", "run", "|grep '^X-Token: ' >> tokens\n")
    own_home.dot_qmail("alias", "mail-for-alias", "", mode=0o644)
    own_home.dot_qmail("alice", "on", f"&dave@{DOMAIN}\n")
    own_home.start()
    load = Load(25, [f"{local}@{DOMAIN}" for local in LOCALS], enter=lambda: enter_network(own_home.box))
    yield own_home, load
    load.stop()


def mailboxes(home):
    """Everything that has been delivered."""
    files = [path for user in ("alice", "dave", "alias") for path in home.mail_paths(user)]
    files += [home.home_of("bob") / "mbox", home.home_of("carol") / "tokens"]
    return [path.read_bytes() for path in files]


def accounted(home, load, order):
    # A forwarded message is two deliveries, one after the other: either may be in flight.
    repeats = account(load, order, mailboxes(home))
    assert not repeats or set(order) & set(DELIVERING)
    mbox = (home.home_of("bob") / "mbox").read_bytes()
    starts = re.findall(rb"(?:\A|\n\n)From s@example\.org \w{3} \w{3} [ \d]\d [\d:]{8} \d{4}\nReturn-Path: ", mbox)
    assert len(starts) == len(re.findall(rb"^X-Token: ", mbox, re.MULTILINE))
    for user, path in (("bob", "mbox"), ("carol", "tokens"), ("alice", "Maildir"), ("dave", "Maildir")):
        assert describe(home.home_of(user) / path)[1:] == (uid(user), uid(user))
    # Whoever had died is back as what he was.
    for service, account_name in (("queue", "qmailq"), ("users", "qmailp")):
        number = home.box.run(["id", "-u", account_name]).stdout.strip()
        assert status_of(home.pid(service))["Uid"].split() == [number] * 4
    assert home.stop() == 0


@pytest.mark.parametrize("count", [2, pytest.param(20, marks=pytest.mark.long)])
@pytest.mark.parametrize("service", SERVICES)
def test_killed_again_and_again(under_load, service, count):
    home, load = under_load
    accounted(home, load, rounds(home, load, count, [service]))


@pytest.mark.parametrize("count", [1, pytest.param(20, marks=pytest.mark.long)])
def test_killed_one_after_another(under_load, count):
    home, load = under_load
    accounted(home, load, rounds(home, load, count, [*SERVICES, "serve"]))


def test_nothing_of_a_user_outlives_serve(own_home):
    """Neither an idle worker nor one at work, nor the program that it waits for; and the home can be served again."""
    own_home.dot_qmail("alice", "wait", "|echo up > up; exec sleep 1000\n")
    own_home.start()
    own_home.deliver(f"bob@{DOMAIN}")
    own_home.send(f"alice-wait@{DOMAIN}")
    up = own_home.home_of("alice") / "up"
    own_home.until(up.exists, "the program")
    assert any(status_of(pid)["Name"] == "sleep" for pid in own_home.descendants())
    pids = own_home.descendants()
    handles = [os.pidfd_open(pid) for pid in pids]
    own_home.kill()
    for handle, pid in zip(handles, pids, strict=True):
        own_home.log.until(lambda handle=handle: ended(handle), f"the end of {pid}")
        os.close(handle)
    own_home.dot_qmail("alice", "wait", "")
    own_home.start()
    own_home.until(lambda: own_home.mail("alice"), "the message that had been under way")
    assert own_home.stop() == 0


def ended(handle):
    return bool(select.select([handle], [], [], 0)[0])
