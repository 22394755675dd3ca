"""What the original was seen to do, and the four places where Quail answers otherwise: see quail.smtp.server."""

import pytest
from tests.unit.smtp.conversation import Talk, three_ways

MAIL = b"MAIL FROM:<s@x>\r\n"


def envelope(sender_line, recipient_line, **changes):
    """(sender, recipient) as stored."""
    hosts = frozenset((b"example.com", b"mx.example.com"))
    values = {"accepts_host": lambda host: host.lower() in hosts, "localiphost": b"mx.example.com"}
    values["local_addresses"] = frozenset((b"127.0.0.1", b"0.0.0.0"))
    talk = three_ways(sender_line + b"\r\n" + recipient_line + b"\r\nDATA\r\n.\r\n", **(values | changes))
    assert talk.codes == [250, 250, 354, 250], talk.replies
    return talk.events[0][1], talk.events[0][2][0]


@pytest.mark.parametrize(
    ("line", "sender"),
    [(b"MAIL", b""), (b'MAIL FROM:<a\\"q@x>', b'a"q@x'), (b"MAIL FROM:<b@[127.0.0.1]>", b"b@mx.example.com")],
)
def test_senders(line, sender):
    assert envelope(line, b"RCPT TO:<a@example.com>")[0] == sender


@pytest.mark.parametrize(
    ("line", "recipient"),
    [
        (b'RCPT TO:<"x y"@EXAMPLE.com>', b"x y@EXAMPLE.com"),
        (b"RCPT TO: c@example.com foo", b"c@example.com"),
        (b"RCPT TO:<@r1,@r2:d@example.com>", b"d@example.com"),
        (b"RCPT TO:<nodomain>", b"nodomain"),
        (b"RCPT TO:<b@[0.0.0.0]>", b"b@mx.example.com"),
        (b'RCPT TO:<"a>b"@mx.example.com>', b"a>b@mx.example.com"),
        (b"RCPT TO:x<c@mx.example.com", b"c@mx.example.com"),
    ],
)
def test_recipients(line, recipient):
    assert envelope(b"MAIL FROM:<s@x>", line)[1] == recipient


def test_a_local_literal_is_rewritten_before_rcpthosts():
    talk = three_ways(
        MAIL + b"RCPT TO:<e@[127.0.0.1]>\r\n", localiphost=b"mx.example.com", local_addresses=frozenset((b"127.0.0.1",))
    )
    assert talk.codes == [250, 553]


def test_relayclient():
    assert envelope(b"MAIL", b"RCPT TO:<a@other.com>", relayclient=b"@fix")[1] == b"a@other.com@fix"


def test_dots():
    talk = three_ways(MAIL + b"RCPT TO:<a@example.com>\r\nDATA\r\n..dot\r\n.x\r\n.\r\n")
    assert talk.messages[0][2] == b".dot\nx\n"


def test_databytes():
    data = MAIL + b"RCPT TO:<a@example.com>\r\nDATA\r\nx\r\n.\r\n"
    assert three_ways(data, databytes=1).codes[-1] == 552
    assert three_ways(data, databytes=2).codes[-1] == 250


def test_hops():
    header = b"Received: a\r\n" * 50 + b"DELIVERED-xyz: b\r\n" * 50
    assert three_ways(MAIL + b"RCPT TO:<a@example.com>\r\nDATA\r\n" + header + b"\r\n.\r\n").codes[-1] == 554


@pytest.mark.parametrize(("length", "code"), [(899, 250), (900, 555)])
def test_address_length(length, code):
    address = b"a" * (length - len(b"@example.com")) + b"@example.com"
    assert three_ways(MAIL + b"RCPT TO:<" + address + b">\r\n").codes[-1] == code
    assert three_ways(b"MAIL FROM:<" + address + b">\r\n").codes == [code]


# Where Quail differs.


def test_unknown_parameters_are_refused():
    assert Talk().send(MAIL + b"RCPT TO:<@r1,@r2:d@example.com> X=1\r\n").codes == [250, 555]


def test_a_bare_cr_is_refused():
    assert Talk().send(MAIL + b"RCPT TO:<a@example.com>\r\nDATA\r\nbare CR \rcr\r\n.\r\n").codes[-1] == 554


def test_a_bare_lf_does_not_end_the_connection():
    talk = Talk().send(MAIL + b"RCPT TO:<a@example.com>\r\nDATA\r\nbare LF \ncr\r\n.\r\nNOOP\r\n")
    assert talk.codes[-2:] == [554, 250]


def test_a_command_that_ends_in_a_bare_lf_is_refused():
    assert Talk().send(b"NOOP\n").codes == [500]
