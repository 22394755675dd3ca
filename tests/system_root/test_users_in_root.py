"""Whose mail is it, on a real machine: Debian's accounts, its name service in trouble, homes that are closed.

The name service modules in trouble are made here with the C compiler, for there is no other way to have one fail on purpose.
"""

import json
import os
import shutil
import subprocess

import pytest
from tests.lacking import without
from tests.root.testroot import QUAIL_ENVIRONMENT

pytestmark = pytest.mark.root

QMAILP, JOE, SUE, EVE, KIM, ALIAS = 7791, 2001, 2002, 2003, 2004, 7790
MACHINE = f"""
set -e
groupadd -g 2107 qmail
groupadd -g 2108 nofiles
useradd -u {QMAILP} -g nofiles -d /var/qmail qmailp
useradd -u {ALIAS} -g nofiles -d /var/qmail/alias alias
mkdir -p -m 0755 /var/qmail /var/qmail/users /var/qmail/control /var/qmail/run
mkdir -m 0755 /var/qmail/alias; chown alias:qmail /var/qmail/alias
echo localhost > /var/qmail/control/me
useradd -m -u {JOE} -U joe; chmod 0755 /home/joe
useradd -m -u {SUE} -U sue; chmod 0700 /home/sue
useradd -m -u {EVE} -U eve; chown root:root /home/eve
mkdir -m 0700 /srv/closed; useradd -m -u {KIM} -U -d /srv/closed/kim kim
useradd -u 2005 -U -d /home/gone gone
su joe -c 'echo "&a@b" > ~/.qmail-list-default'
su sue -c 'echo "&a@b" > ~/.qmail-x'
"""
VIRTUAL = """
cd /var/qmail/control
echo virtual.example:joe > virtualdomains
echo localhost > rcpthosts
echo virtual.example >> rcpthosts
"""
# As serve starts the service: imported by root, run as qmailp. Then answers to questions, as JSON.
ASKING = """
import json, os, signal, socket, sys, threading
from quail.net import users_protocol as users
from quail.net.frames import Splitter
from quail.services import users as service
from quail.supervise.context import Context

os.chdir("/var/qmail")
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
listener.bind("run/users.sock")
listener.listen(8)
life_read, life_write = os.pipe()
service.PATIENCE = float(sys.argv[1])
pid = os.fork()
if pid == 0:
    os.close(life_write)
    os.setgroups([])
    os.setresgid(2108, 2108, 2108)
    os.setresuid(7791, 7791, 7791)
    code = 1
    try:
        service.run(Context(
            home="/var/qmail", mode="system", sockets={"users.sock": listener}, life_fd=life_read, worker=0, log=print,
            nofile=(1024, 4096), uids={"alias": 7790, "qmailp": 7791},
        ))
        code = 0
    finally:
        os._exit(code)
client = socket.socket(socket.AF_UNIX)
client.settimeout(60)
client.connect("run/users.sock")
splitter, found = Splitter(1 << 16), {}
questions = sys.argv[2:]
for tag, question in enumerate(questions):
    client.sendall(users.encode(tag, question[:1].encode(), question[2:].encode()))
order = []
while len(found) < len(questions):
    for frame in splitter.feed(client.recv(1 << 16)):
        message = users.decode(frame)
        text = message.payload.decode()
        found[message.tag] = message.letter.decode() + (" " + text.replace("\\0", "|") if text else "")
        order.append(message.tag)
os.kill(pid, signal.SIGTERM)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(json.dumps({"answers": [found[tag] for tag in range(len(questions))], "order": order, "status": status}))
"""
MODULE = """
struct passwd;
int _nss_quail_getpwnam_r(const char *name, struct passwd *found, char *buffer, unsigned long size, int *code)
{
    %s
}
"""
UNAVAILABLE, TRY_AGAIN, NOT_FOUND = -1, -2, 0
ECONNREFUSED, EAGAIN, ENOENT = 111, 11, 2
STUCK = (
    "if (name[0] == 's' && name[1] == 't') for (;;) { long r = 34;"
    ' __asm__ volatile ("syscall" : "+a"(r) : : "rcx", "r11", "memory"); }'  # pause(2) on x86-64
    " *code = 2; return 0;"
)


