"""Commands of a qmail-send, whole and in pieces, and what is wrong with some of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.net import spawn_protocol
from quail.net.spawn_protocol import Command, Commands, Reports, encode_command, encode_report

FIELDS = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b""))


def fields(command):
    return command.number, command.path, command.sender, command.local, command.host, command.trouble


def encoded(number, *words):
    return bytes((number,)) + b"".join(word + b"\0" for word in words)


def test_one_command():
    (command,) = Commands().feed(b"\x05" + b"3/26\0s@a.b\0u@v@ex.org\0")
    assert fields(command) == (5, b"3/26", b"s@a.b", b"u@v", b"ex.org", None)


def test_number_zero_and_an_empty_sender():
    (command,) = Commands().feed(b"\0" + b"26\0\0u@ex.org\0")
    assert fields(command) == (0, b"26", b"", b"u", b"ex.org", None)


def test_nothing_but_a_host():
    (command,) = Commands().feed(encoded(1, b"1", b"s", b"@ex.org"))
    assert (command.local, command.host, command.trouble) == (b"", b"ex.org", None)


@pytest.mark.parametrize(
    ("path", "sender", "recipient", "trouble"),
    [
        (b"1/2x", b"s", b"a@b", spawn_protocol.NO_NUMBER),
        (b"../1", b"s", b"a@b", spawn_protocol.NO_NUMBER),
        (b"/1", b"s", b"a@b", spawn_protocol.NO_NUMBER),
        (b"", b"s", b"a@b", spawn_protocol.SHORT_PATH),
        (b"1" * 100, b"s", b"a@b", None),
        (b"1" * 101, b"s", b"a@b", spawn_protocol.LONG_PATH),
        (b"1" * 200_000, b"s", b"a@b", spawn_protocol.LONG_PATH),
        (b"1", b"s" * 65_536, b"a@b", None),
        (b"1", b"s" * 65_537, b"a@b", spawn_protocol.NO_MEMORY),
        (b"1", b"s", b"a" * 65_537, spawn_protocol.NO_MEMORY),
        (b"1", b"s", b"a", spawn_protocol.NO_HOST),
        (b"1", b"s", b"", spawn_protocol.NO_HOST),
    ],
    ids=range(12),
)
def test_troubles(path, sender, recipient, trouble):
    (command,) = Commands().feed(encoded(7, path, sender, recipient))
    assert (command.number, command.trouble) == (7, trouble)


@given(st.lists(st.tuples(st.integers(0, 255), FIELDS, FIELDS, FIELDS), max_size=4), st.data())
def test_however_it_comes(commands, data):
    whole = b"".join(encoded(*command) for command in commands)
    at_once = [fields(command) for command in Commands().feed(whole)]
    assert at_once == [fields(Command(*command)) for command in commands]
    reader, in_pieces = Commands(), []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        in_pieces += [fields(command) for command in reader.feed(whole[:size])]
        whole = whole[size:]
    assert in_pieces == at_once


def test_a_command_without_an_end_takes_little_memory():
    reader = Commands()
    for _ in range(100):
        assert reader.feed(b"1" * 100_000) == []
    assert len(reader._field) <= 65_537
    (command, after) = reader.feed(b"\0s\0a@b\0" + encoded(2, b"1", b"s", b"a@b"))
    assert (command.trouble, after.trouble) == (spawn_protocol.LONG_PATH, None)


def test_reports():
    assert encode_report(0, (b"K", b"did 1+0+0\n")) == b"\0Kdid 1+0+0\n\0"
    assert encode_report(119, (b"D", b"a\0b")) == b"wDa\0"
    assert encode_report(3, (b"Z", b"")) == b"\x03Z\0"


@given(st.integers(0, 255), FIELDS, FIELDS, FIELDS)
def test_commands_there_and_back(number, path, sender, recipient):
    (command,) = Commands().feed(encode_command(number, path, sender, recipient))
    assert (command.number, command.path, command.sender) == (number, path, sender)
    assert command.local + (b"@" if b"@" in recipient else b"") + command.host == recipient


REPORTS = st.lists(st.tuples(st.integers(0, 255), st.sampled_from([b"K", b"Z", b"D", b"?"]), FIELDS), max_size=5)


@given(REPORTS, st.data())
def test_reports_however_they_come(reports, data):
    text = b"".join(encode_report(number, (letter, words)) for number, letter, words in reports) + b"\7Kunfinished"
    found, parser = [], Reports()
    while text:
        size = data.draw(st.integers(1, len(text)))
        found += parser.feed(text[:size])
        text = text[size:]
    assert found == reports


def test_reports_without_letter_or_end():
    parser = Reports()
    assert parser.feed(b"\5\0") == [(5, b"", b"")]
    for _ in range(100):
        assert parser.feed(b"\0K" if not _ else b"x" * 1000) == []
    assert parser.feed(b"y\0") == [(0, b"K", b"x" * 10_000)]
