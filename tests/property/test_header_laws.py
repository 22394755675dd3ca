"""Laws of the header for any bytes: what is raised, what is written is read the same again, and how much work it takes."""

import sys
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quail.errors import PeerError, PermanentError
from quail.message import addresslist, header, tokens
from quail.message.addresslist import Hosts, fold, rewrite
from quail.message.header import MAX_HEADER, MAX_NAME, Splitter
from quail.message.injecting import ARGUMENTS, BOTH, EITHER, HEADER, Author, Call, compose

HOSTS = Hosts(lambda: b"mx.example.com", lambda: b"example.com", lambda: b"corp.net")

lists = st.binary(max_size=40) | st.text('ab.@,:;<>()[]"\\ \t+ö', max_size=30).map(str.encode)
words = st.lists(
    st.sampled_from(
        ["a", "b.c", "@", "@d.e", "@f+", '"g h"', "(i)", "[1.2.3.4]", "[]", "<", ">", ",", ":", ";", ".", " ", "\n "]
    ),
    max_size=14,
).map(lambda parts: "".join(parts).encode())
bodies = lists.map(lambda text: text.replace(b"\n", b"\n ")) | words

names = st.sampled_from(
    [
        "To",
        "Cc",
        "Bcc",
        "From",
        "Sender",
        "Return-Path",
        "Resent-To",
        "Resent-Bcc",
        "Date",
        "Message-ID",
        "Subject",
        "From ",
    ]
)
messages = st.binary(max_size=60) | st.tuples(
    st.lists(st.tuples(names.map(str.encode), bodies), max_size=5), st.binary(max_size=20)
).map(lambda parts: b"".join(b"%b:%b\n" % pair for pair in parts[0]) + b"\n" + parts[1])


@given(bodies)
@example(b"a@b..")
@example(b"a@b.@")
@example(b"foo <bar")
@example(b'"a\\\n b"@c')
@example(b"g:;(a),(b)")
def test_a_list_that_was_written_is_written_the_same_again(body):
    try:
        entries, addresses = rewrite(body, HOSTS)
    except PeerError:
        return
    field = fold(b"To", entries)
    name, _, again = field.partition(b":")
    assert name == b"To"
    assert rewrite(again, HOSTS) == (entries, addresses)
    assert field.count(b"\n") == field.count(b"\n  ") + 1
    assert b"\0" not in field
    for address in addresses:
        assert address.translate(None, b"\0\r\n") == address
        assert not address or address.rpartition(b"@")[2]


@given(bodies)
def test_an_address_of_a_field_is_complete(body):
    try:
        _, addresses = rewrite(body, HOSTS)
    except PeerError:
        return
    for address in addresses:
        assert HOSTS.mailbox(address) == address


def split(message: bytes, cuts: list[int]) -> tuple[list[tuple[bytes, bytes, bytes]], bytes]:
    """The fields, and all that follows them, of a message that comes in pieces."""
    splitter = Splitter()
    places = sorted({0, len(message), *(cut % (len(message) + 1) for cut in cuts)})
    body = None
    for start, end in pairwise(places):
        if body is None:
            body = splitter.feed(message[start:end])
        else:
            body += message[start:end]
    if body is None:
        body = splitter.finish()
    return [(field.name, field.spelling, field.text) for field in splitter.fields], body


@given(messages, st.lists(st.integers(0, 200), max_size=5))
def test_pieces_make_no_difference(message, cuts):
    whole = split(message, [])
    assert split(message, cuts) == whole
    assert split(message, list(range(len(message)))) == whole


