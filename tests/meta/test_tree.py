"""The tree itself: small files, docstrings, and programs that start lean (docs/decisions/0007-start-up.md)."""

import ast
import glob
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from types import MappingProxyType

import pytest
from tests.remote.lmtphost import LmtpHost
from tests.remote.smtphost import Hosts

from quail.cdb.maker import Maker
from quail.cli.init_single import init_single
from quail.storage import maildir
from quail.storage.calls import REAL

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCE = f"{ROOT}/src"
MODULES = sorted(os.path.relpath(path, SOURCE) for path in glob.glob(f"{SOURCE}/quail/**/*.py", recursive=True))
# Modules below quail.programs, such as qmail.qmail_queue and ucspi.tcpserver.
PROGRAMS = sorted(
    path.removesuffix(".py").replace("/", ".")
    for path in glob.glob("**/*.py", root_dir=f"{SOURCE}/quail/programs", recursive=True)
    if os.path.basename(path) not in ("__init__.py", "become.py", "chain.py", "run.py")
)
HEAVY = frozenset((
    "asyncio", "ssl", "argparse", "logging", "dataclasses", "typing", "pathlib", "tempfile", "subprocess", "uvloop",
    "click", "rich",
))  # fmt: skip
# What makes enums, compiles patterns or loads half a dozen other modules before a program has begun.
SLOW = frozenset(("enum", "re", "signal", "socket", "contextlib", "collections"))
# A person calls these now and then, to ask the queue service, whose answers are JSON.
FOR_PEOPLE = {"qmail.qmail_qread", "qmail.qmail_qstat"}
# Waits for name servers and other hosts, with the couriers of rspawn, which have an event loop (decision 0013).
FOR_THE_WORLD = {"qmail.qmail_remote"}
# Stops and starts what this machine has in /service.
FOR_INIT = "daemontools.svscanboot"
# Called without a word it would start what is in the current directory, and never end.
WORDS = {"daemontools.svscan": ("/nonexistent",)}
NOTHING: Mapping[str, str] = MappingProxyType({})
LINES = 500


def parsed(module: str) -> ast.Module:
    with open(f"{SOURCE}/{module}", encoding="utf-8") as file:
        return ast.parse(file.read())


@pytest.mark.parametrize("module", MODULES)
def test_files_are_small(module):
    with open(f"{SOURCE}/{module}", encoding="utf-8") as file:
        assert len(file.readlines()) <= LINES, "look for a second noun in it"


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_their_public_classes_say_what_they_are(module):
    tree = parsed(module)
    if not tree.body:
        return  # a package without anything of its own
    assert ast.get_docstring(tree)
    bare = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert bare == []


def test_no_drawers():
    names = {os.path.basename(module) for module in MODULES}
    assert names & {"utils.py", "util.py", "common.py", "misc.py", "helpers.py"} == set()


