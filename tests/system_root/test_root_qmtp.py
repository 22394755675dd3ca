"""QMTP and QMQP in a system home, by lines of control/listen: mail comes to its users; QMQP is for those whom a rule names."""

import pytest
from tests.system.test_qmtp import Netstrings
from tests.system_root.harness_root import DOMAIN, QMAIL, status_of, uid
from tests.unit.qmtp.packages import package, request

CONTROL = {"listen": "smtp 0.0.0.0:25\nqmtp 0.0.0.0:209\nqmqp 0.0.0.0:628"}
TEXT = b"Subject: hi\n\nhello\n"


def connect(home, port, source="127.0.0.1"):
    return home.in_network(Netstrings, port, source=(source, 0))


def came(home, user):
    """The one message of a mailbox, taken out of it; it is the user's."""
    home.until(lambda: home.mail(user), f"mail for {user}")
    (path,) = home.mail_paths(user)
    text, status = path.read_bytes(), path.stat()
    path.unlink()
    assert (status.st_uid, status.st_gid) == (uid(user), uid(user))
    return text


def test_by_qmtp(home):
    with connect(home, 209) as client:
        recipients = [f"{name}@{DOMAIN}".encode() for name in ("alice", "nobody-here", "bob")]
        client.write(package(TEXT, b"s@example.org", *recipients, b"a@elsewhere.test"))
        letters = [letter for letter, _ in client.replies(4)]
    assert letters == [b"K", b"D", b"K", b"D"]
    for user in ("alice", "bob"):
        text = came(home, user)
        assert text.startswith(b"Return-Path: <s@example.org>\nDelivered-To: %b@example.test\n" % user.encode())
        assert b" with QMTP; " in text
        assert text.endswith(TEXT)


def test_qmqp_is_closed_to_those_without_a_rule(home):
    with connect(home, 628) as client:  # there is no file of rules yet
        assert client.is_over()
    home.line(r"qmqpd: 127\.0\.0\.1 denied: no rule allows it$")
    rules = "/etc/tcprules.d/qmail-qmqp"
    home.box.run(["mkdir", "-p", "/etc/tcprules.d"])
    home.box.run([f"{QMAIL}/bin/tcprules", f"{rules}.cdb", f"{rules}.tmp"], data="127.0.0.2:allow\n127.0.0.3:deny\n")
    for source in ("127.0.0.1", "127.0.0.3"):
        with connect(home, 628, source) as client:
            client.write(request(TEXT, b"s@example.org", f"carol@{DOMAIN}".encode()))
            assert client.is_over()
    home.line(r"qmqpd: 127\.0\.0\.3 denied by rule 127\.0\.0\.3:$")
    with connect(home, 628, "127.0.0.2") as client:
        client.write(request(TEXT, b"s@example.org", f"alice@{DOMAIN}".encode()))
        ((letter, _),) = client.replies(1)
        assert letter == b"K"
    text = came(home, "alice")
    assert b" with QMQP; " in text
    assert text.endswith(TEXT)
    assert home.mail("carol") == []


@pytest.mark.parametrize("service", ["qmtpd", "qmqpd"])
def test_as_the_account_of_smtpd(home, service):
    number = home.box.run(["id", "-u", "qmaild"]).stdout.strip()
    (pid,) = home.pids[service]
    assert status_of(pid)["Uid"].split() == [number] * 4