@given(messages)
def test_splitting_loses_nothing(message):
    fields, body = split(message, [])
    for name, spelling, text in fields:
        assert name == spelling.lower()
        assert text.startswith(spelling)
        assert all(line[:1] in {b" ", b"\t"} for line in text[:-1].split(b"\n")[1:])
    header = b"".join(text.removeprefix(b"MBOX-Line: ") for _, _, text in fields)
    if not body:
        assert header == message + b"\n" * (message[-1:] not in {b"\n", b""})
        return
    assert message.startswith(header)
    rest = message[len(header) :]
    # An empty line is put before what does not begin with one.
    assert body.removesuffix(b"\n") == (rest if rest[:1] == b"\n" else b"\n" + rest).removesuffix(b"\n")


@given(
    messages, st.sampled_from([ARGUMENTS, HEADER, BOTH, EITHER]), st.lists(lists, max_size=2), st.none() | lists, lists
)
@settings(max_examples=200)
def test_any_message_gives_an_envelope_or_a_declared_error(message, recipients, arguments, sender, user):
    fields = Splitter()
    if fields.feed(message) is None:
        fields.finish()
    call = Call(
        sender=sender,
        arguments=arguments,
        recipients=recipients,
        seconds=0,
        pid=1,
        id_host=lambda: b"mx.example.com",
        followup=frozenset([b"a@mx.example.com"]),
    )
    said = ""
    try:
        outgoing = compose(
            fields.fields, Author({b"QMAILUSER": user, b"NAME": user, b"QMAILINJECT": b"r"}), HOSTS, call
        )
    except PermanentError as error:
        said = str(error)
    if said:
        assert said.startswith(("unable to parse this line:\n", "unable to parse address: "))
        return
    assert outgoing.header.endswith(b"\n")
    assert outgoing.return_path().count(b"\n") == 1
    read, body = split(outgoing.header, [])
    assert body == b""  # every line that goes out is part of a field
    names = [name for name, _, _ in read]
    assert {b"bcc", b"resent-bcc", b"return-path", b"content-length"} & set(names) == set()
    prefix = b"resent-" if any(name.startswith(b"resent-") for name in names) else b""
    assert {prefix + b"date", prefix + b"message-id", prefix + b"from"} <= set(names)


# Work


class Work:
    """Counts lines that are run in some modules, and the lengths of the sequences that its functions make or are given.

    A sequence counts once: to pass a text on with a position in it costs nothing, to cut or copy it does.
    """

    def __init__(self, *modules):
        self.files = {module.__file__ for module in modules}
        self.done = 0
        self.seen = {}

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_):
        sys.settrace(self.before)

    def _trace(self, frame, event, _arg):
        if frame.f_code.co_filename not in self.files:
            return None
        if event == "line":
            self.done += 1
        for value in frame.f_locals.values():
            if isinstance(value, list | bytes) and id(value) not in self.seen:
                self.seen[id(value)] = value  # kept, so that no other gets its number
                self.done += len(value)
        return self._trace


