"""The QMTP server's machine: every form, every refusal, every cut, every broken byte."""

import pytest
from tests.unit.qmtp.packages import ACCEPTED, NO_SUCH_USER, all_ways, in_pieces, package, qmtp

from quail.message.hops import MAX_HOPS
from quail.qmtp.client import Replies
from quail.qmtp.client import request as client_request
from quail.qmtp.netstring import MAX_LENGTH, Netstrings, netstring

TEXT = b"Subject: hi\n\nhello\n"
ONE = package(TEXT, b"s@x", b"joe@example.com")
UNFIT = b"Dsorry, I can't handle that recipient (#5.1.3)"
NO_RELAY = b"Dsorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"
TROUBLE = b"Zsorry, trouble reading my lists; try again later (#4.3.0)"
BAD_SENDER = b"Dunacceptable sender (#5.1.7)"
TOO_BIG = b"Dsorry, that message size exceeds my databytes limit (#5.3.4)"
HOPS = b"Dtoo many hops, this message is looping (#5.4.6)"
LATER = b"Zsorry, too many recipients; the others in a message of their own (#4.5.3)"


def test_a_message_and_its_bytes_on_the_wire():
    talk = all_ways(qmtp, b"7:\nhello\n,3:s@x,19:15:joe@example.com,,")
    assert talk.messages == [(b"s@x", [b"joe@example.com"], b"hello\n")]
    assert talk.output == b"20:Kok 1700000000 qp 12,"
    assert talk.closed == (0, "end of input")
    assert talk.abandoned == []


def test_words_that_clients_may_compare():
    talk = qmtp().send(package(TEXT, b"s@x", b"a@elsewhere", b"a\0@example.com"))
    assert talk.output == (
        b"66:Dsorry, that domain isn't in my list of allowed rcpthosts (#5.7.1),"
        b"46:Dsorry, I can't handle that recipient (#5.1.3),"
    )


def test_what_our_own_client_sends():
    head, tail = client_request(b"s@x", [b"a@example.com", b"b@elsewhere"], len(TEXT))
    talk = all_ways(qmtp, head + TEXT + tail)
    assert talk.messages == [(b"s@x", [b"a@example.com"], TEXT)]
    replies = Replies(2)
    assert list(replies.feed(talk.output)) == [(b"K", ACCEPTED[1:]), (b"D", NO_RELAY[1:])]


@pytest.mark.parametrize(
    ("text", "end", "stored"),
    [
        (b"", b"\n", b""),
        (b"", b"\r", b""),
        (b"a\r\nb\rc\n\0\xff", b"\n", b"a\r\nb\rc\n\0\xff"),
        (b"a\r\nb\r\n", b"\r", b"a\nb\n"),
        (b"a\rb\nc\r", b"\r", b"a\rb\nc\r"),
        (b"\r\r\n\r", b"\r", b"\r\n\r"),
        (b"\r\n\r\n", b"\r", b"\n\n"),
        (b"no line end", b"\r", b"no line end"),
    ],
    ids=range(8),
)
def test_line_ends(text, end, stored):
    talk = all_ways(qmtp, package(text, b"", b"joe@example.com", end=end))
    assert talk.messages == [(b"", [b"joe@example.com"], stored)]


def test_message_after_message_without_waiting():
    talk = all_ways(qmtp, ONE + package(b"x", b"", b"a@b") + ONE)
    assert len(talk.messages) == 2
    assert talk.replies == [ACCEPTED, NO_RELAY, ACCEPTED]
    assert talk.abandoned == ["no recipient is taken"]


def test_each_recipient_has_its_reply_in_order():
    recipients = b"a@example.com b@elsewhere nobody@example.com c\0@example.com box  d@broken e@example.com".split(b" ")
    talk = all_ways(lambda: qmtp(check_recipients=True), package(TEXT, b"s@x", *recipients))
    assert talk.messages == [(b"s@x", [b"a@example.com", b"box", b"", b"e@example.com"], TEXT)]
    assert talk.replies == [ACCEPTED, NO_RELAY, NO_SUCH_USER, UNFIT, ACCEPTED, ACCEPTED, TROUBLE, ACCEPTED]


def test_nobody_to_send_it_to():
    talk = all_ways(qmtp, package(TEXT, b"s@x"))
    assert (talk.messages, talk.output, talk.closed) == ([], b"", (0, "end of input"))
    assert len(talk.abandoned) == 1


