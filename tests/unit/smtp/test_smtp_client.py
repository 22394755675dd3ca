"""The client's machine against a server played by hand: each answer whole and byte by byte."""

import pytest
from tests.unit.smtp.client_talk import GREETING, PIPELINING, PLAIN, ClientTalk

from quail.smtp.client import BROKEN, GO_AHEAD, MAX_RECIPIENTS, OVER, READY, Client, sendable

EHLO, HELO = b"EHLO me.example.org\r\n", b"HELO me.example.org\r\n"
MAIL, RCPT, DATA, RSET, DOT = (
    b"MAIL FROM:<s@example.org>",
    b"RCPT TO:<r@example.com>\r\n",
    b"DATA\r\n",
    b"RSET\r\n",
    b".\r\n",
)
WITH_SIZE = MAIL + b" SIZE=100\r\n"
OK, NO, LATER, GO, SHUT = b"250 ok\r\n", b"550 no\r\n", b"450 later\r\n", b"354 go\r\n", b"421 bye\r\n"
ASKED = "the server speaks without being asked"
CLOSED = "connection closed"


@pytest.fixture(params=[0, 1, 3], ids=["whole", "byte by byte", "in threes"])
def piece(request):
    return request.param


@pytest.fixture
def plain(piece):
    """A server that knows no PIPELINING."""
    talk = ClientTalk(GREETING, PLAIN, piece=piece)
    assert (talk.heard(), talk.news()) == (EHLO, [(READY,)])
    return talk


@pytest.fixture
def piped(piece):
    talk = ClientTalk(GREETING, PIPELINING, piece=piece)
    assert (talk.heard(), talk.news()) == (EHLO, [(READY,)])
    return talk


# ---- one transaction


def test_each_step_waits(plain):
    plain.begin(b"r@example.com", b"q@example.com")
    for reply, command in ((OK, RCPT), (OK, RCPT.replace(b"r@", b"q@")), (OK, DATA)):
        plain.say(reply)
        assert not plain.events
        assert plain.heard().endswith(command)
    assert plain.say(GO).news() == [(GO_AHEAD,)]
    assert not plain.client.dot_sent
    assert plain.body_sent().heard() == DOT
    assert plain.client.dot_sent
    assert plain.say(b"250-a\r\n250 b\r\n").news() == [(OVER, 250, [250, 250], 354, 250)]
    assert plain.client.outcome.final.text == b"250-a\n250 b"
    assert plain.client.reusable
    assert plain.begin().heard() == MAIL + b"\r\n"
    assert not plain.client.dot_sent


def test_all_in_one_piece(piped):
    piped.begin(b"r@example.com", b"q@example.com")
    assert piped.heard() == WITH_SIZE + RCPT + RCPT.replace(b"r@", b"q@") + DATA
    assert piped.say(OK + NO + OK + GO).news() == [(GO_AHEAD,)]
    assert piped.body_sent().heard() == DOT
    assert piped.say(OK).news() == [(OVER, 250, [550, 250], 354, 250)]
    assert piped.begin().heard() == WITH_SIZE + RCPT + DATA


def test_parameters_only_if_offered():
    for offered, parameters in (
        (b"SIZE", b" SIZE=7"),
        (b"8BITMIME", b" BODY=8BITMIME"),
        (b"SMTPUTF8", b" SMTPUTF8"),
        (b"X", b""),
    ):
        talk = ClientTalk(GREETING, b"250-x\r\n250 " + offered + b"\r\n")
        assert talk.begin(size=7, eight_bit=True, utf8=True).heard() == EHLO + MAIL + parameters + b"\r\n"
    talk = ClientTalk(GREETING, PIPELINING)
    talk.begin(size=7, eight_bit=True, utf8=True)
    assert MAIL + b" SIZE=7 BODY=8BITMIME SMTPUTF8\r\n" in talk.heard()
    talk = ClientTalk(GREETING, PIPELINING)
    talk.begin(size=7)
    assert MAIL + b" SIZE=7\r\n" in talk.heard()


def test_addresses_are_quoted():
    talk = ClientTalk(GREETING, PIPELINING)
    talk.begin(b"a b@c", "jürgen@x".encode(), sender=b"")
    assert b'MAIL FROM:<> SIZE=100\r\nRCPT TO:<"a b"@c>\r\nRCPT TO:<"j\xc3\xbcrgen"@x>\r\nDATA\r\n' in talk.heard()
    talk = ClientTalk(GREETING, PIPELINING)
    talk.begin("jürgen@x".encode(), utf8=True)
    assert b"RCPT TO:<j\xc3\xbcrgen@x>\r\n" in talk.heard()
    talk = ClientTalk(GREETING, PLAIN)
    talk.begin(sender="jürgen@x".encode(), utf8=True)
    assert talk.heard() == EHLO + b'MAIL FROM:<"j\xc3\xbcrgen"@x>\r\n'