def loaded_by(
    program: str,
    *args: str,
    home: str = "/nonexistent",
    stdin: bytes = b"",
    envelope: bytes = b"",
    environment: Mapping[str, str] = NOTHING,
) -> set[str]:
    """Modules of a whole run, by the interpreter's own account; site, which no launcher of a home loads, stays out."""
    code = f"import sys; sys.path.append({SOURCE!r}); from quail.programs.{program} import main; main()"
    read, write = os.pipe()
    os.write(write, envelope)
    os.close(write)
    with open(read, "rb") as descriptor, tempfile.TemporaryFile(buffering=0) as message:
        message.write(stdin)
        message.seek(0)
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-X", "importtime", "-c", code, *args],
            stdin=message,
            stdout=descriptor if envelope else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"QMAILHOME": home, **environment},
            check=False,
            timeout=60,
        )
    told = done.stderr.decode()
    assert "Traceback" not in told
    return {line.rpartition("|")[2].strip() for line in told.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize("program", sorted(set(PROGRAMS) - FOR_PEOPLE - FOR_THE_WORLD - {FOR_INIT}))
def test_programs_start_lean(program):
    loaded = loaded_by(program, *WORDS.get(program, ()))
    assert f"quail.programs.{program}" in loaded
    assert loaded & HEAVY == set()


def test_what_init_calls_starts_lean():
    code = f"import sys; sys.path.append({SOURCE!r}); import quail.programs.{FOR_INIT}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert f"quail.programs.{FOR_INIT}" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("program", sorted(FOR_PEOPLE))
def test_programs_for_people_load_no_loop(program):
    loaded = loaded_by(program)
    assert f"quail.programs.{program}" in loaded
    assert loaded & (HEAVY - {"typing"}) == set()


def test_a_message_through_qmail_queue_loads_nothing_slow(tmp_path):
    home = str(tmp_path / "home")
    init_single(home, name="joe")
    loaded = loaded_by("qmail.qmail_queue", home=home, stdin=b"Subject: x\n\n", envelope=b"Fa@b\0Tc@d\0\0")
    assert "quail.storage.durable" in loaded
    assert os.listdir(f"{home}/queue/drop")  # no queue service runs: the whole way of the message
    assert loaded & (HEAVY | SLOW) == set()


def test_a_message_through_sendmail_loads_nothing_slow(tmp_path):
    home = str(tmp_path / "home")
    init_single(home, name="joe")
    loaded = loaded_by("qmail.sendmail", home=home, stdin=b"To: joe\nSubject: x\n\nx\n")
    assert {"quail.programs.qmail.qmail_inject", "quail.message.injecting", "quail.queue.submit"} <= loaded
    assert os.listdir(f"{home}/queue/drop")
    assert loaded & (HEAVY | SLOW) == set()


def test_a_session_of_qmail_smtpd_loads_nothing_slow(tmp_path):
    home = str(tmp_path / "home")
    init_single(home, name="joe")
    session = b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<joe@localhost>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
    loaded = loaded_by("qmail.qmail_smtpd", home=home, stdin=session)
    assert "quail.users.lookup" in loaded
    # The machine's own addresses come from the kernel in an array, which loads collections.
    assert loaded & (HEAVY | SLOW) == {"collections"}


def test_a_log_in_by_qmail_popup_loads_nothing_slow():
    loaded = loaded_by("qmail.qmail_popup", "mx.example.com", "true", stdin=b"USER a\r\nPASS b\r\n")
    assert "quail.programs.become" in loaded
    assert loaded & (HEAVY | SLOW) == set()


def test_a_session_of_qmail_pop3d_loads_nothing_slow(tmp_path):
    """Its driver alone: the program does not run as root, as which tests may."""
    maildir.make(REAL, str(tmp_path / "Maildir"))
    (tmp_path / "Maildir/new/1").write_bytes(b"Subject: x\n\nx\n")
    names = "quail.programs.qmail.qmail_pop3d, quail.services.popd.session"
    code = f"import sys; sys.path.append({SOURCE!r}); import {names} as driver; driver.serve(0, 1, sys.argv[1]); "
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code + "sys.stderr.write(' '.join(sys.modules))", str(tmp_path / "Maildir")],
        input=b"STAT\r\nUIDL\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n",
        capture_output=True,
        check=True,
    )
    assert done.stdout.endswith(b".\r\n+OK \r\n+OK \r\n")
    loaded = set(done.stderr.decode().split())
    assert "quail.pop3.wire" in loaded
    assert loaded & (HEAVY | SLOW) == set()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("qmail_qmtpd", b"2:\nx,3:a@b,17:13:joe@localhost,,"),
        ("qmail_qmqpd", b"22:1:x,3:a@b,9:localhost,,"),
    ],
)
def test_a_message_by_qmtp_or_qmqp_loads_nothing_slow(tmp_path, program, said):
    home = str(tmp_path / "home")
    init_single(home, name="joe")
    loaded = loaded_by(f"qmail.{program}", home=home, stdin=said)
    assert "quail.queue.handover" in loaded
    # What looks users up can make users/cdb, too: in arrays, which load collections.
    assert loaded & (HEAVY | SLOW) - {"collections"} == set()


def test_a_message_of_a_null_client_loads_nothing_slow(tmp_path):
    (tmp_path / "control").mkdir()
    (tmp_path / "control/qmqpservers").write_text("127.0.0.1:1\n")
    loaded = loaded_by("qmail.qmail_qmqpc", home=str(tmp_path), stdin=b"x", envelope=b"Fa@b\0Tc@d\0\0")
    assert "quail.queue.qmqp" in loaded
    assert loaded & (HEAVY | SLOW) == set()


def test_a_session_of_qmail_lmtpd_loads_nothing_slow(tmp_path):
    home = str(tmp_path / "home")
    init_single(home, name="joe")
    session = b"LHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<joe@localhost>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
    loaded = loaded_by("qmail.qmail_lmtpd", home=home, stdin=session)
    assert "quail.users.lookup" in loaded
    assert loaded & (HEAVY | SLOW) == {"collections"}  # as above


def test_a_message_to_an_lmtp_server_loads_nothing_slow(tmp_path):
    home = str(tmp_path / "home")
    init_single(home, name="joe")
    folder = os.open(home, os.O_PATH)
    server = f"/proc/{os.getpid()}/fd/{folder}/lmtp"  # a path that is short enough for a socket
    host = LmtpHost()
    with Hosts() as hosts:
        hosts.open_path(host, server)
        told = {**DELIVERY, "RECIPIENT": "a@b"}
        loaded = loaded_by("qmail.qmail_lmtp", server, home=home, stdin=b"Subject: x\n\nx\n", environment=told)
    os.close(folder)
    assert len(host.messages) == 1
    assert loaded & (HEAVY | SLOW) == set()


