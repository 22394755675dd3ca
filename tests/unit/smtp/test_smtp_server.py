"""Dialogues as tables: each whole, byte by byte, and with more bytes behind it."""

import pytest
from tests.unit.smtp.conversation import ACCEPTED, Talk, mail, settings, three_ways

from quail.errors import TemporaryError
from quail.smtp.server import ABANDON, BEGIN, BODY, CLOSE, END, RECIPIENT, Session
from quail.smtp.settings import MIN_COMMAND_LENGTH

MAIL = b"MAIL FROM:<s@example.org>\r\n"
RCPT = b"RCPT TO:<r@example.com>\r\n"
EHLO = [
    b"250-mx.example.com",
    b"250-PIPELINING",
    b"250-8BITMIME",
    b"250-SIZE 0",
    b"250-SMTPUTF8",
    b"250 ENHANCEDSTATUSCODES",
]
MAIL_OK, RCPT_OK, GO_AHEAD = b"250 2.1.0 ok", b"250 2.1.5 ok", b"354 go ahead"
MAIL_FIRST, RCPT_FIRST = b"503 5.5.1 MAIL first", b"503 5.5.1 RCPT first"
LINE_END = b"500 5.5.2 command lines end with CR LF, and no other CR or LF is in them (RFC 5321 section 2.3.8)"
UNKNOWN_PARAMETER = b"555 5.5.4 parameter not recognized or not implemented"
NO_RELAY = b"553 5.7.1 sorry, that domain isn't in my list of allowed rcpthosts"
BAD_RECIPIENT = b"553 5.1.3 sorry, that recipient address is empty or has a control character"

COMMANDS = {
    b"HELO a": [b"250 mx.example.com"],
    b"HELO": [b"250 mx.example.com"],
    b"EHLO a": EHLO,
    b"ehlo": EHLO,
    b"MAIL FROM:<a@b>": [MAIL_OK],
    b"mAiL fRoM:<a@b>": [MAIL_OK],
    b"MAIL": [MAIL_OK],
    b"MAIL FROM:<>": [MAIL_OK],
    b"MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME SMTPUTF8": [MAIL_OK],
    b"MAIL FROM:<a@b> X=1": [UNKNOWN_PARAMETER],
    b"MAIL FROM:<a@b> SIZE=x": [b"501 5.5.4 malformed parameter"],
    b"MAIL FROM:a@b X=1": [MAIL_OK],
    b"MAIL FROM:<a\0@b>": [b"553 5.1.7 sorry, that sender address has a control character"],
    b"RCPT TO:<a@example.com>": [MAIL_FIRST],
    b"DATA": [MAIL_FIRST],
    b"RSET": [b"250 2.0.0 flushed"],
    b"RSET x": [b"250 2.0.0 flushed"],
    b"NOOP": [b"250 2.0.0 ok"],
    b"noop": [b"250 2.0.0 ok"],
    b"VRFY a": [b"252 2.0.0 send some mail, i'll try my best"],
    b"HELP": [b"214 2.0.0 https://www.rfc-editor.org/rfc/rfc5321"],
    b"QUIT": [b"221 2.0.0 mx.example.com"],
    b"quit ": [b"221 2.0.0 mx.example.com"],
    b"EXPN a": [b"502 5.5.1 unimplemented"],
    b"STARTTLS": [b"502 5.5.1 unimplemented"],
    b"": [b"502 5.5.1 unimplemented"],
    b" QUIT": [b"502 5.5.1 unimplemented"],
    b"QUIT\t": [b"502 5.5.1 unimplemented"],
    b"MAILFROM:<a@b>": [b"502 5.5.1 unimplemented"],
    b"QUI\0T": [b"502 5.5.1 unimplemented"],
    b"NOOP\r": [LINE_END],
    b"NO\rOP": [LINE_END],
    b"\r": [LINE_END],
}


@pytest.mark.parametrize("line", COMMANDS, ids=repr)
def test_command(line):
    assert three_ways(line + b"\r\n").replies == COMMANDS[line]


@pytest.mark.parametrize("line", [b"QUIT\n", b"\n", b"MAIL FROM:<a@b>\n", b"NO\rOP\n", b"\r\r\n"], ids=repr)
def test_command_with_a_bad_line_end(line):
    talk = three_ways(line + b"NOOP\r\n")
    assert talk.replies == [LINE_END, b"250 2.0.0 ok"]
    assert talk.closed is None