BAD_ADDRESSES = [
    *(b"a%bb@c" % bytes((byte,)) for byte in (*range(32), 127)),
    b"a@b\r\nRSET", b"\n", b"a@b> SIZE=1", b"a@b c", b"a@<b", b"a@b\x7f",
]  # fmt: skip


@pytest.mark.parametrize("address", BAD_ADDRESSES, ids=repr)
def test_an_address_can_inject_nothing(address):
    assert not sendable(address)
    for sender, recipients in ((address, [b"a@b"]), (b"a@b", [address]), (b"a@b", [b"c@d", address])):
        talk = ClientTalk(GREETING, PIPELINING)
        with pytest.raises(ValueError, match="address"):
            talk.begin(*recipients, sender=sender)
        assert (talk.heard(), talk.client.reusable, talk.client.outcome) == (EHLO, True, None)


@pytest.mark.parametrize(
    "address", [b"", b"a", b"a@b", b"a b<>@c", b"#@[]", b"a@[127.0.0.1]", b"\xff@\xff", b"x" * 1002]
)
def test_sendable(address):
    assert sendable(address)


def test_how_many_recipients():
    talk = ClientTalk(GREETING, PIPELINING)
    for count in (0, MAX_RECIPIENTS + 1):
        with pytest.raises(ValueError, match="recipients"):
            talk.client.begin(b"", [b"a@b"] * count, size=0, eight_bit=False, utf8=False)
    talk.begin(*[b"a@b"] * MAX_RECIPIENTS)
    assert talk.say((OK * (MAX_RECIPIENTS + 1)) + GO).news() == [(READY,), (GO_AHEAD,)]


# ---- refusals


@pytest.mark.parametrize("reply", [NO, LATER])
def test_sender_refused(plain, reply):
    plain.begin()
    assert plain.say(reply).news() == [(OVER, int(reply[:3]), [None], None, None)]
    assert plain.client.outcome.sender.text == reply[:-2]
    assert plain.heard() == MAIL + b"\r\n"
    assert plain.begin().heard() == MAIL + b"\r\n"  # no transaction was opened


def test_all_recipients_refused(plain):
    plain.begin(b"r@example.com", b"q@example.com")
    plain.say(OK).say(NO)
    assert plain.news() == []
    assert plain.say(LATER).news() == [(OVER, 250, [550, 450], None, None)]
    assert DATA not in plain.heard()
    assert plain.begin().heard() == RSET
    assert plain.say(OK).heard() == MAIL + b"\r\n"


@pytest.mark.parametrize("reply", [NO, LATER])
def test_data_refused(plain, reply):
    plain.begin().say(OK).say(OK)
    assert plain.say(reply).news() == [(OVER, 250, [250], int(reply[:3]), None)]
    plain.heard()
    assert plain.begin().heard() == RSET


@pytest.mark.parametrize("reply", [NO, LATER])
def test_message_refused(piped, reply):
    piped.begin().say(OK + OK + GO).body_sent()
    piped.heard()
    assert piped.say(reply).news()[1:] == [(OVER, 250, [250], 354, int(reply[:3]))]
    assert piped.begin().heard() == WITH_SIZE + RCPT + DATA


def test_sender_refused_with_pipelining(piped):
    piped.begin(b"a@b", b"c@d")
    assert piped.say(NO + NO + NO).news() == []
    assert piped.say(b"503 no\r\n").news() == [(OVER, 550, [None, None], None, None)]
    piped.heard()
    assert piped.begin().heard() == WITH_SIZE + RCPT + DATA


def test_all_recipients_refused_with_pipelining(piped):
    piped.begin(b"r@example.com", b"q@example.com")
    piped.heard()
    assert piped.say(OK + NO + LATER + b"554 none\r\n").news() == [(OVER, 250, [550, 450], None, None)]
    assert piped.begin().heard() == RSET + WITH_SIZE + RCPT + DATA
    assert piped.client.untouched
    assert piped.say(OK).client.untouched
    assert piped.say(OK + OK + GO).news() == [(GO_AHEAD,)]
    assert not piped.client.untouched


