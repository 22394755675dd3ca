"""The dialogues against qmail-smtpd on descriptors 0 and 1."""

import pytest
from tests.dialogues.dialogue import Dialogue, SocketPeer, dialogues, make_home
from tests.programs.smtpd_process import FakeQueue, SmtpdProcess

FILES = dialogues("smtp")


@pytest.mark.parametrize("name", FILES)
def test_dialogue(name, tmp_path):
    dialogue = Dialogue(FILES[name])
    make_home(str(tmp_path), dialogue.control)
    queue = FakeQueue(tmp_path)
    process = SmtpdProcess(tmp_path, dialogue.environment)
    peer = SocketPeer(process.socket)
    try:
        dialogue.run(peer)
    finally:
        peer.close()
        code, said = process.finish()
        queue.close()
    assert (code, said) == (0 if b"QUIT\r\n" in dialogue.steps[-3][1] else 1, b"")