RECIPIENTS = {
    b"RCPT TO:<a@example.com>": RCPT_OK,
    b"RCPT TO:<a@EXAMPLE.com>": NO_RELAY,  # this rule of the test knows lower case alone
    b"RCPT TO:<a@example.com> ": RCPT_OK,
    b"RCPT TO:<a@other.example>": NO_RELAY,
    b"RCPT TO:<a>": RCPT_OK,
    b"RCPT TO:<a@example.com@other.example>": NO_RELAY,
    b"RCPT TO:<a@other.example@example.com>": RCPT_OK,
    b"RCPT TO:<a@example.com> NOTIFY=NEVER": UNKNOWN_PARAMETER,
    b"RCPT TO:<>": BAD_RECIPIENT,
    b"RCPT": BAD_RECIPIENT,
    b"RCPT TO:<a\0@example.com>": BAD_RECIPIENT,
    b"RCPT TO:<a\t@example.com>": BAD_RECIPIENT,
    b"RCPT TO:<" + b"a" * 887 + b"@example.com>": RCPT_OK,
    b"RCPT TO:<" + b"a" * 888 + b"@example.com>": b"555 5.5.4 syntax error",
}


@pytest.mark.parametrize("line", RECIPIENTS, ids=lambda line: repr(line[:50]))
def test_recipient(line):
    assert three_ways(MAIL + line + b"\r\n").replies == [MAIL_OK, RECIPIENTS[line]]


def test_a_message():
    talk = three_ways(b"EHLO me\r\n" + mail(b"Subject: x\r\n\r\n..\r\n.\r\n") + b"QUIT\r\n")
    assert talk.replies == [*EHLO, MAIL_OK, RCPT_OK, GO_AHEAD, ACCEPTED, b"221 2.0.0 mx.example.com"]
    assert talk.events == [
        (BEGIN, b"s@example.org", [b"r@example.com"], []),
        (BODY, b"Subject: x\n\n.\n"),
        (END,),
        (CLOSE, "quit"),
    ]
    assert (talk.session.helo, talk.session.esmtp) == (b"me", True)


def test_an_empty_message_has_no_body_event():
    assert [event[0] for event in three_ways(mail(b".\r\n")).events] == [BEGIN, END]


def test_two_messages_do_not_share_anything():
    talk = three_ways(
        b"MAIL FROM:<a@b> BODY=8BITMIME SMTPUTF8\r\n" + RCPT + RCPT + b"DATA\r\none\r\n.\r\n" + mail(b"two\r\n.\r\n")
    )
    assert talk.events[0] == (
        BEGIN, b"a@b", [b"r@example.com", b"r@example.com"], [(b"body", b"8bitmime"), (b"smtputf8", b"")],
    )  # fmt: skip
    assert talk.events[3] == (BEGIN, b"s@example.org", [b"r@example.com"], [])
    assert [text for _, _, text in talk.messages] == [b"one\n", b"two\n"]


@pytest.mark.parametrize("reset", [b"RSET", b"HELO a", b"EHLO a", b"MAIL FROM:<a@b>"])
def test_what_resets_the_transaction(reset):
    talk = three_ways(MAIL + RCPT + reset + b"\r\nDATA\r\n")
    assert talk.replies[-1] == (RCPT_FIRST if reset.startswith(b"MAIL") else MAIL_FIRST)
    assert talk.events == []


@pytest.mark.parametrize(
    "refused", [b"MAIL FROM:<a@b> X=1", b"MAIL FROM:<a\x01@b>", b"MAIL FROM:<" + b"a" * 900 + b">"]
)
def test_a_refused_mail_ends_the_transaction_before_it(refused):
    assert three_ways(MAIL + RCPT + refused + b"\r\nDATA\r\n").replies[-1] == MAIL_FIRST


def test_data_needs_a_recipient():
    assert three_ways(MAIL + b"RCPT TO:<a@other.example>\r\nDATA\r\n").codes == [250, 553, 503]


