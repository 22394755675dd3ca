"""quail init --system on a real machine: Debian's own accounts, tools, mail system and Python."""

import pytest
from tests.root.testroot import QUAIL, QUAIL_ENVIRONMENT, TESTER

pytestmark = pytest.mark.root
ACCOUNTS = ("alias", "qmaild", "qmaill", "qmailp", "qmailq", "qmailr", "qmails", "qmailpop")
NAMES = ("/usr/sbin/sendmail", "/usr/lib/sendmail", "/usr/bin/mailq", "/usr/bin/newaliases")


@pytest.fixture
def box(test_root):
    with test_root.enter() as box:
        yield box


def init(box, *words, domain="mail.example.com", user=0, env=None):
    return box.run(
        [*QUAIL, "init", "--system", domain, *words], user=user, env={**QUAIL_ENVIRONMENT, **(env or {})}, check=False
    )


def remove_postfix(box):
    """As its package does."""
    box.run(["rm", *NAMES])


def listing(box, *paths):
    return box.run(["find", *paths, "-printf", "%m %u:%g %p\n"]).stdout.splitlines()


def test_from_nothing_to_a_home_that_serves(box):
    remove_postfix(box)
    done = init(box, domain="Mail.Example.COM")
    assert done.returncode == 0, done.stderr
    assert "/var/qmail is the home of this machine's mail now, for mail.example.com." in done.stdout
    assert "Groups and accounts made: qmail nofiles " + " ".join(ACCOUNTS) in done.stdout
    assert "To start it: /var/qmail/bin/quail serve\n" in done.stdout
    assert done.stderr == ""
    found = listing(box, "/var/qmail", "/etc/tcprules.d")
    for line in (
        "755 root:qmail /var/qmail",
        "755 root:qmail /var/qmail/control",
        "644 root:qmail /var/qmail/control/me",
        "755 root:qmail /var/qmail/users",
        "755 root:qmail /var/qmail/run",
        "755 root:qmail /var/qmail/bin/sendmail",
        "2755 alias:qmail /var/qmail/alias",
        "644 alias:qmail /var/qmail/alias/.qmail-root",
        "711 qmailq:qmail /var/qmail/queue",
        "700 qmailq:qmail /var/qmail/queue/journal",
        "710 qmailq:qmail /var/qmail/queue/mess",
        "700 qmailq:qmail /var/qmail/queue/damaged",
        "3733 qmailq:qmail /var/qmail/queue/drop",
        "644 root:root /etc/tcprules.d/qmail-smtp.cdb",
    ):
        assert line in found
    assert not any(line.endswith((".tmp", ".new")) for line in found)
    for name in NAMES:
        assert box.run(["readlink", "-f", name]).stdout == "/var/qmail/bin/sendmail\n"
    for name in ACCOUNTS:
        fields = box.run(["getent", "passwd", name]).stdout.strip().split(":")
        assert fields[5:] == ["/var/qmail/alias" if name == "alias" else "/var/qmail", "/usr/sbin/nologin"]
        group = "qmail" if name in ("qmailq", "qmailr", "qmails") else "nofiles"
        assert box.run(["id", "-Gn", name]).stdout == f"{group}\n"
        assert box.run(["passwd", "-S", name]).stdout.split()[1] == "L"


def test_twice(box):
    assert init(box).returncode == 0
    before = listing(box, "/var/qmail")
    done = init(box, domain="other.example.com")
    assert done.returncode == 0
    assert "was a home already" in done.stdout
    assert "made:" not in done.stdout
    assert listing(box, "/var/qmail") == before
    assert box.run(["cat", "/var/qmail/control/me"]).stdout == "mail.example.com\n"


def test_an_account_that_is_missing_is_made_again(box):
    init(box)
    box.run(["userdel", "qmailp"])
    done = init(box)
    assert "Groups and accounts made: qmailp\n" in done.stdout
    assert box.run(["id", "-gn", "qmailp"]).stdout == "nofiles\n"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("useradd -r -g users qmaild", "group is gid 100 instead of nofiles"),
        (
            "groupadd -r nofiles; useradd -r -g nofiles -d /home/alias alias",
            "home is /home/alias instead of /var/qmail/alias",
        ),
        ("groupadd -r nofiles; useradd -r -o -u 0 -g nofiles qmaild", "qmaild is uid 0, which is that of root"),
    ],
)
def test_an_account_that_does_not_fit(box, command, text):
    box.run(["sh", "-c", command])
    done = init(box)
    assert done.returncode == 100
    assert text in done.stderr
    box.run(["test", "!", "-e", "/var/qmail"])
    assert box.run(["getent", "passwd", "qmailq"], check=False).returncode == 2


def test_a_home_elsewhere(box):
    done = init(box, "--home", "/srv/mail", "--no-sendmail")
    assert done.returncode == 0, done.stderr
    assert "To start it: /srv/mail/bin/quail serve --home /srv/mail\n" in done.stdout
    shown = box.run(["env", "-i", "/srv/mail/bin/quail", "config", "get", "me"]).stdout
    assert shown == "mail.example.com\n"


