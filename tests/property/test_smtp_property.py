"""Any bytes, however cut, give the same events and replies; and what goes in as a message comes out as it was."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.smtp.conversation import Talk, in_pieces, mail

from quail.message.address import quote
from quail.smtp.path import parse

WORDS = [
    b"\r\n", b"\n", b"\r", b".", b"\r\n.\r\n", b"\r\n..", b"a", b" ", b"\0", b"\xff", b"x" * 40,
    b"EHLO a\r\n", b"HELO b\r\n", b"LHLO c\r\n", b"MAIL FROM:<a@b>\r\n", b"MAIL FROM:<a@b> SIZE=60\r\n",
    b"MAIL FROM:<a@b> BODY=8BITMIME\r\n",
    b"RCPT TO:<c@example.com>\r\n", b"RCPT TO:<nobody@example.com>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n", b"RSET\r\n",
    b"NOOP\r\n", b"VRFY x\r\n", b"HELP\r\n", b"QUIT\r\n", b"Received: x\r\n", b"Subject: y\r\n",
    mail(b""), mail(b"Received:\r\n" * 99), mail(b"x\r\n.\r\n"),
]  # fmt: skip
dialogues = st.lists(st.sampled_from(WORDS) | st.binary(max_size=20), max_size=40).map(b"".join)
limits = st.fixed_dictionaries(
    {
        "databytes": st.sampled_from([0, 5, 50, 1500]),
        "max_line_length": st.sampled_from([0, 3, 50]),
        "max_recipients": st.sampled_from([0, 2]),
        "max_bad_commands": st.sampled_from([0, 3, 50]),
        "max_junk_commands": st.sampled_from([0, 3, 50]),
        "check_recipients": st.booleans(),
        "relayclient": st.sampled_from([None, b"", b"@fix"]),
        "lmtp": st.booleans(),
    }
)


@given(dialogues, st.lists(st.integers(1, 40), min_size=1, max_size=10), limits)
def test_the_cut_does_not_matter(data, sizes, served):
    whole = in_pieces(data, [len(data) or 1], **served)
    cut = in_pieces(data, sizes, **served)
    assert (cut.events, cut.output) == (whole.events, whole.output)
    bytewise = in_pieces(data, [1], **served)
    assert (bytewise.events, bytewise.output) == (whole.events, whole.output)


@given(dialogues, limits)
def test_every_session_ends_and_every_message_ends_once(data, served):
    kinds = [event[0] for event in in_pieces(data, [17], **served).events if event[0] not in ("recipient", "body")]
    assert kinds.pop() == "close"
    assert kinds[::2] == ["begin"] * len(kinds[::2])
    assert all(kind in ("end", "abandon") for kind in kinds[1::2])
    assert len(kinds) % 2 == 0


@given(dialogues, limits)
def test_lmtp_is_smtp_with_a_reply_for_each_recipient(data, served):
    """Without HELO and its like: the same events, and the same replies but for those to messages, which are repeated."""
    data = data.replace(b"EHLO", b"NOOP").replace(b"HELO", b"NOOP").replace(b"LHLO", b"NOOP")
    smtp, lmtp = (in_pieces(data, [17], **served | {"lmtp": lmtp}) for lmtp in (False, True))
    assert lmtp.events == smtp.events
    counts = [len(event[2]) for event in smtp.events if event[0] == "begin"]
    wanted = []
    in_text = False
    for reply in smtp.replies:
        at_end = in_text and not reply.startswith(b"451 4.4.2")
        wanted += [reply] * (counts.pop(0) if at_end else 1)
        in_text = reply.startswith(b"354")
    assert lmtp.replies == wanted


lines = st.lists(st.binary(max_size=12).filter(lambda line: b"\r" not in line and b"\n" not in line), max_size=8)


@given(lines, st.integers(1, 30))
def test_a_message_comes_out_as_it_was(text, size):
    stuffed = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in text)
    data = mail(stuffed + b".\r\n")
    talk = Talk()
    for at in range(0, len(data), size):
        talk.send(data[at : at + size])
    assert talk.messages == [(b"s@example.org", [b"r@example.com"], b"".join(line + b"\n" for line in text))]


@given(st.binary(max_size=40).filter(lambda word: not word.startswith(b"@")))
def test_a_quoted_address_is_read_as_it_was(address):
    if b"@" in address and b">" in address.rpartition(b"@")[2]:
        return  # a host is never quoted
    if any(byte in address.rpartition(b"@")[2] for byte in b'"\\'):
        return
    if address and b"@" not in address:
        address += b"@example.com"
    assert parse(b"FROM:<" + quote(address) + b">")[0] == address