@pytest.mark.parametrize("reply", [b"451 4.3.0 no", b"554 5.3.0 no"])
def test_the_drivers_refusal_of_a_message(reply):
    talk = three_ways(mail(b"x\r\n.\r\n") + b"DATA\r\n", reply=reply)
    assert talk.replies == [MAIL_OK, RCPT_OK, GO_AHEAD, reply, MAIL_FIRST]


# ---- size


def test_size_is_announced_and_checked():
    talk = three_ways(
        b"EHLO a\r\nMAIL FROM:<a@b> SIZE=101\r\nMAIL FROM:<a@b> SIZE=100\r\n"
        + RCPT
        + b"DATA\r\n"
        + b"x" * 100
        + b"\r\n.\r\n",
        databytes=100,
    )
    assert b"250-SIZE 100" in talk.replies
    assert talk.replies[6:] == [
        b"552 5.3.4 sorry, that message size exceeds my databytes limit",
        MAIL_OK,
        RCPT_OK,
        GO_AHEAD,
        b"552 5.3.4 sorry, that message size exceeds my databytes limit",
    ]
    assert talk.abandoned == ["message too big"]


# ---- recipients


def test_relayclient_goes_before_rcpthosts_and_is_appended():
    talk = three_ways(
        MAIL + b"RCPT TO:<a@other.example>\r\nRCPT TO:<b>\r\nDATA\r\n.\r\n", relayclient=b"@fix", check_recipients=True
    )
    assert talk.events[:2] == [(RECIPIENT, b"a@other.example@fix"), (RECIPIENT, b"b@fix")]
    assert talk.events[2][2] == [b"a@other.example@fix", b"b@fix"]


def test_the_driver_decides_about_recipients_that_passed_all_else():
    talk = three_ways(
        MAIL + RCPT + b"RCPT TO:<nobody@example.com>\r\nRCPT TO:<x@other.example>\r\nDATA\r\n.\r\n",
        check_recipients=True,
    )
    assert talk.codes == [250, 250, 550, 553, 354, 250]
    assert talk.events[:3] == [
        (RECIPIENT, b"r@example.com"),
        (RECIPIENT, b"nobody@example.com"),
        (BEGIN, b"s@example.org", [b"r@example.com"], []),
    ]


def test_badmailfrom_is_answered_at_rcpt_and_asked_once_a_transaction():
    asked = []

    def bad(sender):
        asked.append(sender)
        return sender == b"bad@x"

    talk = Talk(badmailfrom=bad).send(b"MAIL FROM:<bad@x>\r\n" + RCPT + RCPT + MAIL + RCPT)
    assert talk.replies == [
        MAIL_OK,
        b"553 5.7.1 sorry, your envelope sender is in my badmailfrom list",
        b"553 5.7.1 sorry, your envelope sender is in my badmailfrom list",
        MAIL_OK,
        RCPT_OK,
    ]
    assert asked == [b"bad@x", b"s@example.org"]


def test_trouble_with_a_list_defers_the_recipient():
    def trouble(_host):
        raise TemporaryError("morercpthosts.cdb is damaged")

    talk = three_ways(MAIL + RCPT + b"RCPT TO:<local>\r\n", accepts_host=trouble)
    assert talk.replies[1:] == [b"451 4.3.0 sorry, trouble reading my lists; try again later", RCPT_OK]


@pytest.mark.parametrize(
    ("address", "stored"),
    [
        (b"a@[127.0.0.1]", b"a@mx.example.com"),
        (b"a@[IPv6:::1]", b"a@mx.example.com"),
        (b"a@[ipv6:::1]", b"a@mx.example.com"),
        (b"a@[192.0.2.9]", b"a@[192.0.2.9]"),
        (b"a@127.0.0.1]", b"a@127.0.0.1]"),
        (b"a@b@[127.0.0.1]", b"a@b@mx.example.com"),
        (b"[127.0.0.1]", b"[127.0.0.1]"),
    ],
)
def test_localiphost(address, stored):
    talk = three_ways(
        b"MAIL FROM:<%b>\r\nRCPT TO:<%b>\r\nDATA\r\n.\r\n" % (address, address),
        localiphost=b"mx.example.com",
        local_addresses=frozenset((b"127.0.0.1", b"::1")),
        relayclient=b"",
    )
    assert talk.events[0] == (BEGIN, stored, [stored], [])