@pytest.fixture
def box(test_root):
    with test_root.enter() as made:
        made.run(["sh", "-c", MACHINE])
        yield made


def getpw(box, local, user=QMAILP):
    words = ["python3", "-m", "quail.programs.qmail.qmail_getpw", local]
    done = box.run(words, user=user, env=QUAIL_ENVIRONMENT, check=False)
    return done.returncode, done.stdout.replace("\0", "|"), done.stderr


def ask(box, *questions, patience=30.0):
    done = box.run(["python3", "-c", ASKING, str(patience), *questions], env=QUAIL_ENVIRONMENT)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["status"] == 0
    return found["answers"], found["order"]


def install_module(test_root, tmp_path, body):
    """A box whose name service asks files, and then a module of ours for the account."""
    if shutil.which("cc") is None:
        without("a C compiler, to make a name service module with")
    (tmp_path / "module.c").write_text(MODULE % body)
    words = ["cc", "-shared", "-fPIC", "-nostdlib", "-o", tmp_path / "libnss_quail.so.2", tmp_path / "module.c"]
    subprocess.run(words, check=True)
    os.chmod(tmp_path / "libnss_quail.so.2", 0o755)
    return test_root.enter({str(tmp_path): "/srv/module"})


INSTALL = (
    "cp /srv/module/libnss_quail.so.2 /usr/lib/$(uname -m)-linux-gnu/"
    " && sed -i 's/^passwd:.*/passwd: files quail/' /etc/nsswitch.conf"
)
NOBODY = f"alias|{ALIAS}|2108|/var/qmail/alias|-|"


def test_accounts(box):
    joe, sue, kim = f"joe|{JOE}|{JOE}|/home/joe|", f"sue|{SUE}|{SUE}|/home/sue|", f"kim|{KIM}|{KIM}|/srv/closed/kim|"
    expected = {
        "joe": joe + "||",
        "Joe-A.B": joe + "-|A.B|",
        "sue-x": sue + "-|x|",  # her home is closed, but is seen to be hers
        "kim": kim + "||",  # the folder above is closed, so it may be his
        "eve": NOBODY + "eve|",  # her home is root's
        "gone": NOBODY + "gone|",
        "root": NOBODY + "root|",
        "daemon": NOBODY + "daemon|",
        "qmailp": NOBODY + "qmailp|",
        "nobody-7f3a": NOBODY + "nobody-7f3a|",
    }
    assert {local: getpw(box, local) for local in expected} == {
        local: (0, text, "") for local, text in expected.items()
    }


def test_without_alias(box):
    box.run(["userdel", "alias"])
    assert getpw(box, "joe")[0] == 0
    assert getpw(box, "nobody-7f3a") == (116, "", "qmail-getpw: fatal: unable to find alias user\n")


@pytest.mark.parametrize("local", ["joe", "nobody-7f3a"])
def test_accounts_that_cannot_be_read_are_trouble(box, local):
    box.run(["chmod", "0600", "/etc/passwd"])
    code, out, said = getpw(box, local)
    assert (code, out) == (118, "")
    assert said == f"qmail-getpw: fatal: unable to look up account {local}: access denied\n"
    (answer, letter), _ = ask(box, f"L {local}", f"R {local}@localhost")
    assert answer == f"T unable to look up account {local}: access denied"
    assert letter == answer


def test_the_service_answers_for_real_accounts_and_homes(box):
    questions = {
        "R joe@localhost": "K",
        "R joe-list-a@localhost": "K",
        "R joe-other@localhost": "N",
        "R sue@localhost": "K",
        "R sue-x@localhost": "K",
        "R sue-y@localhost": "K",  # her home is closed to qmailp: the delivery decides
        "R kim-y@localhost": "K",
        "R eve@localhost": "N",
        "R root@localhost": "N",
        "R qmailp@localhost": "N",
        "R nobody-7f3a@localhost": "N",
        "L joe-list-a": f"K joe|{JOE}|{JOE}|/home/joe|-|list-a",
        "L root": f"K alias|{ALIAS}|2108|/var/qmail/alias|-|root",
    }
    answers, _ = ask(box, *questions)
    assert dict(zip(questions, answers, strict=True)) == questions


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (UNAVAILABLE, ECONNREFUSED, "connection refused"),
        (TRY_AGAIN, EAGAIN, "temporary failure"),
        (NOT_FOUND, ENOENT, None),
    ],
)
def test_a_module_that_fails(test_root, tmp_path, status, code, text):
    with install_module(test_root, tmp_path, f"*code = {code}; return {status};") as box:
        box.run(["sh", "-c", MACHINE])
        box.run(["sh", "-c", INSTALL])
        assert getpw(box, "joe-x")[0] == (0 if text is None else 118)  # joe-x itself may be somebody
        assert getpw(box, "joe")[:2] == (0, f"joe|{JOE}|{JOE}|/home/joe|||")
        answers, _ = ask(box, "R joe@localhost", "R other@localhost")
        assert answers == ["K", "N" if text is None else f"T unable to look up account other: {text}"]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the module that hangs is in x86-64's assembler")