@pytest.mark.parametrize(("suffix", "longest"), [(None, 999), (b"", 999), (b".relay", 993)])
def test_lengths_of_addresses(suffix, longest):
    host = b"@example.com"
    fits, long = (b"a" * (size - len(host)) + host for size in (longest, longest + 1))
    talk = all_ways(lambda: qmtp(relayclient=suffix), package(TEXT, b"s" * 999, fits, long))
    assert talk.messages == [(b"s" * 999, [fits + (suffix or b"")], TEXT)]
    assert talk.replies == [ACCEPTED, UNFIT]


@pytest.mark.parametrize("sender", [b"s" * 1000, b"s\0@x", b"\0", b"s" * 100_000], ids=["long", "nul", "only", "huge"])
def test_senders_that_can_not_be(sender):
    talk = all_ways(lambda: qmtp(check_recipients=True), package(TEXT, sender, b"a@example.com", b"b@elsewhere"))
    assert talk.messages == []
    assert talk.replies == [BAD_SENDER, NO_RELAY]
    assert talk.abandoned == [BAD_SENDER[1:].decode()]


def test_relayclient():
    talk = all_ways(lambda: qmtp(relayclient=b""), package(TEXT, b"s@x", b"a@anywhere", b"b@broken"))
    assert talk.messages == [(b"s@x", [b"a@anywhere", b"b@broken"], TEXT)]


def test_databytes_count_what_is_stored():
    for size, verdict in ((10, ACCEPTED), (9, TOO_BIG)):
        talk = all_ways(
            lambda size=size: qmtp(databytes=size), package(b"a\r\n" * 5, b"s@x", b"a@example.com", end=b"\r")
        )
        assert talk.replies == [verdict]
    assert talk.abandoned == [TOO_BIG[1:].decode()]
    talk.send(b"")


def test_a_message_that_is_too_big_is_let_go_at_once():
    talk = qmtp(databytes=100).send(b"1000000:\n" + b"x" * 101)
    assert talk.abandoned == [TOO_BIG[1:].decode()]


HOP = b"Received: x\n"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (HOP * (MAX_HOPS - 1) + b"\n" + HOP, ACCEPTED),
        (HOP * MAX_HOPS + b"\nx", HOPS),
        (b"delivered-to\n" * MAX_HOPS, HOPS),
        (b"\n" + HOP * MAX_HOPS, ACCEPTED),
    ],
    ids=range(4),
)
def test_loops_end(text, verdict):
    assert all_ways(qmtp, package(text, b"s@x", b"a@example.com")).replies == [verdict]
    crlf = text.replace(b"\n", b"\r\n")
    assert all_ways(qmtp, package(crlf, b"s@x", b"a@example.com", end=b"\r")).replies == [verdict]


@pytest.mark.parametrize(("databytes", "verdict"), [(len(HOP) * MAX_HOPS, HOPS), (len(HOP) * 90, TOO_BIG)])
def test_the_fault_that_comes_first_counts(databytes, verdict):
    data = package(HOP * MAX_HOPS + b"more" * 100, b"s@x", b"a@example.com")
    assert all_ways(lambda: qmtp(databytes=databytes), data).replies == [verdict]


def test_recipients_beyond_the_limit_are_put_off():
    names = [b"%d@example.com" % number for number in range(130)]
    talk = all_ways(lambda: qmtp(max_recipients=100), package(TEXT, b"s@x", b"a@elsewhere", *names))
    assert talk.messages[0][1] == names[:99]
    assert talk.replies == [NO_RELAY, *[ACCEPTED] * 99, *[LATER] * 31]


def test_a_flood_of_recipients_is_answered_bit_by_bit():
    box = b"0:," * 500_000
    talk = qmtp(max_recipients=100).send(netstring(b"\n") + netstring(b"") + netstring(box))
    assert talk.output.count(b",0") + talk.output.count(LATER) >= 499_900
    assert talk.most < 40_000


def test_the_driver_may_refuse_early():
    talk = all_ways(
        lambda: qmtp(early=b"Zlater", check_recipients=True), ONE + package(TEXT, b"s\0", b"a@b", b"x@example.com")
    )
    assert talk.messages == talk.abandoned == []
    assert talk.replies == [b"Zlater", NO_RELAY, b"Zlater"]


@pytest.mark.parametrize("cut", range(1, len(ONE)))
def test_a_peer_that_goes_in_the_middle(cut):
    talk = all_ways(qmtp, ONE + ONE[:cut])
    assert (len(talk.messages), talk.replies, talk.closed) == (1, [ACCEPTED], (0, "end of input"))


