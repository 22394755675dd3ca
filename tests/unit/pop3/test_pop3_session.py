"""The session: whole, byte by byte, pipelined; as RFC 1939 says, and as qmail-pop3d does."""

import pytest
from tests.unit.pop3.pop3_talk import SessionTalk, in_pieces

from quail.pop3 import session
from quail.pop3.session import CLOSE, CONTENT, FLUSH, MUCH, SIZES, UIDS, UPDATE, Session

ONE = b"Subject: 1\n\n.x\nline\n"
TWO = b"Subject: 2\n\n" + b"a\n" * 5
END = (CLOSE, "end of input")

# Commands, and the lines that answer them.
DIALOGUES = {
    "stat": (b"STAT", [b"+OK 2 53"]),
    "stat-without-deleted": (b"DELE 1\r\nSTAT\r\nRSET\r\nSTAT", [b"+OK ", b"+OK 1 29", b"+OK ", b"+OK 2 53"]),
    "stat-before-deleting": (b"STAT\r\nDELE 1\r\nSTAT", [b"+OK 2 53", b"+OK ", b"+OK 1 29"]),
    "list": (b"LIST", [b"+OK ", b"1 24", b"2 29", b"."]),
    "list-without-deleted": (b"DELE 1\r\nLIST", [b"+OK ", b"+OK ", b"2 29", b"."]),
    "list-one": (b"LIST 2", [b"+OK 2 29"]),
    "list-blank": (b"LIST ", [b"+OK ", b"1 24", b"2 29", b"."]),
    "uidl": (b"UIDL", [b"+OK ", b"1 uid1", b"2 uid2", b"."]),
    "uidl-one": (b"uidl 1", [b"+OK 1 uid1"]),
    "retr": (b"RETR 1", [b"+OK ", b"Subject: 1", b"", b"..x", b"line", b"."]),
    "retr-two-numbers": (b"RETR 1 2", [b"-ERR syntax error"]),
    "top": (b"TOP 2 2", [b"+OK ", b"Subject: 2", b"", b"a", b"a", b"."]),
    "top-none": (b"TOP 2 0", [b"+OK ", b"Subject: 2", b"", b"."]),
    "top-all": (b"TOP 1 99999999999999999999", [b"+OK ", b"Subject: 1", b"", b"..x", b"line", b"."]),
    "top-without-number": (b"TOP 1", [b"+OK ", b"Subject: 1", b"", b"..x", b"line", b"."]),
    "top-nonsense": (b"TOP 1 x", [b"-ERR syntax error"]),
    "dele-twice": (b"DELE 1\r\nDELE 1", [b"+OK ", b"-ERR already deleted"]),
    "retr-deleted": (b"DELE 1\r\nRETR 1", [b"+OK ", b"-ERR already deleted"]),
    "last": (b"LAST\r\nDELE 2\r\nDELE 1\r\nLAST\r\nRETR 1\r\nRSET\r\nLAST",
             [b"+OK 0", b"+OK ", b"+OK ", b"+OK 2", b"-ERR already deleted", b"+OK ", b"+OK 0"]),
    "zero": (b"RETR 0", [b"-ERR messages are counted from 1"]),
    "too-many": (b"DELE 3", [b"-ERR not that many messages"]),
    "far-too-many": (b"DELE 99999999999999999999", [b"-ERR not that many messages"]),
    "no-number": (b"RETR", [b"-ERR syntax error"]),
    "half-a-number": (b"RETR 1x", [b"-ERR syntax error"]),
    "negative": (b"RETR -1", [b"-ERR syntax error"]),
    "noop": (b"NOOP", [b"+OK "]),
    "user": (b"USER a", [b"-ERR unimplemented"]),
    "empty": (b"", [b"-ERR unimplemented"]),
    "utf8": (b"UTF8", [b"-ERR UTF8 comes before the log-in"]),
    "too-long": (b"x" * 512, [b"-ERR command line too long"]),
}  # fmt: skip
QUIRKS = {
    "stat-counts-deleted": (b"DELE 1\r\nSTAT", [b"+OK ", b"+OK 2 29"]),
    "retr": (b"RETR 1", [b"+OK ", b"Subject: 1", b"", b"..x", b"line", b"", b"."]),
    "retr-two-numbers": (b"RETR 1 1", [b"+OK ", b"Subject: 1", b"", b"..x", b"", b"."]),
    "top": (b"TOP 1", [b"+OK ", b"Subject: 1", b"", b"..x", b"line", b"", b"."]),
    "capa": (b"CAPA", [b"-ERR unimplemented"]),
    "utf8": (b"UTF8", [b"-ERR unimplemented"]),
    "numbers": (b"LIST 2x\r\nTOP 1,2", [b"+OK 2 29", b"+OK ", b"Subject: 1", b"", b"..x", b"line", b"", b"."]),
    "no-number": (b"DELE x", [b"-ERR syntax error"]),
}


@pytest.mark.parametrize("size", [1 << 20, 1, 5])
@pytest.mark.parametrize("name", DIALOGUES)
def test_dialogue(name, size):
    commands, replies = DIALOGUES[name]
    talk = in_pieces(SessionTalk(ONE, TWO, piece=size), commands + b"\r\n", [size])
    assert talk.replies == replies
    assert talk.events[-1] == END


@pytest.mark.parametrize("name", QUIRKS)
def test_quirks(name):
    commands, replies = QUIRKS[name]
    assert SessionTalk(ONE, TWO, quirks=True).send(commands + b"\r\n").replies == replies


