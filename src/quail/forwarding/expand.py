"""Whom a message goes to, by a forwarding database: fastforward's work (fastforward(1)).

What an address stands for may be addresses again, lists and programs. Programs are run as soon as they are met; addresses and
lists wait, the last one met being the first that is followed. What has been followed once is not followed again, so that loops
end. An address that has an owner of its own is left to a second pass: the message is sent to it, comes back as mail for it, and
what it stands for gets the message from that owner.
"""

from _collections_abc import Callable

from quail.errors import TemporaryError
from quail.forwarding.database import OWNER, READ, TARGET, find

_MOST = 16 << 20  # bytes of instructions that one message may need

Get = Callable[[bytes], bytes | None]


class Expansion:
    """Of one recipient. `recipients` are found by follow(), in the order in which they go into the envelope."""

    __slots__ = ("_get", "_left", "_read_list", "_run", "_seen", "_waiting", "recipients")

    def __init__(self, get: Get, *, read_list: Callable[[bytes], bytes], run: Callable[[bytes], object]) -> None:
        """get: of the database. read_list: what is in a binary mailing list, by path. run: does an instruction with a command,
        its | or ! before it. What they raise passes on.
        """
        self._get, self._read_list, self._run = get, read_list, run
        self._left = _MOST
        self._waiting: list[bytes] = []
        self._seen: set[bytes] = set()
        self.recipients: list[bytes] = []

    def follow(self, recipient: bytes) -> bool:
        """Everything that the recipient stands for; False if the database says nothing of it.

        TemporaryError if it is more than any message needs, as from a file that was made to harm.
        """
        data = find(self._get, TARGET, recipient, wildcards=True)
        if data is None:
            return False
        self._take(data)
        found: list[bytes] = []
        while self._waiting:
            item = self._waiting.pop()
            if item in self._seen:
                continue
            self._seen.add(item)
            if item[:1] != b"&":
                self._take(self._read_list(item), programs=False)
                continue
            address = item[1:]
            data = None
            if find(self._get, OWNER, address) is None:
                data = find(self._get, TARGET, address)
            if data is None:
                found.append(address)
            else:
                self._take(data)
        self.recipients = found[::-1]
        return True

    def _take(self, data: bytes, *, programs: bool = True) -> None:
        """What is behind the last zero byte does not count, nor does what begins with none of the known bytes."""
        self._left -= len(data)
        if self._left < 0:
            raise TemporaryError("too many instructions for one message")
        for item in data.split(b"\0")[:-1]:
            first = item[:1]
            if first in {b"|", b"!"}:
                if programs:  # a list may be anybody's
                    self._run(item)
            elif first in {b".", b"/"} or (first == b"&" and len(item) <= READ):
                self._waiting.append(item)


def sender_for(get: Get, recipient: bytes, sender: bytes) -> bytes:
    """Who is to hear of bounces: the owner of the recipient, unless the message must not bounce."""
    owner = None if sender in {b"", b"#@[]"} else find(get, OWNER, recipient, wildcards=True)
    return sender if owner is None else owner