def test_without_localiphost_literals_stay():
    talk = three_ways(
        mail(b".\r\n", recipient=b"a@[127.0.0.1]"), local_addresses=frozenset((b"127.0.0.1",)), relayclient=b""
    )
    assert talk.events[0][2] == [b"a@[127.0.0.1]"]


# ---- limits


def test_too_many_recipients_counts_the_refused_too_and_keeps_the_good():
    talk = three_ways(
        MAIL + RCPT + b"RCPT TO:<x@other.example>\r\n" + RCPT + RCPT + b"DATA\r\n.\r\n" + MAIL + RCPT, max_recipients=3
    )
    assert talk.codes == [250, 250, 553, 250, 452, 354, 250, 250, 250]
    assert talk.replies[4] == b"452 4.5.3 sorry, too many recipients; the others in a message of their own"
    assert talk.events[0][2] == [b"r@example.com"] * 2


def test_too_many_bad_commands():
    talk = three_ways(b"BAD\r\n" * 3 + b"NOOP\r\n", max_bad_commands=2)
    assert talk.replies == [b"502 5.5.1 unimplemented"] * 2 + [b"421 4.7.0 sorry, too many bad commands"]
    assert talk.closed == "too many bad commands"


@pytest.mark.parametrize(
    "line", [b"BAD\r\n", b"NOOP\n", b"RCPT TO:<a@b>\r\n", b"DATA\r\n", b"MAIL FROM:<a> X\r\n", b"x" * 3000 + b"\r\n"]
)
def test_what_counts_as_bad(line):
    assert three_ways(line, max_bad_commands=1).closed is None
    assert three_ways(line * 2, max_bad_commands=1).closed == "too many bad commands"


def test_the_pipeline_behind_a_refusal_is_not_bad():
    too_big = b"MAIL FROM:<a@b> SIZE=11\r\n" + RCPT * 4 + b"DATA\r\n"
    assert three_ways(too_big * 3, databytes=10, max_bad_commands=1).codes == [552, 503, 503, 503, 503, 503] * 3
    refused = MAIL + b"RCPT TO:<a@other.example>\r\nDATA\r\n"
    assert three_ways(refused * 3, max_bad_commands=1).codes == [250, 553, 503] * 3
    assert three_ways(refused + b"DATA\r\n" * 2, max_bad_commands=1).closed == "too many bad commands"


@pytest.mark.parametrize("line", [b"NOOP", b"RSET", b"VRFY a", b"HELP", b"HELO a", b"EHLO a", b"MAIL FROM:<a@b>"])
def test_too_many_commands_without_mail(line):
    start = MAIL if line.startswith(b"MAIL") else b""
    assert three_ways(start + (line + b"\r\n") * 2, max_junk_commands=2).closed is None
    talk = three_ways(start + (line + b"\r\n") * 3, max_junk_commands=2)
    assert talk.replies[-1] == b"421 4.7.0 sorry, too many commands that bring no mail"
    assert talk.closed == "too many commands without mail"


def test_an_accepted_message_clears_the_counts_and_a_refused_one_does_not():
    data = (b"NOOP\r\nBAD\r\n" + mail(b".\r\n")) * 3
    assert three_ways(data, max_junk_commands=1, max_bad_commands=1).closed is None
    assert three_ways(data, max_junk_commands=1, max_bad_commands=1, reply=b"451 no").closed is not None


@pytest.mark.parametrize("limit", [MIN_COMMAND_LENGTH, 2048])
def test_command_line_length(limit):
    fits = b"NOOP " + b"x" * (limit - 7)
    talk = three_ways(fits + b"\r\n" + fits + b"x\r\n" + fits * 9 + b"\nNOOP\r\n", max_command_length=limit)
    too_long = b"500 5.5.2 command line too long"
    assert talk.replies == [b"250 2.0.0 ok", too_long, too_long, b"250 2.0.0 ok"]


def test_the_smallest_command_limit_is_that_of_the_rfc():
    assert settings(max_command_length=0).max_command_length == MIN_COMMAND_LENGTH