def test_what_the_driver_is_asked():
    talk = SessionTalk(ONE, TWO).send(
        b"STAT\r\nLIST\r\nLIST 1\r\nUIDL\r\nUIDL 2\r\nTOP 2 0\r\nDELE 2\r\nQUIT\r\nNOOP\r\n"
    )
    assert talk.events == [(SIZES,), (UIDS,), (CONTENT, 1), (UPDATE, [1]), (CLOSE, "quit")]
    assert talk.replies[-2:] == [b"+OK ", b"+OK "]


def test_what_came_behind_the_log_in():
    talk = SessionTalk(ONE, rest=b"NOOP\r\nLA").send(b"ST\r\n")
    assert talk.replies == [b"+OK ", b"+OK 0"]


@pytest.mark.parametrize(("quirks", "replies"), [
    (False, [b"-ERR [SYS/TEMP] unable to unlink all deleted messages"]),
    (True, [b"-ERR unable to unlink all deleted messages"] * 2 + [b"+OK "]),
])  # fmt: skip
def test_messages_that_stay(quirks, replies):
    talk = SessionTalk(ONE, TWO, quirks=quirks, failures=2).send(b"DELE 1\r\nDELE 2\r\nQUIT\r\n")
    assert talk.replies[2:] == replies
    assert talk.events == [(UPDATE, [0, 1]), (CLOSE, "quit")]


def test_without_quit_nothing_is_removed():
    assert SessionTalk(ONE).send(b"DELE 1\r\n").send(b"").events == [END]
    talk = SessionTalk(ONE).send(b"DELE 1\r\n")
    talk.session.timeout()
    talk.pump()
    assert talk.events == [(CLOSE, "timeout")]


def test_a_message_that_can_not_be_opened():
    assert SessionTalk(None).send(b"RETR 1\r\nNOOP\r\n").replies == [b"-ERR unable to open that message", b"+OK "]


def test_a_message_that_breaks_off_ends_the_session():
    served = Session(1, b"RETR 1\r\nNOOP\r\n")
    assert served.next_event() == (CONTENT, 0)
    assert served.content(b"half a li")
    served.broken()
    assert served.next_event() == (CLOSE, "message broken off")
    assert served.take_output() == b"+OK \r\nhalf a li"


def test_top_stops_reading():
    served = Session(1, b"TOP 1 0\r\n")
    assert served.next_event() == (CONTENT, 0)
    assert served.content(b"a: b\n")
    assert not served.content(b"\nbody\n")
    assert served.take_output() == b"+OK \r\na: b\r\n\r\n.\r\n"
    assert not served.waiting


def test_whole_messages():
    served = Session(2, b"RETR 1\r\nTOP 2 1\r\n")
    assert served.next_event() == (CONTENT, 0)
    assert served.waiting
    served.whole(b".")
    assert served.next_event() == (CONTENT, 1)
    served.whole(TWO)
    assert served.next_event() is None
    assert served.take_output() == b"+OK \r\n..\r\n.\r\n+OK \r\nSubject: 2\r\n\r\na\r\n.\r\n"


def test_answers_that_nobody_waits_for():
    served = Session(1)
    for answer in (
        lambda: served.sizes([1]),
        lambda: served.uids([b"x"]),
        lambda: served.content(b""),
        lambda: served.whole(b""),
        served.unavailable,
        served.broken,
        lambda: served.updated(0),
    ):
        with pytest.raises(RuntimeError):
            answer()


def test_much_output_is_written_before_the_next_command():
    talk = SessionTalk(b"x" * (MUCH + 1)).send(b"RETR 1\r\n" * 5)
    assert talk.events == [(CONTENT, 0), (FLUSH,)] * 5
    served = Session(10_000, b"UIDL\r\n" * 100)
    assert served.next_event() == (UIDS,)
    served.uids([b"x" * 70] * 10_000)
    assert served.next_event() == (FLUSH,)
    assert served.next_event() == (FLUSH,)
    assert len(served.take_output()) < 900_000
    assert served.next_event() == (FLUSH,)


def test_bad_commands_are_limited_but_not_questions_for_what_is_gone():
    talk = SessionTalk(ONE, max_bad_commands=2).send(b"DELE 1\r\n" + b"DELE 1\r\nLIST 7\r\n" * 20 + b"X\r\n" * 5)
    assert talk.replies[-3:] == [b"-ERR unimplemented", b"-ERR unimplemented", b"-ERR too many bad commands"]
    assert talk.events == [(SIZES,), (CLOSE, "too many bad commands")]


def test_shutdown():
    talk = SessionTalk(ONE)
    talk.session.shutdown()
    talk.pump()
    assert talk.replies == [b"-ERR [SYS/TEMP] service shutting down, try again"]


def test_capabilities():
    assert b"PIPELINING" in SessionTalk().send(b"CAPA\r\n").replies
    assert b"USER" not in SessionTalk(plain=False).send(b"CAPA\r\n").replies


def test_an_empty_mailbox():
    talk = SessionTalk().send(b"STAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nQUIT\r\n")
    assert talk.replies == [b"+OK 0 0", b"+OK ", b".", b"+OK ", b".", b"-ERR not that many messages", b"+OK "]


def test_the_modules_words_for_events_are_all_different():
    assert len({session.SIZES, session.UIDS, session.CONTENT, session.UPDATE, session.FLUSH, session.CLOSE}) == 6
