"""The LMTP dialogues against the machine, qmail-lmtpd, and `quail serve`, there by TCP and by a Unix socket."""

import os
import socket

import pytest
from tests.dialogues.dialogue import Dialogue, SocketPeer, dialogues, make_home
from tests.dialogues.test_smtp_machine_dialogues import MachinePeer
from tests.programs.smtpd_process import FakeQueue, SmtpdProcess
from tests.system.harness import PATIENCE, Server, short_path

from quail.control.reader import Control
from quail.policy.smtp import Rules

FILES = dialogues("lmtp")


@pytest.mark.parametrize("size", [1 << 30, 1], ids=["as-written", "bytewise"])
@pytest.mark.parametrize("name", FILES)
def test_machine(name, size, tmp_path):
    dialogue = Dialogue(FILES[name])
    make_home(str(tmp_path), dialogue.control)
    rules = Rules(Control(os.path.join(tmp_path, "control")))
    dialogue.run(MachinePeer(rules.settings(dialogue.environment, lmtp=True), size))


@pytest.mark.parametrize("name", FILES)
def test_program(name, tmp_path):
    dialogue = Dialogue(FILES[name])
    make_home(str(tmp_path), dialogue.control)
    queue = FakeQueue(tmp_path)
    process = SmtpdProcess(tmp_path, dialogue.environment, program="qmail_lmtpd")
    peer = SocketPeer(process.socket)
    try:
        dialogue.run(peer)
    finally:
        peer.close()
        code, said = process.finish()
        queue.close()
    assert (code, said) == (0 if b"QUIT\r\n" in (dialogue.steps[-3][1] or b"") else 1, b"")


@pytest.mark.parametrize("name", FILES)
def test_daemon(name, tmp_path):
    dialogue = Dialogue(FILES[name])
    server = Server(tmp_path / "home", name="alice")
    for file, text in dialogue.control.items():
        (server.path / "control" / file).write_bytes(text)
    server.control("listen", "smtp 127.0.0.1:0\nlmtp 127.0.0.1:0\nlmtp run/lmtp")
    sets = b"".join(b',%b="%b"' % pair for pair in dialogue.environment.items())
    server.rules(b":allow" + sets + b"\n")
    try:
        server.start()
        for peer in (SocketPeer(socket.create_connection(server.lmtp, PATIENCE)), SocketPeer(by_path(server))):
            try:
                dialogue.run(peer)
            finally:
                peer.close()
        assert server.stop() == 0
    finally:
        server.close()


def by_path(server):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)
    with short_path(server.path / "run") as run:
        sock.connect(f"{run}/lmtp")
    return sock


def test_every_dialogue_ends_with_the_end_of_the_connection():
    for path in FILES.values():
        assert Dialogue(path).steps[-1][0] == "S.", path
