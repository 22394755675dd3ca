"""SMTP smuggling: no sequence but CR LF . CR LF may end a message, for then the rest of the text would be commands.

Every pair of look-alikes before and behind the dot is tried, whole, byte by byte, and in all cuts around the dot. The
message is either refused or taken as one, and always the session is in step behind its true end.
"""

import itertools

import pytest
from tests.unit.smtp.conversation import ACCEPTED, Talk, mail, three_ways

BREAKS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\n\r",
    b"\r\r\n",
    b"\r\n\n",
    b"\n\r\n",
    b"\r\n\r",
    b"\n\n",
    b"\r\r",
    b"\0\r\n",
    b"\r\0\n",
    b"\r\n\0",
    b"\x0b",
    b"\x0c",
    b"\x1c",
    b"\xc2\x85",
    b"\x85",
    b"\xe2\x80\xa8",
    b" \r\n",
    b"\t\n",
]
SMUGGLED = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nevil\r\n"
PAIRS = [
    pair
    for pair in itertools.product(BREAKS, repeat=2)
    if not (pair[0].endswith(b"\r\n") and pair[1].startswith(b"\r\n"))
]


def is_bare(text):
    rest = text.replace(b"\r\n", b"")
    return b"\r" in rest or b"\n" in rest


def judge(talk, text):
    """One transaction, one reply to it, and the command behind its end is obeyed."""
    begins = [event for event in talk.events if event[0] == "begin"]
    assert [event[1] for event in begins] == [b"s@example.org"]
    assert talk.codes[:3] == [250, 250, 354]
    assert len(talk.codes) == 5
    assert talk.codes[4] == 252
    if is_bare(text):
        assert talk.replies[3].startswith(b"554 5.6.0 bare ")
        assert talk.messages == []
    else:
        assert talk.replies[3] == ACCEPTED
        ((_, _, stored),) = talk.messages
        assert b"\r" not in stored
        assert b"evil@example.org" in stored


@pytest.mark.parametrize("before", BREAKS, ids=repr)
def test_look_alikes_do_not_end_the_message(before):
    tried = 0
    for after in BREAKS:
        if (before, after) not in PAIRS:
            continue
        text = b"Subject: x\r\n\r\nhello" + before + b"." + after + SMUGGLED
        data = mail(text + b".\r\nVRFY x\r\n")
        judge(three_ways(data), text)
        dot = data.index(b"hello") + 5
        for first, second in itertools.combinations(range(dot, dot + len(before) + 1 + len(after) + 1), 2):
            judge(Talk().send(data[:first]).send(data[first:second]).send(data[second:]), text)
        tried += 1
    assert tried >= len(BREAKS) - 4


def test_there_are_enough_variants():
    assert len(set(PAIRS)) == len(PAIRS) > 350


@pytest.mark.parametrize("before", BREAKS, ids=repr)
def test_a_look_alike_at_the_very_start(before):
    text = before + b".x\r\n" + SMUGGLED
    judge(three_ways(mail(text + b".\r\nVRFY x\r\n")), text)


@pytest.mark.parametrize("after", [each for each in BREAKS if not each.startswith(b"\r\n")], ids=repr)
def test_a_dot_at_the_very_start(after):
    text = b"." + after + SMUGGLED
    judge(three_ways(mail(text + b".\r\nVRFY x\r\n")), text)


@pytest.mark.parametrize("before", [b"", b"hello\r\n", b"hello\n"])
@pytest.mark.parametrize("dots", [b"..\r\n", b"...\r\n", b". \r\n", b".\t\r\n", b" .\r\n", b".a\r\n"])
def test_stuffed_and_padded_dots_do_not_end_the_message(before, dots):
    text = before + dots + SMUGGLED
    judge(three_ways(mail(text + b".\r\nVRFY x\r\n")), text)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\n\r", b"\r\r\n"], ids=repr)
@pytest.mark.parametrize("command", [b"MAIL FROM:<s@x>", b"RCPT TO:<r@example.com>", b"DATA"], ids=repr)
def test_commands_with_other_line_ends_are_not_obeyed(command, end):
    before = {b"M": b"", b"R": b"MAIL FROM:<s@x>\r\n", b"D": b"MAIL FROM:<s@x>\r\nRCPT TO:<r@example.com>\r\n"}
    data = before[command[:1]] + command + end + b"VRFY x\r\n"
    talk = three_ways(data)
    assert 500 in talk.codes
    assert 354 not in talk.codes
    assert talk.events == []


@pytest.mark.parametrize("address", [b"a@b>\rRCPT TO:<x@y", b"a@b\0", b"a\x1fb@c"])
def test_control_characters_do_not_reach_the_envelope(address):
    talk = three_ways(b"MAIL FROM:<%b>\r\nRCPT TO:<%b>\r\nDATA\r\n" % (address, address))
    assert talk.events == []
    assert 354 not in talk.codes


def test_text_sent_behind_a_refused_data_is_not_a_message():
    """RFC 2920: whoever sends text without waiting for 354 has it answered line by line, and never obeyed as one."""
    talk = three_ways(
        b"MAIL FROM:<s@x>\r\nRCPT TO:<r@other.example>\r\nDATA\r\nSubject: x\r\n\r\nhello\r\n.\r\nVRFY x\r\n"
    )
    assert talk.codes == [250, 553, 503, 502, 502, 502, 502, 252]
    assert talk.events == []


def test_text_sent_behind_an_accepted_data_is_the_message():
    assert three_ways(mail(b"hello\r\n.\r\n") + b"VRFY x\r\n").messages[0][2] == b"hello\n"