@pytest.mark.parametrize(
    ("replies", "outcome"), [(NO + NO, (550, [None])), (OK + NO, (250, [550])), (NO + OK, (550, [None]))]
)
@pytest.mark.parametrize("last", [OK, NO, b"354 what?\r\n"])
def test_data_accepted_for_nobody(piped, replies, outcome, last):
    piped.begin()
    piped.heard()
    assert piped.say(replies + GO).news() == []
    assert piped.heard() == DOT
    assert not piped.client.dot_sent
    assert piped.say(last).news() == [(OVER, *outcome, None, None)]
    if last != b"354 what?\r\n":
        assert piped.begin().heard() == WITH_SIZE + RCPT + DATA
    else:
        assert not piped.client.reusable


# ---- loss


@pytest.mark.parametrize(
    ("replies", "event"),
    [
        (b"", (BROKEN, CLOSED)),
        (OK, (BROKEN, CLOSED)),
        (OK + OK, (BROKEN, CLOSED)),
        (OK + NO, (BROKEN, CLOSED)),
        (OK + OK + NO, (BROKEN, CLOSED)),
        (NO, (OVER, 550, [None, None], None, None)),
        (NO + OK, (OVER, 550, [None, None], None, None)),
        (NO + NO + NO + GO, (OVER, 550, [None, None], None, None)),
        (OK + NO + NO, (OVER, 250, [550, 550], None, None)),
        (OK + NO + LATER + GO, (OVER, 250, [550, 450], None, None)),
    ],
)
@pytest.mark.parametrize("end", [b"", b"25", b"250-x\r\n"])
def test_gone_in_a_transaction(piped, replies, event, end):
    """What is known for all recipients is an outcome, although the server did not wait for the rest."""
    piped.begin(b"a@b", b"c@d")
    assert piped.client.untouched
    assert piped.say(replies + end).hang_up().news() == [event]
    assert not piped.client.reusable
    assert not piped.client.dot_sent
    assert piped.client.untouched == (replies + end == b"")
    piped.client.quit()
    assert b"QUIT" not in piped.pump().heard()


def test_what_is_known_of_a_broken_transaction(piped):
    piped.begin(b"a@b", b"c@d").say(OK + NO).hang_up()
    assert piped.client.outcome.recipients[0].code == 550
    assert piped.client.outcome.recipients[1] is None


def test_gone_while_the_text_is_written(piped):
    piped.begin().say(OK + OK + GO).hang_up()
    assert piped.news() == [(GO_AHEAD,), (BROKEN, CLOSED)]
    assert not piped.client.dot_sent
    piped.body_sent()
    assert DOT not in piped.heard()


def test_gone_behind_the_dot(piped):
    piped.begin().say(OK + OK + GO).body_sent().hang_up()
    assert piped.news() == [(GO_AHEAD,), (BROKEN, CLOSED)]
    assert piped.client.dot_sent


@pytest.mark.parametrize("reply", [NO, LATER, SHUT])
def test_refused_before_the_dot(piped, reply):
    piped.begin().say(OK + OK + GO).say(reply)
    assert piped.news() == [(GO_AHEAD,), (OVER, 250, [250], 354, int(reply[:3]))]
    assert not piped.client.reusable
    assert not piped.client.dot_sent
    piped.body_sent()
    assert DOT not in piped.heard()


@pytest.mark.parametrize("reply", [OK, GO])
def test_accepted_before_the_dot(piped, reply):
    piped.begin().say(OK + OK + GO).say(reply)
    assert piped.news() == [(GO_AHEAD,), (BROKEN, f"{int(reply[:3])} before the end of the message")]


@pytest.mark.parametrize(
    ("replies", "event"),
    [
        (b"", (OVER, 421, [None, None], None, None)),
        (OK, (OVER, 250, [421, 421], None, None)),
        (OK + NO, (OVER, 250, [550, 421], None, None)),
        (OK + OK, (OVER, 250, [250, 421], 421, None)),
        (OK + OK + NO, (OVER, 250, [250, 550], 421, None)),
        (OK + NO + NO, (OVER, 250, [550, 550], None, None)),
        (NO, (OVER, 550, [None, None], None, None)),
        (NO + NO, (OVER, 550, [None, None], None, None)),
    ],
)
def test_421_answers_all_that_is_left(piped, replies, event):
    piped.begin(b"a@b", b"c@d").say(replies + SHUT + OK)
    assert piped.news() == [event]
    assert not piped.client.reusable
    assert piped.hang_up().news() == []


def test_421_without_pipelining(plain):
    plain.begin(b"a@b", b"c@d").say(OK).say(OK).say(SHUT)
    assert plain.news() == [(OVER, 250, [250, 421], 421, None)]
    assert not plain.client.reusable


def test_421_to_the_message(piped):
    piped.begin().say(OK + OK + GO).body_sent().say(SHUT)
    assert piped.news()[1:] == [(OVER, 250, [250], 354, 421)]
    assert not piped.client.reusable