def test_postfix_keeps_its_sendmail(box):
    before = listing(box, *NAMES)
    done = init(box)
    assert done.returncode == 0
    assert "Left alone, because another mail system has them: " + " ".join(NAMES) in done.stderr
    assert listing(box, *NAMES) == before
    remove_postfix(box)
    assert "send through Quail: " + " ".join(NAMES) in init(box).stdout


def test_by_an_ordinary_user(box):
    done = init(box, user=TESTER)
    assert done.returncode == 100
    assert "made by root" in done.stderr
    box.run(["test", "!", "-e", "/var/qmail"])


@pytest.mark.parametrize(
    ("words", "sudo", "content"),
    [((), "tester", "&tester\n"), ((), "root", ""), ((), "daemon", ""), (("--admin", "tester"), "", "&tester\n")],
)
def test_who_gets_roots_mail(box, words, sudo, content):
    assert init(box, *words, env={"SUDO_USER": sudo} if sudo else {}).returncode == 0
    assert box.run(["cat", "/var/qmail/alias/.qmail-root"]).stdout == content


@pytest.mark.parametrize("name", ["root", "nobody-here", "qmaild", "alias"])
def test_who_cannot_get_it(box, name):
    done = init(box, "--admin", name)
    assert done.returncode == 100
    assert "can't get root's mail" in done.stderr


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("chmod 700 /opt", "can't enter the folder /opt: chmod o+x /opt"),
        ("chmod 777 /usr/lib/python3.11", "everybody can write in the folder /usr/lib/python3.11"),
        ("chmod 1777 /var", "the home is /var/qmail, and everybody can write in the folder /var"),
        ("chown tester /opt", "the folder /opt belongs to uid 1000"),
        ("chmod 744 /usr/bin/python3.11", "can't enter /usr/bin/python3.11"),
    ],
)
def test_neither_made_nor_served_in_an_unfit_place(box, command, text):
    assert init(box, "--home", "/srv/mail").returncode == 0
    box.run(["sh", "-c", command])
    done = init(box)
    assert done.returncode == 100
    assert text in done.stderr
    if "/var" not in command:
        done = box.run([*QUAIL, "serve", "--home", "/srv/mail"], env=QUAIL_ENVIRONMENT, check=False)
        assert done.returncode == 100
        assert text in done.stderr


def test_not_served_with_an_account_missing_or_changed(box):
    init(box)
    box.run(["usermod", "-u", "4242", "qmailq"])
    done = box.run([*QUAIL, "serve"], env=QUAIL_ENVIRONMENT, check=False)
    assert done.returncode == 100
    assert "instead of qmailq: chown -R qmailq /var/qmail/queue" in done.stderr
    box.run(["userdel", "qmailq"])
    done = box.run([*QUAIL, "serve"], env=QUAIL_ENVIRONMENT, check=False)
    assert done.returncode == 100
    assert "there is no account qmailq" in done.stderr


def test_a_home_of_qmail_is_left_alone(box):
    box.run(["sh", "-c", "mkdir -p /var/qmail/control && echo old.example.org > /var/qmail/control/me"])
    done = init(box)
    assert done.returncode == 100
    assert "stays as it is" in done.stderr
    assert listing(box, "/var/qmail")[-1] == "644 root:root /var/qmail/control/me"
    assert box.run(["getent", "passwd", "qmailq"], check=False).returncode == 2


class TestLaunchers:
    """By an ordinary user, through their path, with nothing in the environment."""

    @pytest.fixture
    def home(self, box):
        remove_postfix(box)
        init(box)

    def run(self, box, *words, data="", env=()):
        return box.run(["env", "-i", *env, *words], user=TESTER, cwd="/tmp", data=data, check=False)

    def test_every_one_starts(self, box, home):
        names = box.run(["ls", "/var/qmail/bin"]).stdout.split()
        assert {"sendmail", "qmail-inject", "qmail-local", "quail", "except"} <= set(names)
        for name in names:
            done = self.run(box, "timeout", "10", f"/var/qmail/bin/{name}")  # svscan does not end by itself
            assert "Traceback" not in done.stderr, (name, done.stderr)
            assert "No module" not in done.stderr, (name, done.stderr)
            assert done.returncode not in (126, 127), (name, done.stderr)

    def test_mail_waits_for_the_service(self, box, home):
        done = self.run(box, "/usr/lib/sendmail", "root", data="Subject: early\n\nhello\n")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        (line,) = listing(box, "/var/qmail/queue/drop", "-type", "f")
        assert line.startswith("640 tester:qmail /var/qmail/queue/drop/new.")

    def test_by_the_names_of_sendmail(self, box, home):
        done = self.run(box, "/usr/bin/newaliases")
        assert (done.returncode, done.stderr[:37]) == (111, "newaliases: fatal: unable to create /")  # as a user
        assert self.run(box, "/usr/bin/mailq").returncode != 0  # nothing is served

    def test_quail_has_its_dependencies(self, box, home):
        assert self.run(box, "/var/qmail/bin/quail", "config", "list").returncode == 0
