"""The dialogues against `quail serve`, over TCP."""

import socket

import pytest
from tests.dialogues.dialogue import Dialogue, SocketPeer, dialogues
from tests.system.harness import PATIENCE, Server

FILES = dialogues("smtp")


@pytest.mark.parametrize("name", FILES)
def test_dialogue(name, tmp_path):
    dialogue = Dialogue(FILES[name])
    server = Server(tmp_path / "home", name="alice")
    for file, text in dialogue.control.items():
        (server.path / "control" / file).write_bytes(text)
    sets = b"".join(b',%b="%b"' % pair for pair in dialogue.environment.items())
    server.rules(b":allow" + sets + b"\n")
    try:
        server.start()
        peer = SocketPeer(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
        try:
            dialogue.run(peer)
        finally:
            peer.close()
        assert server.stop() == 0
    finally:
        server.close()
