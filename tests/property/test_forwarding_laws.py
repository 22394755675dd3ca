"""Laws of forwarding: what is written comes out, tables and lists say the same, expansions end with the right recipients."""

from hypothesis import given
from hypothesis import strategies as st

from quail.forwarding.addresses import addresses
from quail.forwarding.expand import Expansion
from quail.forwarding.maillist import of_lines, printed
from quail.forwarding.table import parse, write
from quail.message.address import quote

TEXT = st.binary(max_size=30).map(lambda text: text.replace(b"\0", b"x"))
LOCAL = TEXT.map(lambda text: text.translate(None, b"\r\n")).filter(bool)
HOST = st.sampled_from([b"a.example", b"b", b"[192.0.2.1]"])
NAMES = st.sampled_from([b"%d@x" % number for number in range(8)])


@given(st.lists(st.tuples(LOCAL, HOST), max_size=6), st.sampled_from([b", ", b",", b" , (c)", b","]))
def test_addresses_come_out_as_they_were_meant(pairs, comma):
    line = comma.join(quote(local + b"@" + host) for local, host in pairs)
    assert [each.text for each in addresses(line, includes=True)] == [b"@".join(pair) for pair in reversed(pairs)]


@given(st.dictionaries(TEXT.map(bytes.lower), st.lists(TEXT, max_size=4), max_size=4))
def test_a_table_that_is_printed_is_the_same_table(targets):
    records = []
    for target, texts in targets.items():
        if texts:
            records.append((b"?" + target, texts[0]))
            records.append(
                (b":" + target, b"".join(b"&!|./"[size % 5 :][:1] + text + b"\0" for size, text in enumerate(texts)))
            )
    assert [*parse(b"".join(write(records)))] == records


@given(st.lists(TEXT.map(lambda text: text.translate(None, b"\n").rstrip(b" \t")), max_size=6), st.integers(1, 9))
def test_a_list_that_is_printed_is_the_same_list(texts, size):
    data = b"".join(b"&./"[index % 3 :][:1] + text + b"\0" for index, text in enumerate(texts))
    pieces = [data[at : at + size] for at in range(0, len(data), size)][::-1]
    text = b"".join(printed(lambda: pieces.pop() if pieces else b""))
    assert b"".join(of_lines(text)) == data


@given(st.dictionaries(NAMES, st.lists(NAMES, max_size=5), max_size=8), NAMES)
def test_the_recipients_are_those_that_can_be_reached_and_are_no_targets(table, start):
    records = {b":" + name: b"".join(b"&%b\0" % other for other in others) for name, others in table.items()}
    expansion = Expansion(records.get, read_list=lambda _: b"", run=lambda _: None)
    assert expansion.follow(start) == (start in table)
    reached, waiting = set(), list(table.get(start, []))
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += table.get(name, [])
    assert sorted(expansion.recipients) == sorted(reached - set(table))
