"""The dialogues against the machine with the rules of control/, in pieces as written and byte by byte."""

import os

import pytest
from tests.dialogues.dialogue import Dialogue, dialogues, make_home

from quail.control.reader import Control
from quail.policy.smtp import Rules, queue_reply, recipient_reply
from quail.smtp.server import CLOSE, END, RECIPIENT, Session

FILES = dialogues("smtp")
ALICE = (b"alice@example.com", b"alice@mx.example.com", b"alice")


class MachinePeer:
    """The machine as a server; all input comes in pieces of at most `size` bytes."""

    def __init__(self, settings, size):
        self._session = Session(settings)
        self._size = size
        self._output = b""
        self._closed = False
        self._session.start()
        self._pump()

    def send(self, data):
        for at in range(0, len(data), self._size):
            self._session.receive(data[at : at + self._size])
            self._pump()

    def end(self):
        self._session.receive(b"")
        self._pump()

    def line(self):
        if not self._output:
            assert self._closed, "the server waits"
            return b""
        end = self._output.index(b"\r\n") + 2
        line, self._output = self._output[:end], self._output[end:]
        return line

    def _pump(self):
        while (event := self._session.next_event()) is not None:
            if event[0] == RECIPIENT:
                known = event[1] in ALICE or not event[1].endswith((b"@example.com", b"@mx.example.com"))
                self._session.recipient_verdict(recipient_reply(b"K" if known else b"N"))
            elif event[0] == END:
                self._session.message_done(queue_reply(b"K", b"12", 1700000000.5))
            elif event[0] == CLOSE:
                self._closed = True
        self._output += self._session.take_output()


@pytest.mark.parametrize("size", [1 << 30, 1], ids=["as-written", "bytewise"])
@pytest.mark.parametrize("name", FILES)
def test_dialogue(name, size, tmp_path):
    dialogue = Dialogue(FILES[name])
    make_home(str(tmp_path), dialogue.control)
    rules = Rules(Control(os.path.join(tmp_path, "control")), frozenset((b"127.0.0.1", b"0.0.0.0")))
    dialogue.run(MachinePeer(rules.settings(dialogue.environment), size))


def test_every_dialogue_ends_with_the_end_of_the_connection():
    """Otherwise what the server says too much would not be seen."""
    for path in FILES.values():
        assert Dialogue(path).steps[-1][0] == "S.", path
