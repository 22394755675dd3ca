"""An installation as Life with qmail describes it, on our programs: svscan, tcpserver, multilog, and mail that arrives.

Its run scripts are as sites have them, but for the number of softlimit, because 2 MB hold no interpreter.
"""

import re
import subprocess

import pytest
from tests.daemontools.supervise_house import until
from tests.system_root.harness_root import DOMAIN, QMAIL, QUAIL_ENVIRONMENT, SystemHome, uid

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
LOCAL_BIN = "/usr/local/bin"
PROGRAMS = (
    "setuidgid",
    "multilog",
    "softlimit",
    "tcpserver",
    "tcprules",
    "supervise",
    "svscan",
    "svc",
    "svstat",
    "svok",
)
RC = """#!/bin/sh

exec env - PATH="/var/qmail/bin:$PATH" \\
qmail-start "`cat /var/qmail/control/defaultdelivery`"
"""
SEND = "#!/bin/sh\nexec /var/qmail/rc\n"
SEND_LOG = """#!/bin/sh
exec /usr/local/bin/setuidgid qmaill /usr/local/bin/multilog t /var/log/qmail
"""
SMTPD = """#!/bin/sh

QMAILDUID=`id -u qmaild`
NOFILESGID=`id -g qmaild`
MAXSMTPD=`cat /var/qmail/control/concurrencyincoming`
LOCAL=`head -1 /var/qmail/control/me`

if [ -z "$QMAILDUID" -o -z "$NOFILESGID" -o -z "$MAXSMTPD" -o -z "$LOCAL" ]; then
    echo one of the four is empty
    exit 1
fi

if [ ! -f /var/qmail/control/rcpthosts ]; then
    echo no rcpthosts: this would be an open relay
    exit 1
fi

exec /usr/local/bin/softlimit -m 200000000 \\
    /usr/local/bin/tcpserver -v -R -l "$LOCAL" -x /etc/tcp.smtp.cdb -c "$MAXSMTPD" \\
        -u "$QMAILDUID" -g "$NOFILESGID" 0 smtp /var/qmail/bin/qmail-smtpd 2>&1
"""
SMTPD_LOG = """#!/bin/sh
exec /usr/local/bin/setuidgid qmaill /usr/local/bin/multilog t /var/log/qmail/smtpd
"""
SCRIPTS = {
    "rc": RC,
    "supervise/qmail-send/run": SEND,
    "supervise/qmail-send/log/run": SEND_LOG,
    "supervise/qmail-smtpd/run": SMTPD,
    "supervise/qmail-smtpd/log/run": SMTPD_LOG,
}
DIRECTORIES = """set -e
mkdir -p /var/log/qmail/smtpd
chown -R qmaill /var/log/qmail
mkdir /service
ln -s /var/qmail/supervise/qmail-send /var/qmail/supervise/qmail-smtpd /service
echo '127.:allow,RELAYCLIENT=""' > /etc/tcp.smtp
tcprules /etc/tcp.smtp.cdb /etc/tcp.smtp.tmp < /etc/tcp.smtp
chmod 644 /etc/tcp.smtp.cdb
"""


class Site:
    def __init__(self, test_root, folder, box):
        self.home = SystemHome(box, folder)
        self.box = box
        for program in PROGRAMS:
            box.run(["ln", "-sf", f"{QMAIL}/bin/{program}", f"{LOCAL_BIN}/{program}"])
        for name, text in SCRIPTS.items():
            path = self.home.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        self.home.control("concurrencyincoming", "20")
        box.run(["sh", "-c", DIRECTORIES])
        self.svscan = box.popen(["svscan", "/service"], env=QUAIL_ENVIRONMENT, stderr=subprocess.DEVNULL)

    def svc(self, option, name):
        done = self.box.run(["svc", option, f"/service/{name}"])
        assert (done.stdout, done.stderr) == ("", "")

    def log(self, name):
        """Lines without their stamps."""
        done = self.box.run(["sh", "-c", f"cat /var/log/qmail/{name}/@* /var/log/qmail/{name}/current"], check=False)
        lines = done.stdout.splitlines()
        assert all(re.match(r"@[0-9a-f]{24} ", line) for line in lines), lines
        return [line[26:] for line in lines]

    def says(self, name, pattern, count=1):
        def found():
            matches = [match for line in self.log(name) if (match := re.search(pattern, line))]
            return len(matches) >= count and matches[count - 1]

        return until(found, lambda: f"{pattern} in {self.log(name)}")

    def mail(self, user):
        new = self.home.home_of(user) / "Maildir/new"
        return [path.read_text() for path in sorted(new.iterdir())] if new.is_dir() else []

    def swaks(self, recipient, *options, check=True):
        words = ["swaks", "--server", "127.0.0.1", "--from", "s@example.org", "--to", recipient, *options]
        return self.box.run(words, check=check)