WRONG = {
    "no length": b"x", "blank in front": b" 7:\n", "minus": b"-1:", "plus": b"+7:\n", "hex": b"0x7:",
    "empty message": b"0:,", "no digits": b":,", "only a comma": b",", "one comma too much": ONE + b",",
    "text without its byte": b"5:hello,", "no comma": b"2:\nxx", "comma too early": b"7:\nhell,00",
    "sender without comma": b"2:\nx,3:s@xx", "box without comma": b"2:\nx,0:,3:0:,x",
    "recipient longer than the box": b"2:\nx,0:,5:9:abc,,", "recipient as long as the box": b"2:\nx,0:,5:3:ab,,",
    "box ends in a length": b"2:\nx,0:,2:12,", "box of a comma": b"2:\nx,0:,1:,,", "box of a colon": b"2:\nx,0:,1::,",
    "recipient without comma": b"2:\nx,0:,4:1:ab,",
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_qmtp_ends_the_connection(name):
    for before in (b"", ONE):
        talk = all_ways(qmtp, before + WRONG[name], end=False)
        assert talk.closed[0] == 100
        assert talk.replies == [ACCEPTED] * len(talk.messages)
        assert len(talk.messages) == (before + WRONG[name]).count(ONE)
        talk.send(ONE).send(b"")
        assert talk.session.next_event() is None


@pytest.mark.parametrize(
    "data",
    [b"200000001:", b"999999999", b"99999999999999999999x", b"0" * 50 + b"200000001", b"1:\n,0:,200000001:"],
    ids=range(5),
)
def test_lengths_that_nobody_takes(data):
    talk = all_ways(qmtp, data, end=False)
    assert talk.closed == (111, f"a netstring of more than {MAX_LENGTH} bytes")


def test_lengths_that_are_odd_but_good():
    assert all_ways(qmtp, b"0002:\nx,:,00019:" + b"0" * 4 + b"11:")  # not finished, not refused
    talk = all_ways(qmtp, b"0002:\nx,:,0020:0015:ab@example.com.,")
    assert talk.closed[0] == 100  # a recipient without its end
    talk = all_ways(qmtp, b"002:\nx,:,021:0015:joe@example.com,,")
    assert talk.messages == [(b"", [b"joe@example.com"], b"x")]
    assert all_ways(qmtp, b"200000000:\n", end=False).closed is None
    assert all_ways(qmtp, b"0" * 10_000, end=False).closed is None


@pytest.mark.parametrize("at", range(len(ONE)))
def test_every_byte_another(at):
    for byte in (b"0", b"9", b":", b",", b"\0", b"\n", b"x"):
        all_ways(qmtp, ONE[:at] + byte + ONE[at + 1 :] + ONE)
        all_ways(qmtp, ONE[:at] + byte + ONE[at:])
    all_ways(qmtp, ONE[:at] + ONE[at + 1 :] + ONE)


def test_shutdown_takes_the_message_at_hand():
    talk = qmtp().send(ONE[:20])
    talk.session.shutdown()
    talk.pump()
    assert talk.closed is None
    talk.send(ONE[20:] + ONE)
    assert (talk.replies, talk.closed) == ([ACCEPTED], (0, "shutdown"))


def test_shutdown_between_messages():
    talk = qmtp().send(ONE)
    talk.session.shutdown()
    talk.pump()
    assert talk.closed == (0, "shutdown")


@pytest.mark.parametrize("said", [b"", ONE[:2], ONE[:12], ONE], ids=["nothing", "length", "text", "message"])
def test_timeout(said):
    talk = qmtp()
    if said:
        talk.send(said)
    talk.session.timeout()
    talk.pump()
    assert talk.closed == (111, "timeout")
    assert talk.abandoned == (["timeout"] if said == ONE[:12] else [])


def test_no_timeout_while_the_driver_owes_an_answer():
    session = qmtp().session
    session.receive(ONE)
    while session.next_event()[0] != "envelope":
        pass
    session.timeout()
    assert session.next_event() is None
    session.message_done(ACCEPTED)
    assert session.next_event() is None
    assert session.take_output() == netstring(ACCEPTED)


def test_nothing_is_kept_of_a_long_message():
    talk = qmtp()
    talk.send(b"100000001:\n")
    for _ in range(50):
        talk.session.receive(b"x" * 65536)
        while talk.session.next_event() is not None:
            pass
        assert not talk.session._input.has_more
        assert talk.session._input._buffer in (b"", b"x" * 65536)


def test_an_address_without_end_is_not_kept():
    talk = in_pieces(qmtp, b"1:\n,150000000:" + b"x" * 200_000, 50_000, end=False)
    assert talk.closed is None
    assert talk.session._input._later == []


def test_netstrings_within_one_can_not_run_out_of_it():
    stream = Netstrings()
    stream.receive(b"3:x,")
    stream.enter(4)
    with pytest.raises(Exception, match="longer"):
        stream.length()