DELIVERY = {
    "PROTO": "TCP",
    "DTLINE": "Delivered-To: a@b\n", "RPLINE": "Return-Path: <c@d>\n", "UFLINE": "From c@d\n",
    "SENDER": "c@d", "NEWSENDER": "c@d", "LOCAL": "a", "HOST": "b", "PATH": "/usr/bin:/bin",
}  # fmt: skip
# Calls of programs that run once for each message, and how many messages each of them queues.
CALLS = [
    ("sendmail", ("-oi", "-t"), 1),
    ("sendmail", ("-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"), 1),
    ("datemail", ("a@b",), 1),
    ("mailsubj", ("x", "a@b"), 1),
    ("forward", ("a@b",), 1),
    ("condredirect", ("a@b", "true"), 1),
    ("qreceipt", ("a@b",), 1),
    ("bouncesaying", ("no", "true"), 0),
    ("except_", ("true",), 0),
    ("preline", ("cat",), 0),
    ("predate", ("cat",), 0),
    ("qbiff", (), 0),
    ("qsmhook", ("cat",), 0),
    ("tcp_env", ("true",), 0),
]


@pytest.mark.parametrize(("program", "args", "messages"), CALLS)
def test_a_message_through_its_programs_loads_nothing_slow(tmp_path, program, args, messages):
    """The whole of its way, by the drop, which is the longest."""
    home = str(tmp_path / "home")
    init_single(home, name="joe")
    message = b"To: a@b\nNotice-Requested-Upon-Delivery-To: a@b\n\nx\n"
    loaded = loaded_by(f"qmail.{program}", *args, home=home, stdin=message, environment=DELIVERY)
    assert loaded & (HEAVY | SLOW) == set()
    assert len(os.listdir(f"{home}/queue/drop")) == messages


@pytest.mark.parametrize("program", ["dot_forward", "fastforward"])
def test_a_message_that_is_forwarded_loads_nothing_slow(tmp_path, program):
    home = str(tmp_path / "home")
    init_single(home, name="joe")
    maker = Maker()
    maker.add(b":a@b", b"&c@d.example\0!true\0|true\0")
    file = tmp_path / "file"
    file.write_bytes(maker.to_bytes() if program == "fastforward" else b"c@d, |true\n")
    told = DELIVERY | {"RECIPIENT": "a@b"}
    loaded = loaded_by(f"forwarding.{program}", str(file), home=home, stdin=b"x", environment=told)
    assert loaded & (HEAVY | SLOW) == set()
    assert len(os.listdir(f"{home}/queue/drop")) == 1


# Programs between a connection and its server, where nothing has to be looked up.
WRAPPERS = [
    ("addcr", (), {}),
    ("argv0", ("true", "true"), {}),
    ("fixcrio", ("true",), {}),
    ("rblsmtpd", ("-b", "-rlist.test", "true"), {"RBLSMTPD": ""}),
    ("rblsmtpd", ("-b", "-rlist.test", "true"), {"RBLSMTPD": "no"}),
    ("rblsmtpd", ("true",), {}),
    ("recordio", ("true",), {}),
    ("tcpclient", ("-RHl0", "0", "1", "true"), {}),
]


@pytest.mark.parametrize(("program", "args", "environment"), WRAPPERS)
def test_what_wraps_a_server_loads_nothing_slow(program, args, environment):
    loaded = loaded_by(f"ucspi.{program}", *args, environment=environment)
    assert f"quail.programs.ucspi.{program}" in loaded
    assert loaded & (HEAVY | SLOW) == set()


def test_a_queue_program_loads_nothing_slow(tmp_path):
    home = str(tmp_path / "home")
    init_single(home, name="joe")
    told = {**DELIVERY, "QMAILQUEUE": "/bin/false"}
    loaded = loaded_by("qmail.sendmail", "a@b", home=home, stdin=b"x", environment=told)
    assert "quail.queue.program" in loaded
    assert loaded & (HEAVY | SLOW) == set()


def test_the_documents_and_the_test_name_the_same_modules():
    with open(f"{ROOT}/docs/decisions/0007-start-up.md", encoding="utf-8") as file:
        sentence = re.search(r"such a program imports avoid: (.*?),\s+and where", file.read(), flags=re.DOTALL)
    assert sentence is not None
    assert set(re.split(r",\s+", sentence[1])) == HEAVY - {"click", "rich"}
