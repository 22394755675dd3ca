"""QMAILQUEUE in an access rule of a system home: the services' account runs the program, for mail by each protocol."""

import pytest
from tests.system.test_queue_programs import PROTOCOLS, connect, give, program
from tests.system_root.harness_root import DOMAIN, QMAIL

PORTS = {"smtp": 25, "lmtp": 24, "qmtp": 209, "qmqp": 628}
CONTROL = {"listen": "\n".join(f"{name} 127.0.0.1:{port}" for name, port in PORTS.items())}
VIRUS, LARGE = b"Subject: x\n\nVIRUS\n", b"Subject: x\n\n" + b"0123456789abcde\n" * 20_000
COMPILE = f"cd /etc/tcprules.d && {QMAIL}/bin/tcprules qmail-smtp.cdb new && cp qmail-smtp.cdb qmail-qmqp.cdb"


@pytest.fixture
def scanned(home):
    """The home, and the folder where the program leaves what it has seen."""
    folder = home.shared / "scan"
    program(folder, QMAIL)
    (folder / "scan").write_text((folder / "scan").read_text().replace(str(folder), "/srv/shared/scan"))
    folder.chmod(0o1777)
    for old in ("uid", "who", "message"):
        (folder / old).unlink(missing_ok=True)
    home.box.run(["sh", "-c", COMPILE], data='127.0.0.1:allow,WHO="me",QMAILQUEUE="/srv/shared/scan/scan"\n')
    return home, folder


def send(home, protocol, text):
    client = connect(protocol, lambda kind: home.in_network(kind, PORTS[protocol]))
    return give(protocol, client, f"alice@{DOMAIN}", text)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("text", [b"Subject: x\n\nhello\n", LARGE], ids=["small", "large"])
def test_the_program_has_the_mail(scanned, protocol, text):
    home, folder = scanned
    before = len(home.mail())
    assert send(home, protocol, text)[:1] in b"2K"
    home.until(lambda: len(home.mail()) == before + 1, "the mail")
    assert max(home.mail_paths("alice"), key=lambda path: path.stat().st_mtime_ns).read_bytes().endswith(text)
    qmaild = home.box.run(["id", "-u", "qmaild"]).stdout
    assert (folder / "uid").read_text() == qmaild
    assert (folder / "who").read_text() == "127.0.0.1 me\n"
    service = "smtpd" if protocol == "lmtp" else f"{protocol}d"
    told = r"127\.0\.0\.1 message from <s@example\.org> to 1 recipient: taken by /srv/shared/scan/scan, process \d+"
    home.line(rf"^{service}: {told}$")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_program_refuses_it(scanned, protocol):
    home, _ = scanned
    before = len(home.mail())
    reply = send(home, protocol, VIRUS)
    assert reply[:1] in b"5D"
    assert b"virus found" in reply
    assert len(home.mail()) == before