# ---- out of step


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        (GO, "MAIL was answered with 354"),
        (OK + GO, "RCPT was answered with 354"),
        (OK + OK + OK, "DATA was answered with 250"),
        (OK + b"DATA\r\n", "not a reply: 'DATA'"),
    ],
)
def test_replies_of_the_wrong_kind(piped, replies, reason):
    assert piped.begin().say(replies).news() == [(BROKEN, reason)]
    assert not piped.client.reusable


def test_354_for_the_message(piped):
    piped.begin().say(OK + OK + b"354-go\r\n354 on\r\n").body_sent().say(GO)
    assert piped.news()[1:] == [(BROKEN, "the message was answered with 354")]


@pytest.mark.parametrize("given", [[OK + OK], [OK, OK + NO], [NO + OK]])
def test_more_replies_than_commands(given):
    """Without PIPELINING one reply is due at a time."""
    talk = ClientTalk(GREETING, PLAIN).begin()
    for data in given:
        talk.say(data)
    assert talk.news()[-1][0] == BROKEN
    assert not talk.client.reusable


def test_more_replies_than_commands_with_pipelining(piped):
    piped.begin().say(OK + OK + NO + OK)
    assert piped.news() == [(OVER, 250, [250], 550, None), (BROKEN, ASKED)]


@pytest.mark.parametrize("data", [b"2", b"\r\n", SHUT, OK, b"\0"])
def test_unasked(piped, data):
    assert piped.say(data).news() == [(BROKEN, ASKED)]
    assert not piped.client.reusable
    assert piped.say(data).hang_up().news() == []
    with pytest.raises(RuntimeError):
        piped.begin()


def test_bytes_that_were_not_looked_at_yet():
    talk = ClientTalk(GREETING, PIPELINING)
    talk.client.receive(b"4")
    assert not talk.client.reusable
    assert talk.pump().news() == [(READY,), (BROKEN, ASKED)]


def test_closed_while_idle(piped):
    piped.client.eof()
    assert not piped.client.reusable
    assert piped.pump().news() == [(BROKEN, CLOSED)]


def test_closed_behind_the_last_reply(piped):
    piped.begin().say(OK + OK + GO).body_sent()
    piped.client.receive(OK)
    assert piped.hang_up().news() == [(GO_AHEAD,), (OVER, 250, [250], 354, 250), (BROKEN, CLOSED)]


@pytest.mark.parametrize(
    ("reply", "reason"), [(NO, "RSET was answered with 550"), (SHUT, "RSET was answered with 421")]
)
def test_rset_refused(piped, reply, reason):
    """Nothing of the next message was looked at: it may be tried on another connection."""
    piped.begin().say(OK + NO + NO).begin()
    assert piped.say(reply).news()[1:] == [(BROKEN, reason)]
    assert piped.client.untouched


def test_untouched_until_the_first_byte_behind_rset():
    for late, untouched in ((b"", True), (b"2", False), (OK, False)):
        talk = ClientTalk(GREETING, PIPELINING).begin().say(OK + NO + NO).begin()
        talk.say(OK + late).hang_up()
        assert talk.client.untouched == untouched


# ---- quit


def test_quit(piped):
    piped.client.quit()
    assert piped.pump().heard() == b"QUIT\r\n"
    assert piped.say(b"221 bye\r\n").hang_up().news() == []
    assert not piped.client.reusable
    piped.client.quit()
    assert piped.pump().heard() == b""


def test_quit_after_a_transaction(plain):
    plain.begin().say(NO).client.quit()
    assert plain.pump().heard().endswith(b"QUIT\r\n")


def test_not_in_a_transaction(piped):
    piped.begin()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            piped.client.quit()
        with pytest.raises(RuntimeError):
            piped.begin()
        piped.say(OK + OK + GO)
    with pytest.raises(RuntimeError):
        ClientTalk(GREETING, PIPELINING).body_sent()


def test_nothing_but_declared():
    client = Client(b"x")
    client.receive(b"")
    assert client.next_event() is None
    assert client.take_output() == b""


@pytest.mark.parametrize(
    ("behind", "event"), [(OK, (BROKEN, "250 before the end of the message")), (NO, (OVER, 250, [250], 354, 550))]
)
def test_an_answer_to_a_text_that_was_not_sent_yet_is_none(behind, event):
    """In one piece with 354: taken for the answer to the text it would be a success of nothing."""
    talk = ClientTalk(GREETING, PIPELINING).begin().say(OK + OK + GO + behind)
    assert talk.events[-1] == event
    assert (GO_AHEAD,) not in talk.events
    assert not talk.client.dot_sent
