"""Fuzz targets of the servers of QMTP and QMQP and of the QMQP client: whatever comes, in whatever pieces, the same happens."""

from tests.fuzz.engine import Target
from tests.unit.qmtp.packages import ACCEPTED, package, qmqp, qmtp, request

from quail.errors import PeerError
from quail.qmqp import client
from quail.qmqp import server as qmqp_server
from quail.qmtp import exchange, netstring
from quail.qmtp import server as qmtp_server

HEAD = 2  # bytes that choose how the rest is cut, and what the driver does
TEXT = b"Received: x\n\nhi\n"
TOKENS = (
    b":", b",", b"0", b"1:", b"0:,", b"1:\n,", b"1:\r,", b"\r\n", b"\r", b"\0", b"200000000:", b"200000001:", b"9" * 12,
    b"@example.com", b"13:joe@example.com,", b"00000", b"x" * 1000, b"received\n" * 50,
)  # fmt: skip


def server_of_qmtp(choice):
    return qmtp(
        early=b"Zlater" if choice & 1 else None,
        databytes=40 if choice & 2 else 0,
        relayclient=b".relay" if choice & 4 else None,
        check_recipients=bool(choice & 8),
        max_recipients=2 if choice & 16 else 1000,
    )


def server_of_qmqp(choice):
    return qmqp(early=b"Zlater" if choice & 1 else None)


def run(make, data, cut):
    """All that becomes of the data, cut so; what the machine keeps when it waits does not depend on how much it has seen."""
    talk = make()
    for at in range(0, len(data), cut):
        talk.send(data[at : at + cut])
        assert not talk.session._input.has_more
        assert len(talk.session._input._buffer) <= cut
    talk.send(b"")
    assert talk.closed is not None
    return talk


def check_server(make):
    def check(data):
        head, data = data[:HEAD].ljust(HEAD, b"\0"), data[HEAD:]
        whole, cut = (run(lambda: make(head[0]), data, size) for size in (len(data) + 1, head[1] + 1))
        assert (whole.events, whole.output) == (cut.events, cut.output)
        assert all(reply[:1] in (b"K", b"Z", b"D") for reply in whole.replies)
        assert all(reply == ACCEPTED for reply in whole.replies if reply[:1] == b"K")
        assert whole.closed[0] in (0, 100, 111)
        for sender, recipients, text in whole.messages:
            assert len(text) <= len(data)
            for address in (sender, *recipients):
                assert len(address) <= exchange.MAX_ADDRESS
                assert b"\0" not in address

    return check


def feed(make):
    def parse(data):
        session = make(0).session
        for at in range(0, len(data), 1000):
            session.receive(data[at : at + 1000])
            while session.next_event() is not None:
                session.take_output()
                session.message_done(b"Zlater")

    return parse


def reply_of(data, cut):
    reply = client.Reply()
    try:
        for at in range(0, len(data), cut):
            letter = reply.feed(data[at : at + cut])
            if letter is not None:
                return letter
    except PeerError:
        return "none"
    return None


def check_reply(data):
    found = {reply_of(data, cut) for cut in (1, 2, len(data) + 1)}
    assert len(found) == 1
    assert found <= {b"K", b"Z", b"D", "none", None}


NASTY = {
    "digits": lambda n: b"1" * n,
    "zeros": lambda n: b"0" * n,
    "text": lambda n: b"%d:\n" % n + b"x" * n,
    "received": lambda n: b"%d:\n" % n + b"received\n" * (n // 9),
    "carriage returns": lambda n: b"%d:\r" % n + b"\r" * n,
    "empty lines": lambda n: b"%d:\r" % n + b"\r\n" * (n // 2),
    "a long address": lambda n: b"1:\n,%d:" % n + b"x" * n,
    "recipients": lambda n: b"1:\n,0:,%d:" % n + b"0:," * (n // 3),
    "packages": lambda n: b"1:\n,0:,0:," * (n // 10),
}

TARGETS = (
    Target(
        "qmtp",
        check_server(server_of_qmtp),
        parse=feed(server_of_qmtp),
        seeds=[
            b"\0\5" + package(TEXT, b"s@x", b"joe@example.com", b"a@elsewhere") + package(b"x", b"", b"joe"),
            b"\2\1" + package(b"a\r\nb\rc\r\n" * 6, b"s@x", b"joe@example.com", end=b"\r"),
            b"\x0c\x40" + package(TEXT, b"s" * 1000, b"joe@example.com") + package(TEXT, b"s", b"nobody@x", b"a\0"),
            b"\x11\x02" + package(TEXT, b"s@x", *[b"a@example.com"] * 4),
        ],
        tokens=TOKENS,
        nasty=NASTY,
        modules=[exchange, netstring, qmtp_server],
    ),
    Target(
        "qmqp",
        check_server(server_of_qmqp),
        parse=feed(server_of_qmqp),
        seeds=[
            b"\0\5" + request(TEXT, b"s@x", b"a@b", b"c@d"),
            b"\1\1" + request(b"", b"", b"x" * 1000),
            b"\0\x40" + request(b"received\n" * 100, b"s", b"r\0"),
        ],
        tokens=TOKENS,
        nasty={
            "recipients": lambda n: b"%d:1:x,0:," % (n + 7) + b"0:," * (n // 3),
            "text": lambda n: b"%d:%d:" % (n + 50, n) + b"x" * n,
            "digits": lambda n: b"%d:" % n + b"0" * n,
        },
        modules=[exchange, netstring, qmqp_server],
    ),
    Target(
        "qmqp_client",
        check_reply,
        seeds=[b"20:Kok 1700000000 qp 12,", b"6:Zlater,", b"3:Dno,", b"220 Kiel\r\n"],
        tokens=(b":", b",", b"K", b"9" * 11, b" "),
        nasty={"digits": lambda n: b"1" * n},
        modules=[client],
    ),
)  # fmt: skip
