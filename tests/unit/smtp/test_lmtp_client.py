"""The client's machine with an LMTP server played by hand: each answer whole and byte by byte."""

import pytest
from tests.unit.smtp.client_talk import ClientTalk

from quail.smtp.client import BROKEN, GO_AHEAD, HELO, OVER, READY, UNFIT, Client

GREETING = b"220 mx.example.com LMTP\r\n"
PIPELINING = b"250-mx.example.com\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"
LHLO = b"LHLO me.example.org\r\n"
OK, NO, LATER, GO, SHUT = b"250 ok\r\n", b"550 no\r\n", b"452 full\r\n", b"354 go\r\n", b"421 bye\r\n"
NAMES = (b"a@x.org", b"b@x.org", b"c@x.org", b"a@x.org")


class LmtpTalk(ClientTalk):
    def __init__(self, *opening, piece=0):
        super().__init__(piece=piece)
        self.client = Client(b"me.example.org", lmtp=True)
        for data in opening:
            self.say(data)

    @property
    def finals(self):
        return [reply and reply.code for reply in self.client.outcome.finals]


@pytest.fixture(params=[0, 1, 3], ids=["whole", "byte by byte", "in threes"])
def piece(request):
    return request.param


@pytest.fixture
def ready(piece):
    talk = LmtpTalk(GREETING, PIPELINING, piece=piece)
    assert (talk.heard(), talk.news()) == (LHLO, [(READY,)])
    return talk


@pytest.fixture
def sent(ready):
    """Three of four recipients are taken, and the message is sent."""
    ready.begin(*NAMES).say(OK + OK + NO + OK + OK + GO)
    assert ready.news() == [(GO_AHEAD,)]
    assert ready.finals == [None] * 4
    ready.body_sent()
    ready.heard()
    return ready


def test_each_has_an_answer(sent):
    assert sent.say(OK + LATER).news() == []
    assert sent.finals == [250, None, 452, None]
    assert not sent.client.reusable
    assert sent.say(NO).news() == [(OVER, 250, [250, 550, 250, 250], 354, None)]
    assert sent.finals == [250, None, 452, 550]
    assert sent.client.reusable
    assert sent.begin().heard().startswith(b"MAIL FROM:")


def test_one_answer_too_many_is_noticed(sent):
    sent.say(OK * 4)
    assert sent.news()[-1] == (BROKEN, "the server speaks without being asked")
    assert sent.finals.count(250) == 3


@pytest.mark.parametrize("answers", [b"", OK, OK + NO, OK + b"25"], ids=["none", "one", "two", "one and a part"])
def test_a_connection_that_is_lost_leaves_what_was_answered(sent, answers):
    assert sent.say(answers).hang_up().news() == [(BROKEN, "connection closed")]
    assert [code for code in sent.finals if code] == [250, 550][: answers.count(b"\n")]
    assert sent.client.dot_sent


def test_421_answers_all_that_are_left(sent):
    (event,) = sent.say(OK + SHUT).news()
    assert event[0] == OVER
    assert sent.finals == [250, None, 421, 421]
    assert not sent.client.reusable


def test_421_in_the_text_answers_all(ready):
    ready.begin(*NAMES).say(OK + OK + NO + OK + OK + GO)
    ready.news()
    (event,) = ready.say(SHUT).news()
    assert event[0] == OVER
    assert ready.finals == [421, None, 421, 421]
    assert not ready.client.dot_sent


@pytest.mark.parametrize("answer", [b"354 more\r\n", b"x\r\n"], ids=["354", "rubbish"])
def test_what_is_no_answer_breaks(sent, answer):
    (event,) = sent.say(OK + answer).news()
    assert event[0] == BROKEN
    assert [code for code in sent.finals if code] == [250]


def test_a_good_answer_before_the_dot_breaks(ready):
    ready.begin(*NAMES).say(OK * 5 + GO)
    ready.news()
    assert ready.say(OK).news() == [(BROKEN, "250 before the end of the message")]
    assert ready.finals == [None] * 4


def test_there_is_no_helo(piece):
    talk = LmtpTalk(GREETING, b"502 what\r\n", piece=piece)
    assert talk.heard() == LHLO
    assert talk.news() == [(UNFIT, HELO, 502, b"502 what")]


@pytest.mark.parametrize("answers", [NO * 4 + b"503 nobody\r\n", LATER * 4 + NO], ids=["for good", "for now"])
def test_nobody_is_accepted(ready, answers):
    (event,) = ready.begin(*NAMES).say(OK + answers).news()
    assert event[0] == OVER
    assert ready.finals == []
    assert ready.client.reusable


def test_354_for_nobody_is_broken(ready):
    """RFC 2033 section 4.2: there is no telling how many answers would come."""
    (event,) = ready.begin(*NAMES).say(OK + NO * 4 + GO).news()
    assert event[0] == OVER
    assert [reply.code for reply in ready.client.outcome.recipients] == [550] * 4
    assert not ready.client.reusable
    assert b".\r\n" not in ready.heard().partition(b"DATA\r\n")[2]


def test_data_refused(ready):
    assert ready.begin(*NAMES).say(OK * 5 + LATER).news() == [(OVER, 250, [250] * 4, 452, None)]
    assert ready.finals == []


def test_a_server_without_pipelining_gets_one_step_at_a_time(piece):
    talk = LmtpTalk(GREETING, b"250 mx\r\n", piece=piece)
    talk.heard()
    talk.begin(b"a@x.org", b"b@x.org")
    for answer, command in ((OK, b"RCPT"), (NO, b"RCPT"), (OK, b"DATA")):
        assert talk.heard().count(b"\r\n") == 1
        talk.say(answer)
        assert talk.sent.startswith(command)
    talk.say(GO).body_sent()
    talk.say(LATER)
    assert talk.finals == [None, 452]


ANSWERS = b"250-one\r\n250 2.0.0 one\r\n550 5.1.1 two\r\n452 4.2.2 three\r\n"


@pytest.mark.parametrize("cut", range(len(ANSWERS)))
def test_answers_that_are_broken_off_at_any_byte(cut):
    """Whole answers count, and no others."""
    talk = LmtpTalk(GREETING, PIPELINING)
    talk.begin(*NAMES).say(OK + OK + NO + OK + OK + GO)
    talk.body_sent().news()
    assert talk.say(ANSWERS[:cut]).hang_up().news() == [(BROKEN, "connection closed")]
    whole = [code for code, end in ((250, b"2.0.0 one\r\n"), (550, b"two\r\n")) if end in ANSWERS[:cut]]
    assert [code for code in talk.finals if code] == whole
