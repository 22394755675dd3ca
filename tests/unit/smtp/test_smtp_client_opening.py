"""How a connection opens: greeting, EHLO and its extensions, HELO; each answer whole and in pieces."""

import pytest
from tests.unit.smtp.client_talk import GREETING, ClientTalk

from quail.smtp.client import BROKEN, READY, UNFIT

EHLO, HELO = b"EHLO me.example.org\r\n", b"HELO me.example.org\r\n"
CLOSED = "connection closed"


@pytest.fixture(params=[0, 1, 3], ids=["whole", "byte by byte", "in threes"])
def piece(request):
    return request.param


def test_nothing_is_said_before_the_greeting(piece):
    talk = ClientTalk(piece=piece)
    assert (talk.sent, talk.events, talk.client.reusable) == (b"", [], False)
    with pytest.raises(RuntimeError):
        talk.begin()


def test_extensions(piece):
    answer = b"250-x\r\n250-size 2000\r\n250-pipelining\r\n250-AUTH PLAIN  LOGIN \r\n250-\r\n250 X-y\r\n"
    client = ClientTalk(GREETING, answer, piece=piece).client
    assert client.extensions == {b"SIZE": b"2000", b"PIPELINING": b"", b"AUTH": b"PLAIN  LOGIN", b"": b"", b"X-Y": b""}
    assert client.size_limit == 2000
    assert client.reusable


@pytest.mark.parametrize(
    ("said", "limit"), [(b"", 0), (b" 0", 0), (b" x", 0), (b" -1", 0), (b" 9" + b"9" * 20, 0), (b" 7", 7)]
)
def test_size(said, limit, piece):
    client = ClientTalk(GREETING, b"250-x\r\n250 SIZE" + said + b"\r\n", piece=piece).client
    assert client.size_limit == limit
    assert b"SIZE" in client.extensions


def test_extensions_beyond_what_is_kept(piece):
    """None is taken that may have been cut."""
    answer = b"250-x\r\n" + b"".join(b"250-X%04d 123\r\n" % number for number in range(1000)) + b"250 SIZE 1000000\r\n"
    client = ClientTalk(GREETING, answer, piece=piece).client
    assert set(client.extensions.values()) == {b"123"}
    assert client.reusable


def test_helo_when_ehlo_is_refused(piece):
    talk = ClientTalk(GREETING, b"502 what?\r\n", piece=piece)
    assert (talk.heard(), talk.news()) == (EHLO + HELO, [])
    assert talk.say(b"250-x\r\n250 PIPELINING\r\n").news() == [(READY,)]
    assert talk.client.extensions == {}
    talk.begin(eight_bit=True, utf8=True)
    assert talk.heard() == b"MAIL FROM:<s@example.org>\r\n"


@pytest.mark.parametrize("reply", [b"221 no", b"250 hi", b"354 hi", b"421 busy", b"500 no", b"554-go\r\n554 away"])
def test_greeting_not_220(reply, piece):
    talk = ClientTalk(reply + b"\r\n", piece=piece)
    assert talk.news() == [(UNFIT, "greeting", int(reply[:3]), reply.replace(b"\r", b""))]
    assert (talk.sent, talk.client.reusable) == (b"", False)
    assert talk.say(b"more\r\n").news() == []
    talk.client.quit()
    assert talk.pump().heard() == (b"" if reply[:3] == b"421" else b"QUIT\r\n")


@pytest.mark.parametrize("reply", [b"220 hi", b"251 hi", b"354 hi", b"421 busy", b"450 later"])
def test_ehlo_neither_accepted_nor_unknown(reply, piece):
    assert ClientTalk(GREETING, reply + b"\r\n", piece=piece).news() == [(UNFIT, "helo", int(reply[:3]), reply)]


@pytest.mark.parametrize("reply", [b"220 hi", b"251 hi", b"354 hi", b"421 busy", b"450 later", b"550 no"])
def test_helo_not_250(reply, piece):
    talk = ClientTalk(GREETING, b"550 no\r\n", reply + b"\r\n", piece=piece)
    assert talk.news() == [(UNFIT, "helo", int(reply[:3]), reply)]
    assert talk.heard() == EHLO + HELO


@pytest.mark.parametrize(
    "opening", [[], [b"22"], [b"220-hi\r\n"], [GREETING], [GREETING, b"250-x\r\n25"], [GREETING, b"550 no\r\n"]]
)
def test_gone_while_opening(opening, piece):
    talk = ClientTalk(*opening, piece=piece)
    assert talk.hang_up().news() == [(BROKEN, CLOSED)]
    assert talk.say(b"250 x\r\n").hang_up().news() == []


def test_text_before_the_greeting(piece):
    talk = ClientTalk(b"Welcome!\r\n220 hi\r\n", piece=piece)
    assert talk.news() == [(BROKEN, "not a reply: 'Welcome!'")]
    talk.client.quit()
    assert talk.pump().heard() == b""


def test_two_greetings():
    assert ClientTalk(GREETING + GREETING).news() == [(BROKEN, "more replies than commands")]


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (b"250 mx.example.com\r\n", b"mx.example.com"),
        (b"250-mx.example.com greets you\r\n250 SIZE\r\n", b"mx.example.com"),
        (b"250\r\n", b""),
        (b"550 no\r\n250 old.example.com hello\r\n", b"old.example.com"),
    ],
)
def test_the_servers_name(answer, name):
    talk = ClientTalk(GREETING)
    for line in answer.splitlines(keepends=True):
        talk.say(line)
    assert talk.news() == [(READY,)]
    assert talk.client.peer_name == name