def test_a_module_that_hangs_holds_up_only_those_who_need_it(test_root, tmp_path):
    with install_module(test_root, tmp_path, STUCK) as box:
        box.run(["sh", "-c", MACHINE])
        box.run(["sh", "-c", INSTALL])
        stuck = [f"R stuck{number}@localhost" for number in range(5)]
        answers, order = ask(box, *stuck, "R joe@localhost", "R other@localhost", "L joe-x", patience=2.0)
        assert answers[:5] == ["T the look-up takes too long"] * 5
        assert answers[5:] == ["K", "N", f"K joe|{JOE}|{JOE}|/home/joe|-|x"]
        assert set(order[:3]) == {5, 6, 7}


def test_qmail_smtpd_alone_asks_the_same_accounts(box):
    """As tcpserver runs it; no service of Quail runs here."""
    recipients = {
        "joe@localhost": "250",
        "Joe-List-x@localhost": "250",
        "joe-other@localhost": "550",
        "sue-y@localhost": "250",
        "kim@localhost": "250",
        "eve@localhost": "550",
        "root@localhost": "550",
        "list-x@virtual.example": "250",
        "other@virtual.example": "550",
    }
    box.run(["sh", "-c", VIRTUAL])
    lines = ["EHLO x", "MAIL FROM:<a@b.example>", *(f"RCPT TO:<{address}>" for address in recipients), "QUIT", ""]

    def replies():
        words = ["python3", "-m", "quail.programs.qmail.qmail_smtpd"]
        done = box.run(words, user=7792, env=QUAIL_ENVIRONMENT, data="\r\n".join(lines))
        return [line[:3] for line in done.stdout.splitlines() if line[3:4] == " "][3:-1]

    assert dict(zip(recipients, replies(), strict=True)) == recipients
    box.run(["chmod", "0600", "/etc/passwd"])
    assert set(replies()) == {"451"}


def test_users_assign_made_of_the_accounts(box):
    quail = ["python3", "-m", "quail.cli.main", "--home", "/var/qmail", "user"]
    first = box.run([*quail, "rebuild"], env=QUAIL_ENVIRONMENT).stdout
    assert first.startswith("users/assign and users/cdb are made anew: ")
    assert box.run([*quail, "rebuild", "--quiet"], env=QUAIL_ENVIRONMENT).stdout == ""
    names = {line.split(":")[0] for line in box.run(["cat", "/var/qmail/users/assign"]).stdout.splitlines()}
    assert {"=joe", "+joe-", "=sue", "=kim", "=alias", "+"} <= names
    assert not names & {"=eve", "=root", "=gone", "=qmailp"}
    answers, _ = ask(box, "R joe@localhost", "R eve@localhost", "L kim")
    assert answers == ["K", "N", f"K kim|{KIM}|{KIM}|/srv/closed/kim||"]
    listed = json.loads(box.run([*quail, "list", "--json"], env=QUAIL_ENVIRONMENT).stdout)
    assert {"joe", "sue", "kim"} <= {user["name"] for user in listed}
    refused = box.run([*quail, "rebuild"], user=JOE, env=QUAIL_ENVIRONMENT, check=False)
    assert (refused.returncode, refused.stdout) == (100, "")
    assert "is root's to make" in refused.stderr
    refused = box.run([*quail, "add", "x"], env=QUAIL_ENVIRONMENT, check=False)
    assert (refused.returncode, refused.stdout) == (100, "")
    assert "useradd -m NAME" in refused.stderr
