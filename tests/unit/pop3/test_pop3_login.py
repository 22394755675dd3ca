"""The log-in: whole, byte by byte, with bytes behind it; both sets of words."""

import pytest
from tests.unit.pop3.pop3_talk import CHALLENGE, LoginTalk, in_pieces

from quail.pop3.login import ACCEPTED, AUTHENTICATE, BROKEN, CLOSE, IN_USE, REFUSED, TROUBLE, Login, Settings

DIGEST = b"c4c9334bac560ecc979e58001b3e22fb"


def test_user_and_pass():
    talk = LoginTalk().send(b"USER jane\r\nPASS  two words \r\n")
    assert talk.output == b"+OK <1.2@mx.example.com>\r\n+OK \r\n"
    assert talk.events == [(AUTHENTICATE, b"jane", b" two words ", None)]
    assert talk.login.next_event() is None


def test_apop():
    talk = LoginTalk().send(b"APOP jane doe " + DIGEST.upper() + b"\n")
    assert talk.events == [(AUTHENTICATE, b"jane doe", DIGEST, CHALLENGE)]


@pytest.mark.parametrize("size", [1 << 20, 1, 7])
def test_what_is_pipelined_behind_the_password_is_the_sessions(size):
    talk = in_pieces(LoginTalk(), b"USER a\r\nPASS b\r\nSTAT\r\nRE", [size])
    assert talk.events == [(AUTHENTICATE, b"a", b"b", None)]
    assert talk.login.rest() == b"STAT\r\nRE"
    assert talk.login.rest() == b""


def test_refused_and_trouble_and_accepted():
    verdicts = (REFUSED,), (TROUBLE, b"the disk is on fire"), (ACCEPTED,)
    talk = LoginTalk(*verdicts).send(b"USER a\r\nPASS b\r\nPASS b\r\nUSER a\r\nPASS c\r\nUSER a\r\nPASS d\r\n")
    assert talk.replies == [
        b"+OK ",
        b"-ERR [AUTH] authorization failed",
        b"-ERR USER first",
        b"+OK ",
        b"-ERR [SYS/TEMP] the disk is on fire",
        b"+OK ",
    ]
    assert [event[2] for event in talk.events] == [b"b", b"c", b"d"]


@pytest.mark.parametrize(
    ("outcome", "reply"),
    [
        (BROKEN, b"-ERR [SYS/PERM] unable to check the password"),
        (IN_USE, b"-ERR [IN-USE] mailbox is in use"),
        (TROUBLE, b"-ERR [SYS/TEMP] unable to check the password now, try again later"),
    ],
    ids=["broken", "in-use", "trouble"],
)
def test_response_codes(outcome, reply):
    assert LoginTalk((outcome,)).send(b"USER a\r\nPASS b\r\n").replies[-1] == reply


def test_attempts_are_limited():
    talk = LoginTalk((REFUSED,), (REFUSED,), max_attempts=2).send(b"USER a\r\nPASS b\r\n" * 3)
    assert talk.replies[-1] == b"-ERR [AUTH] authorization failed"
    assert talk.events[-1] == (CLOSE, "too many attempts")
    assert len(talk.events) == 3


def test_capabilities():
    assert LoginTalk().send(b"capa\r\n").replies == [
        b"+OK Capability list follows", b"TOP", b"UIDL", b"USER", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING",
        b"EXPIRE NEVER", b"UTF8", b"IMPLEMENTATION Quail", b".",
    ]  # fmt: skip
    assert b"USER" not in LoginTalk(plain=False).send(b"CAPA\r\n").replies


def test_a_connection_without_plain_passwords_and_one_without_apop():
    talk = LoginTalk(plain=False).send(b"USER a\r\nPASS b\r\n")
    assert talk.replies == [b"-ERR plain passwords are not taken on this connection", b"-ERR USER first"]
    talk = LoginTalk(challenge=None).send(b"APOP a " + DIGEST + b"\r\n")
    assert talk.output == b"+OK ready\r\n-ERR APOP is not offered on this connection\r\n"
    assert talk.events == []


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"STAT", b"-ERR authorization first"),
        (b"", b"-ERR authorization first"),
        (b"USER", b"-ERR syntax error"),
        (b"USER \0", b"-ERR syntax error"),
        (b"PASS x", b"-ERR USER first"),
        (b"USER a\r\nPASS", b"-ERR syntax error"),
        (b"USER a\r\nPASS a\0b", b"-ERR syntax error"),
        (b"APOP a", b"-ERR syntax error"),
        (b"APOP a 12", b"-ERR syntax error"),
        (b"APOP " + DIGEST, b"-ERR syntax error"),
        (b"APOP a\0 " + DIGEST, b"-ERR syntax error"),
        (b"UTF8", b"+OK "),
        (b"nOOp", b"+OK "),
    ],
    ids=lambda value: None if isinstance(value, int) else ascii(value)[2:14],
)
@pytest.mark.parametrize("size", [1 << 20, 1])
def test_replies(line, reply, size):
    talk = in_pieces(LoginTalk(), line + b"\r\n", [size])
    assert talk.replies[-1] == reply
    assert talk.events == [(CLOSE, "end of input")]


