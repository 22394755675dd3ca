"""Laws of the POP3 machines: cuts do not matter, messages come out as they are stored, sizes are what comes."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.pop3.pop3_talk import LoginTalk, SessionTalk, in_pieces, wire_size

from quail.pop3.login import ACCEPTED, BROKEN, IN_USE, REFUSED, TROUBLE
from quail.pop3.wire import Extra, Wire

DIGEST = b"c4c9334bac560ecc979e58001b3e22fb"
LOGIN_WORDS = [
    b"USER a\r\n", b"USER \r\n", b"PASS b\r\n", b"PASS  c d\n", b"PASS\r\n", b"APOP a " + DIGEST + b"\r\n", b"APOP a\r\n",
    b"NOOP\r\n", b"CAPA\r\n", b"UTF8\r\n", b"QUIT\r\n", b"STAT\r\n", b"\r\n", b"\r", b"\n", b" ", b"\0", b"\xff", b"x" * 300,
]  # fmt: skip
SESSION_WORDS = [
    b"STAT\r\n", b"LIST\r\n", b"LIST 1\r\n", b"UIDL\r\n", b"UIDL 2\n", b"RETR 1\r\n", b"RETR 2\r\n", b"RETR 3\r\n",
    b"TOP 1 0\r\n", b"TOP 2 1\r\n", b"TOP 2 9\r\n", b"DELE 1\r\n", b"DELE 2\r\n", b"RSET\r\n", b"LAST\r\n", b"NOOP\r\n",
    b"CAPA\r\n", b"UTF8\r\n", b"QUIT\r\n", b"RETR ", b"TOP ", b"1", b"0", b"99", b" ", b"\r", b"\n", b"\0", b"\xff", b"x" * 300,
]  # fmt: skip
verdicts = st.lists(st.sampled_from([(REFUSED,), (TROUBLE, b"x"), (BROKEN,), (IN_USE,), (ACCEPTED,)]), max_size=6)
logins = st.lists(st.sampled_from(LOGIN_WORDS) | st.binary(max_size=20), max_size=40).map(b"".join)
sessions = st.lists(st.sampled_from(SESSION_WORDS) | st.binary(max_size=20), max_size=40).map(b"".join)
stored = st.lists(st.sampled_from([b"\n", b"\r", b".", b"\r\n", b"a", b"b: c\n", b"\n.\n"]), max_size=25).map(b"".join)
cuts = st.lists(st.integers(1, 40), min_size=1, max_size=10)


@given(logins, cuts, verdicts, st.booleans(), st.booleans())
def test_the_cut_of_a_log_in_does_not_matter(data, sizes, given_verdicts, classic, plain):
    def run(sizes):
        talk = in_pieces(LoginTalk(*given_verdicts, classic=classic, plain=plain), data, sizes)
        return talk.events, talk.output, talk.login.rest()

    assert run(sizes) == run([len(data) or 1]) == run([1])


@given(sessions, cuts, stored, stored, st.integers(1, 9), st.booleans())
def test_the_cut_of_a_session_does_not_matter(data, sizes, one, two, piece, quirks):
    def run(sizes, piece):
        talk = in_pieces(SessionTalk(one, two, piece=piece, quirks=quirks, failures=1), data, sizes)
        assert talk.events[-1][0] == "close"
        return talk.events, talk.output

    assert run(sizes, piece) == run([len(data) or 1], 1 << 16) == run([1], 1)


@given(sessions, st.integers(0, 1000))
def test_it_does_not_matter_what_has_come_behind_the_log_in(data, at):
    apart = (
        SessionTalk(b"x\n", rest=data[:at]).send(data[at:]).send(b"")
        if data[at:]
        else SessionTalk(b"x\n", rest=data).send(b"")
    )
    together = SessionTalk(b"x\n").send(data).send(b"") if data else SessionTalk(b"x\n").send(b"")
    assert (apart.events, apart.output) == (together.events, together.output)


@given(stored, st.integers(1, 9))
def test_a_message_comes_out_as_it_is_stored_and_has_the_size_that_is_told(message, piece):
    talk = SessionTalk(message, piece=piece).send(b"LIST 1\r\nRETR 1\r\n")
    size = int(talk.output.split(b"\r\n")[1].split()[2])
    head = b"+OK \r\n+OK 1 %d\r\n+OK \r\n" % size
    assert talk.output.startswith(head)
    assert talk.output.endswith(b".\r\n")
    text = talk.output[len(head) : -3]
    # A client: no line is a dot alone, and one dot goes from each line that begins with one.
    lines = text.split(b"\r\n")
    assert lines.pop() == b""
    assert b"." not in lines
    plain = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)
    assert len(plain) == size
    ended = message if not message or message.endswith(b"\n") else message + b"\n"
    if not message.endswith(b"\r"):
        assert plain.replace(b"\r\n", b"\n") == ended.replace(b"\r\n", b"\n")


@given(stored, st.integers(0, 5), st.integers(1, 9))
def test_top_is_the_beginning_of_the_message(message, lines, piece):
    whole, part = (
        SessionTalk(message, piece=piece).send(command) for command in (b"RETR 1\r\n", b"TOP 1 %d\r\n" % lines)
    )
    text, top = (talk.output[len(b"+OK \r\n" * 2) : -3] for talk in (whole, part))
    assert text.startswith(top)
    head, empty, body = text.partition(b"\r\n\r\n") if not text.startswith(b"\r\n") else (b"", b"\r\n", text[2:])
    wanted = body.split(b"\r\n")[: lines + 1]
    assert top == head + empty + b"\r\n".join([*wanted[:lines], b""] if len(wanted) > lines else wanted)


@given(stored, cuts)
def test_growth_however_it_is_cut(message, sizes):
    extra = Extra()
    wire = Wire()
    text = b""
    at = turn = 0
    while at < len(message):
        size = sizes[turn % len(sizes)]
        extra.feed(message[at : at + size])
        text += wire.feed(message[at : at + size])
        at += size
        turn += 1
    assert len(message) + extra.count == wire_size(message)
    assert text + wire.finish() == (whole := Wire()).feed(message) + whole.finish()