@pytest.fixture(scope="module")
def site(test_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with test_root.enter(SystemHome.folders(folder)) as box:
        yield Site(test_root, folder, box)


def test_mail_arrives(site):
    """Over SMTP by tcpserver, and from a program; both logs tell of it."""
    site.says("", "^serving queue and users and lspawn and rspawn of /var/qmail$")
    site.says("smtpd", r"^tcpserver: status: 0/20$")
    site.swaks(f"alice@{DOMAIN}", "--header", "Subject: by SMTP")
    until(lambda: len(site.mail("alice")) == 1, "the message")
    (message,) = site.mail("alice")
    assert "Subject: by SMTP\n" in message
    site.says("smtpd", r"^tcpserver: pid \d+ from 127\.0\.0\.1$")
    site.says("smtpd", r"^tcpserver: ok \d+ \S*127\.0\.0\.1:25 \S*127\.0\.0\.1::\d+$")
    site.says("smtpd", r"^tcpserver: end \d+ status 0$")
    site.says("", r"^starting delivery 1: msg \d+ to local alice@example\.test$")
    site.box.run([f"{QMAIL}/bin/sendmail", f"alice@{DOMAIN}"], user=uid("bob"), data="Subject: by hand\n\nx\n")
    until(lambda: len(site.mail("alice")) == 2, "the second message")


def test_who_may_relay(site):
    """RELAYCLIENT of /etc/tcp.smtp reaches qmail-smtpd: a local client may send anywhere."""
    site.says("smtpd", r"^tcpserver: status: 0/20$")
    assert "250" in site.swaks("x@elsewhere.invalid", "--quit-after", "RCPT").stdout


def test_stat(site):
    site.says("smtpd", r"^tcpserver: status: 0/20$")
    names = [f"/service/qmail-{name}" for name in ("send", "send/log", "smtpd", "smtpd/log")]
    lines = site.box.run(["svstat", *names]).stdout.splitlines()
    assert len(lines) == 4
    for name, line in zip(names, lines, strict=True):
        assert re.fullmatch(rf"{name}: up \(pid \d+\) \d+ seconds", line)


def test_flush_reload_and_stop(site):
    """svc -a, -h, -d and -u, as qmailctl calls them."""
    site.says("", "^serving ")
    home = site.home.home_of("bob")
    home.chmod(0o1700)
    site.swaks(f"bob@{DOMAIN}")
    site.says("", "deferral: Home_directory_is_sticky")
    home.chmod(0o700)
    site.svc("-a", "qmail-send")
    until(lambda: len(site.mail("bob")) == 1, "the message, tried at once")
    site.home.control("virtualdomains", "virtual.example:bob")
    site.home.control("rcpthosts", f"{DOMAIN}\nvirtual.example")
    site.home.dot_qmail("bob", "default", "./Maildir/\n")
    site.svc("-h", "qmail-send")
    until(
        lambda: (site.swaks("x@virtual.example", check=False), len(site.mail("bob")) > 1)[1], "mail of the new domain"
    )
    site.svc("-d", "qmail-smtpd")
    until(lambda: ": down " in site.box.run(["svstat", "/service/qmail-smtpd"]).stdout, "the end of tcpserver")
    assert site.swaks(f"alice@{DOMAIN}", check=False).returncode != 0
    site.svc("-d", "qmail-send")
    site.says("", "^stopped$")
    site.svc("-u", "qmail-send")
    site.svc("-u", "qmail-smtpd")
    site.says("", "^serving ", 2)
    before = len(site.mail("alice"))
    until(lambda: site.swaks(f"alice@{DOMAIN}", check=False).returncode == 0, "a server again")
    until(lambda: len(site.mail("alice")) > before, "the message")