SHAPES = {
    "open parentheses": lambda n: b"(" * n,
    "nested comments": lambda n: b"(" * (n // 2) + b")" * (n // 2),
    "comments": lambda n: b"()" * (n // 2),
    "comments within one address": lambda n: b"a" + b"(b)." * (n // 4) + b"c",
    "commas": lambda n: b"," * n,
    "addresses": lambda n: b"a," * (n // 2),
    "words": lambda n: b"a " * (n // 2),
    "words and commas": lambda n: b"a b, " * (n // 5),
    "one word": lambda n: b"a" * n,
    "dots": lambda n: b"a" + b"." * n,
    "dots of a host": lambda n: b"a@b" + b"." * n,
    "dots and hosts": lambda n: b"a" + b"@." * (n // 2),
    "at signs": lambda n: b"a" + b"@" * n,
    "at signs and words": lambda n: b"a@" * (n // 2) + b"b",
    "open angles": lambda n: b"<" * n,
    "empty angles": lambda n: b"<>" * (n // 2),
    "angles": lambda n: b"<a>" * (n // 3),
    "open angles and one that ends": lambda n: b"<a" * (n // 2) + b">",
    "a long route": lambda n: b"<" + b"@a," * (n // 3) + b":b>",
    "a long route without an end": lambda n: b"<" + b"@a," * (n // 3) + b">",
    "colons": lambda n: b":" * n,
    "groups": lambda n: b"a:b;" * (n // 4),
    "empty groups": lambda n: b":;" * (n // 2),
    "groups and comments": lambda n: b":;()" * (n // 4),
    "one group": lambda n: b"a:" + b"b," * (n // 2) + b";",
    "semicolons": lambda n: b";" * n,
    "quotes": lambda n: b'"' * n,
    "one quoted string": lambda n: b'"' + b"\\a" * (n // 2) + b'"',
    "an open quote": lambda n: b'"' + b"\\" * n,
    "backslashes": lambda n: b"\\" * n,
    "literals": lambda n: b"[]" * (n // 2),
    "an open literal": lambda n: b"a@[" * (n // 3),
    "folds": lambda n: b"\n " * (n // 2),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_reading_and_writing_a_list_is_linear(shape):
    done = []
    for size in (500, 1000, 2000):
        with Work(addresslist, tokens) as work:
            try:
                entries, _ = rewrite(SHAPES[shape](size), HOSTS)
                fold(b"To", entries)
            except PeerError:
                pass
        done.append(work.done)
    assert done[0] < 200 * 500
    assert done[1] < 2.2 * done[0]
    assert done[2] < 2.2 * done[1]


@pytest.mark.parametrize("shape", ["(", ",", "\n ", "a: b\n", "a: b\n c\n", " ", "a", "a: b\n\n", "From \n"])
@pytest.mark.parametrize("piece", [1, 1000])
def test_splitting_is_linear(shape, piece):
    done = []
    for size in (1000, 2000, 4000):
        message = b"Subject: " + (shape * (size // len(shape))).encode()
        splitter = Splitter()
        with Work(header) as work:
            for start in range(0, len(message), piece):
                if splitter.feed(message[start : start + piece]) is not None:
                    break
            else:
                splitter.finish()
        done.append(work.done)
    assert done[0] < 60 * 1000
    assert done[1] < 2.2 * done[0] + 100
    assert done[2] < 2.2 * done[1] + 100


@pytest.mark.parametrize("piece", [b"X-A: " + b"b" * 994 + b"\n", b"Subject: " + b"a" * 9991, b" " * 9999 + b"\n"])
def test_a_header_has_a_bound(piece):
    splitter = Splitter()
    splitter.feed(b"To: a\n")
    for _ in range(MAX_HEADER // len(piece)):
        assert splitter.feed(piece) is None
    with pytest.raises(PermanentError, match=f"^header is longer than {MAX_HEADER} bytes$"):
        splitter.feed(piece)


@pytest.mark.parametrize("start", [b"a" * (MAX_NAME + 1), b"\xff" * (MAX_NAME + 1), b" " * (MAX_NAME + 1)])
def test_a_body_without_lines_is_not_taken_for_a_header(start):
    splitter = Splitter()
    assert splitter.feed(start[:-1]) is None
    assert splitter.feed(start[-1:]) == b"\n" + start
    assert splitter.fields == []


def test_a_name_is_no_longer_than_a_line_may_be():
    longest = b"a" * MAX_NAME + b":\n"
    assert split(longest, []) == ([(longest[:-2], longest[:-2], longest)], b"")
    assert split(b"a" + longest, []) == ([], b"\na" + longest)
    assert split(b"a" * 998 + b":\n", [])[1] == b""  # RFC 5322 s2.1.1


@pytest.mark.parametrize("start", [b"From " + b"a" * MAX_NAME, b"Subject: " + b"a" * MAX_NAME])
def test_a_long_line_of_the_header_goes_on(start):
    splitter = Splitter()
    assert splitter.feed(start) is None
    assert splitter.feed(b"b\n") is None
    assert splitter.finish() == b""
    assert splitter.fields[0].text.endswith(b"ab\n")