def test_limits():
    talk = LoginTalk(max_bad_commands=2).send(b"X\r\n" * 9)
    assert talk.replies == [b"-ERR authorization first"] * 2 + [b"-ERR too many bad commands"]
    assert talk.events == [(CLOSE, "too many bad commands")]
    talk = LoginTalk(max_commands=2).send(b"NOOP\r\n" * 9)
    assert talk.replies == [b"+OK "] * 2 + [b"-ERR too many commands without authorization"]


@pytest.mark.parametrize(
    "data", [b"x" * 512, b"USER " + b"x" * 507 + b"\n", b"\0" * 100_000], ids=["no-end", "line", "long"]
)
@pytest.mark.parametrize("size", [1 << 20, 1, 1000])
def test_an_endless_line_ends_the_connection(data, size):
    talk = LoginTalk()
    for at in range(0, len(data), size):
        talk.send(data[at : at + size])
    assert talk.replies == [b"-ERR command line too long"]
    assert talk.events == [(CLOSE, "command line too long")]
    assert talk.login.rest() == b""


def test_the_longest_line():
    name = b"x" * (512 - len(b"USER \r\nPASS ") + len(b"PASS "))
    talk = LoginTalk().send(b"USER " + name + b"\r\nPASS y\r\n")
    assert talk.events == [(AUTHENTICATE, name, b"y", None)]


def test_timeout_is_silent():
    talk = LoginTalk()
    talk.login.timeout()
    talk.pump()
    assert (talk.events, talk.replies) == ([(CLOSE, "timeout")], [])


def test_shutdown():
    talk = LoginTalk()
    talk.login.shutdown()
    talk.pump()
    assert talk.replies == [b"-ERR [SYS/TEMP] service shutting down, try again"]


def test_quit():
    talk = LoginTalk().send(b"QUIT\r\nNOOP\r\n")
    assert (talk.events, talk.replies) == ([(CLOSE, "quit")], [b"+OK "])


def test_a_verdict_that_nobody_waits_for():
    machine = Login(Settings(), CHALLENGE)
    with pytest.raises(RuntimeError):
        machine.verdict(ACCEPTED)
    machine.receive(b"")
    machine.next_event()
    machine.verdict(ACCEPTED)  # the client has gone meanwhile


class TestClassic:
    """As qmail-popup."""

    def talk(self, *verdicts):
        return LoginTalk(*verdicts, classic=True)

    def test_one_attempt(self):
        talk = self.talk((REFUSED,)).send(b"USER a b\r\nPASS   c d \r\nUSER a\r\n")
        assert talk.events == [(AUTHENTICATE, b"a b", b"c d ", None), (CLOSE, "not accepted")]
        assert talk.replies == [b"+OK ", b"-ERR authorization failed"]

    def test_trouble_in_its_words(self):
        talk = self.talk((TROUBLE, b"unable to fork")).send(b"USER a\nPASS b\n")
        assert talk.replies[-1] == b"-ERR unable to fork"

    def test_apop_ends_its_name_at_the_first_blank(self):
        talk = self.talk().send(b"apop jane doe x\r\n")
        assert talk.events == [(AUTHENTICATE, b"jane", b"doe x", CHALLENGE)]

    @pytest.mark.parametrize("verb", [b"CAPA", b"UTF8", b"STLS", b"STAT"], ids=bytes.decode)
    def test_what_it_does_not_know(self, verb):
        assert self.talk().send(verb + b"\r\n").replies == [b"-ERR authorization first"]

    def test_syntax(self):
        talk = self.talk().send(b"APOP a\r\nUSER\r\nPASS\r\nUSER a\r\nPASS  \r\nQUIT\r\n")
        syntax = b"-ERR syntax error"
        assert talk.replies == [syntax, syntax, b"-ERR USER first", b"+OK ", syntax, b"+OK "]