def test_an_endless_command_takes_no_memory():
    talk = Talk(max_command_length=1000)
    for _ in range(100):
        talk.send(b"x" * 10_000)
        assert len(talk.session._part) <= 1001
    assert talk.send(b"\r\nNOOP\r\n").codes == [500, 250]


def test_no_limits_at_all():
    talk = Talk(max_recipients=0, max_bad_commands=0, max_junk_commands=0, max_line_length=0)
    talk.send(MAIL + RCPT * 5000 + b"BAD\r\n" * 500 + b"NOOP\r\n" * 500 + b"DATA\r\n" + b"x" * 100_000 + b"\r\n.\r\n")
    assert talk.replies[-1] == ACCEPTED


# ---- faults of the message


FAULTS = {
    "bare LF": (b"a\nb", b"554 5.6.0 bare LF in the message: lines end with CR LF (RFC 5321 section 2.3.8)"),
    "bare CR": (b"a\rb", b"554 5.6.0 bare CR in the message: lines end with CR LF (RFC 5321 section 2.3.8)"),
    "line too long": (
        b"x" * 101, b"554 5.6.0 sorry, a line of that message is too long (RFC 5321 section 4.5.3.1.6)",
    ),
    "too many hops": (b"Received:\r\n" * 100, b"554 5.4.6 too many hops, this message is looping"),
    "message too big": (
        b"x\r\n" * 1000, b"552 5.3.4 sorry, that message size exceeds my databytes limit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_message_is_refused_at_its_end_in_step(fault):
    text, reply = FAULTS[fault]
    talk = three_ways(
        mail(text + b"\r\nMAIL FROM:<evil@x>\r\n..\r\n.\r\n") + mail(b"good\r\n.\r\n"),
        databytes=1500,
        max_line_length=100,
    )
    assert talk.replies == [MAIL_OK, RCPT_OK, GO_AHEAD, reply, MAIL_OK, RCPT_OK, GO_AHEAD, ACCEPTED]
    assert talk.abandoned == [fault]
    assert [text for _, _, text in talk.messages] == [b"good\n"]


def test_abandon_comes_at_once_and_the_reply_at_the_end():
    talk = Talk().send(mail(b"a\nb"))
    assert talk.abandoned == ["bare LF"]
    assert talk.codes == [250, 250, 354]
    assert talk.send(b"\r\n.\r\n").codes == [250, 250, 354, 554]


# ---- endings


def test_end_of_input():
    assert three_ways(b"NOOP\r\nNOO").send(b"").closed == "end of input"
    assert Talk().send(b"").events == [(CLOSE, "end of input")]


@pytest.mark.parametrize("text", [b"", b"a", b"a\r\n", b"a\r\n.", b"a\r\n.\r"])
def test_a_peer_that_goes_in_the_middle(text):
    talk = three_ways(mail(text)).send(b"")
    assert talk.events[-2:] == [(ABANDON, "peer gone"), (CLOSE, "end of input")]
    assert talk.codes == [250, 250, 354]


def test_a_message_is_given_up_once():
    talk = Talk().send(mail(b"a\nb")).send(b"")
    assert talk.events[1:] == [(ABANDON, "bare LF"), (CLOSE, "end of input")]


def test_nothing_is_heard_after_the_close():
    talk = three_ways(b"QUIT\r\n" + mail(b"x\r\n.\r\n"))
    assert talk.events == [(CLOSE, "quit")]
    assert talk.codes == [221]
    assert talk.send(b"NOOP\r\n").send(b"").events == [(CLOSE, "quit")]


def test_timeout_between_commands():
    talk = Talk().send(b"NO")
    talk.session.timeout()
    talk.pump()
    assert talk.events == [(CLOSE, "timeout")]
    assert talk.replies == [b"451 4.4.2 timeout"]


def test_timeout_in_a_message():
    talk = Talk().send(mail(b"abc"))
    talk.session.timeout()
    talk.pump()
    assert talk.events[1:] == [(ABANDON, "timeout"), (CLOSE, "timeout")]
    assert talk.replies[-1] == b"451 4.4.2 timeout"


def test_shutdown_between_commands():
    talk = Talk().send(b"NOOP\r\nNO")
    talk.session.shutdown()
    talk.pump()
    assert talk.events == [(CLOSE, "shutdown")]
    assert talk.replies == [b"250 2.0.0 ok", b"421 4.3.2 service shutting down, try again"]


def test_shutdown_lets_the_message_at_hand_end():
    talk = Talk().send(mail(b"abc"))
    talk.session.shutdown()
    talk.send(b"\r\n.\r\nNOOP\r\n")
    assert talk.codes == [250, 250, 354, 250, 421]
    assert talk.closed == "shutdown"


# ---- a driver that takes its time


class Waiting:
    """A session whose driver owes an answer."""

    def __init__(self, data, **changes):
        self.session = Session(settings(check_recipients=True, **changes))
        self.session.receive(data)

    def until(self, kind):
        while (event := self.session.next_event()) is not None:
            if event[0] == kind:
                return event
        raise AssertionError(kind)


def test_nothing_goes_on_before_the_verdict():
    waiting = Waiting(MAIL + RCPT + b"NOOP\r\n")
    session = waiting.session
    waiting.until(RECIPIENT)
    assert session.waiting
    for more in (b"NO", b"OP", b"\r\n", b""):
        session.receive(more)
        assert session.next_event() is None
    session.timeout()
    assert session.take_output() == MAIL_OK + b"\r\n"
    session.recipient_verdict(b"450 4.2.0 later")
    assert not session.waiting
    assert session.next_event() == (CLOSE, "end of input")
    assert session.take_output() == b"450 4.2.0 later\r\n250 2.0.0 ok\r\n250 2.0.0 ok\r\n"


def test_nothing_goes_on_before_the_reply():
    waiting = Waiting(mail(b"x\r\n.\r\nNOOP\r\n"), relayclient=b"")
    session = waiting.session
    waiting.until(RECIPIENT)
    session.recipient_verdict(None)
    waiting.until(END)
    assert session.waiting
    session.timeout()
    assert session.next_event() is None
    session.take_output()
    session.message_done(ACCEPTED)
    assert session.next_event() is None
    assert session.take_output() == ACCEPTED + b"\r\n250 2.0.0 ok\r\n"


@pytest.mark.parametrize("text", [b"x\r\n.\r\n", b"x\ny\r\n.\r\n", b".\r\n"])
def test_an_early_refusal_is_kept_until_the_true_end(text):
    talk = Talk().send(mail(b""))
    talk.session.message_done(b"451 4.3.0 the queue has gone")
    talk.session.message_done(b"554 5.3.0 twice")
    for byte in text:
        assert talk.codes == [250, 250, 354]
        talk.send(bytes((byte,)))
    assert talk.replies[-1] == b"451 4.3.0 the queue has gone"
    assert [event[0] for event in talk.events] == [BEGIN]
    assert talk.send(b"").events[1:] == [(CLOSE, "end of input")]


def test_a_reply_before_the_driver_has_seen_the_end():
    session = Session(settings())
    session.receive(mail(b"x\r\n.\r\nNOOP\r\n"))
    assert session.next_event()[0] == BEGIN
    assert session.next_event() == (BODY, b"x\n")
    session.message_done(b"451 4.3.0 the queue has gone")
    assert session.next_event() is None
    assert session.take_output().endswith(b"354 go ahead\r\n451 4.3.0 the queue has gone\r\n250 2.0.0 ok\r\n")


def test_answers_that_nobody_waits_for_are_bugs_of_the_driver():
    talk = Talk()
    with pytest.raises(RuntimeError):
        talk.session.recipient_verdict(None)
    with pytest.raises(RuntimeError):
        talk.session.message_done(ACCEPTED)
    talk.send(mail(b"abc"))
    with pytest.raises(RuntimeError):
        talk.session.message_done(ACCEPTED)
    talk.session.timeout()
    talk.pump()
    talk.session.message_done(ACCEPTED)  # the queue's answer came after the peer had been given up
    assert talk.codes == [250, 250, 354, 451]


def test_replies_are_gathered_while_there_is_input():
    session = Session(settings())
    session.start()
    session.receive(b"EHLO a\r\n" + MAIL + RCPT * 3 + b"DATA\r\n")
    assert session.next_event()[0] == BEGIN
    assert session.next_event() is None
    assert session.take_output().count(b"\r\n") == 1 + 6 + 1 + 3 + 1
    assert session.take_output() == b""
