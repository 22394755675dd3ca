"""LMTP (RFC 2033): what differs from SMTP. Each dialogue whole, byte by byte, and with more bytes behind it."""

import pytest
from tests.unit.smtp.conversation import ACCEPTED, GREETING, Talk, settings, three_ways

from quail.smtp.server import ABANDON, BEGIN, CLOSE, END

LHLO = b"LHLO a\r\n"
MAIL = b"MAIL FROM:<s@example.org>\r\n"
NAMES = (b"a", b"b", b"nobody", b"c", b"b")
RCPT = b"".join(b"RCPT TO:<%b@example.com>\r\n" % name for name in NAMES)
MAIL_OK, RCPT_OK, GO_AHEAD = b"250 2.1.0 ok", b"250 2.1.5 ok", b"354 go ahead"
NO_SUCH = b"550 5.1.1 sorry, no mailbox here by that name"
SAY_LHLO = b"500 5.5.1 this is LMTP: say LHLO (RFC 2033 section 4.1)"
LATER = b"451 4.3.0 the queue is not available; try again later"
TAKEN = [b"a@example.com", b"b@example.com", b"c@example.com", b"b@example.com"]
LOOKED_UP = {"lmtp": True, "check_recipients": True}


def test_greeting():
    talk = Talk(lmtp=True)
    assert talk.output == b"220 " + GREETING + b" LMTP\r\n"


def test_lhlo_is_ehlo():
    assert three_ways(LHLO, lmtp=True).replies == three_ways(b"EHLO a\r\n").replies
    assert three_ways(b"lhlo a b \r\n", lmtp=True).session.helo == b"a b"


@pytest.mark.parametrize("verb", [b"HELO", b"EHLO", b"helo", b"Ehlo"], ids=bytes.decode)
def test_helo_and_ehlo_are_refused_and_set_nothing(verb):
    talk = three_ways(MAIL + verb + b" a\r\nRCPT TO:<a@example.com>\r\n", lmtp=True)
    assert talk.replies == [MAIL_OK, SAY_LHLO, RCPT_OK]
    assert talk.session.helo is None


def test_lhlo_is_no_smtp():
    assert three_ways(LHLO).replies == [b"502 5.5.1 unimplemented"]


@pytest.mark.parametrize("reply", [ACCEPTED, LATER], ids=["taken", "put off"])
def test_each_accepted_recipient_has_a_reply(reply):
    """One who is named twice has two (section 4.2)."""
    talk = three_ways(MAIL + RCPT + b"DATA\r\nhello\r\n.\r\n", reply=reply, **LOOKED_UP)
    assert talk.replies == [MAIL_OK, RCPT_OK, RCPT_OK, NO_SUCH, RCPT_OK, RCPT_OK, GO_AHEAD, *[reply] * 4]
    assert talk.messages == [(b"s@example.org", TAKEN, b"hello\n")]


def test_a_refusal_of_the_message_is_told_to_each_and_the_next_transaction_is_its_own():
    talk = three_ways(
        (MAIL + RCPT + b"DATA\r\nbare\nLF\r\n.\r\n") + MAIL + b"RCPT TO:<a@example.com>\r\nDATA\r\n.\r\n", **LOOKED_UP
    )
    fault = b"554 5.6.0 bare LF in the message: lines end with CR LF (RFC 5321 section 2.3.8)"
    assert talk.replies[7:] == [*[fault] * 4, MAIL_OK, RCPT_OK, GO_AHEAD, ACCEPTED]
    assert talk.abandoned == ["bare LF"]


def test_data_without_anybody_is_503():
    talk = three_ways(MAIL + b"RCPT TO:<nobody@example.com>\r\nDATA\r\n" + MAIL, **LOOKED_UP)
    assert talk.replies == [MAIL_OK, NO_SUCH, b"503 5.5.1 RCPT first", MAIL_OK]


def test_the_driver_may_refuse_before_the_end():
    talk = Talk(**LOOKED_UP)
    talk.send(MAIL + RCPT + b"DATA\r\n")
    talk.session.message_done(LATER)
    talk.send(b"more\r\n.\r\nNOOP\r\n")
    assert talk.replies[7:] == [*[LATER] * 4, b"250 2.0.0 ok"]
    assert [event[0] for event in talk.events if event[0] in (BEGIN, END, ABANDON)] == [BEGIN]


def test_a_time_out_in_the_text_is_told_once():
    talk = Talk(**LOOKED_UP)
    talk.send(MAIL + RCPT + b"DATA\r\nhel")
    talk.session.timeout()
    talk.pump()
    assert talk.replies[7:] == [b"451 4.4.2 timeout"]
    assert talk.events[-2:] == [(ABANDON, "timeout"), (CLOSE, "timeout")]


def test_a_message_resets_the_count_of_commands_without_mail():
    served = settings(lmtp=True, max_junk_commands=3)
    talk = Talk(served)
    for _ in range(5):
        talk.send(b"NOOP\r\nRSET\r\n" + MAIL + b"RCPT TO:<a@example.com>\r\nDATA\r\n.\r\n")
    assert talk.closed is None
    assert len(talk.messages) == 5


WHOLE = LHLO + MAIL + RCPT + b"DATA\r\nSubject: x\r\n\r\n..hello\r\n.\r\n"


@pytest.mark.parametrize("cut", range(len(WHOLE) + 1))
def test_a_session_that_is_broken_off_at_any_byte(cut):
    """There is a message, and an answer to it, when its last byte has come."""
    talk = Talk(**LOOKED_UP).send(WHOLE[:cut]).send(b"")
    assert talk.closed == "end of input"
    assert len(talk.messages) == (cut == len(WHOLE))
    assert talk.replies.count(ACCEPTED) == 4 * (cut == len(WHOLE))
    assert len(talk.abandoned) == (WHOLE.index(b"Subject") <= cut < len(WHOLE))
