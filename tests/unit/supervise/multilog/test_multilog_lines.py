"""Lines, patterns, scripts: what is selected, stamped and shown, however the input is cut."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.supervise.multilog.logdir import LogHouse

from quail.supervise.multilog.pattern import matches
from quail.supervise.multilog.script import Condition, Directory, parse
from quail.supervise.multilog.selection import Selection
from quail.supervise.multilog.splitter import BLOCK, LONG, MORE, Splitter

SMALL = st.text(alphabet="ab*\\[^ ", max_size=6).map(str.encode)


@pytest.mark.parametrize(
    ("pattern", "line", "wanted"),
    [
        (b"", b"", True), (b"", b"a", False), (b"*", b"", True), (b"*", b"abc", True), (b"a*", b"a", True),
        (b"a*", b"ba", False), (b"*a", b"ba", True), (b"*a", b"baa", False), (b"a*b", b"axbxb", False),
        (b"+* status: *", b"+x status: y", True), (b"* 3000", b"@4 text 3000", False), (b"* * 3000", b"@4 text 3000", True),
        (b"**", b"a", False), (b"**", b"*", True), (b"**a", b"x*ya", True), (b"a.c", b"abc", False), (b"a\nb", b"a\nb", True),
    ],
)  # fmt: skip
def test_patterns(pattern, line, wanted):
    assert matches(pattern, line) is wanted


@given(st.lists(st.tuples(SMALL, st.booleans()), max_size=5), st.lists(SMALL, max_size=8))
def test_a_block_is_selected_from_as_its_lines_are(conditions, lines):
    selection = Selection([Condition(pattern, selects=selects) for pattern, selects in conditions])
    expected = b""
    for line in lines:
        selected = True
        for pattern, selects in conditions:
            if matches(pattern, line):
                selected = selects
        assert selection.takes(line) is selected
        expected += (line + b"\n") * selected
    assert selection.of(b"".join(line + b"\n" for line in lines)) == expected


def test_hundreds_of_patterns():
    selection = Selection([Condition(b"%d" % number, selects=number % 2 == 0) for number in range(1500)])
    assert selection.of(b"7\n8\n1499\nx\n") == b"8\nx\n"


def together(pieces):
    return b"".join(data for _, data in pieces)


@given(st.randoms(use_true_random=False), st.booleans())
def test_lines_come_out_as_they_went_in(picks, stamped):
    data = b"".join(
        bytes([picks.randrange(97, 123)]) * picks.choice((0, 1, 5, 990, 999, 1000, 1001, 2500)) + b"\n"
        for _ in range(picks.randrange(6))
    ) + b"z" * picks.choice((0, 3, 1000, 1200))
    splitter, pieces, at = Splitter(), [], 0
    while at < len(data):
        size = picks.choice((1, 7, 600, 3000))
        pieces += splitter.feed(data[at : at + size], b"@ " if stamped else b"")
        at += size
    pieces += splitter.finish()
    lines = data.split(b"\n")
    lines = lines if lines[-1] else lines[:-1]
    assert together(pieces) == b"".join((b"@ " if stamped else b"") + line + b"\n" for line in lines)
    for index, (kind, piece) in enumerate(pieces):
        if kind == BLOCK:
            assert piece[-1:] == b"\n"
            assert max(map(len, piece.split(b"\n"))) <= 1000
        elif kind == LONG:
            assert len(piece) >= 1000
            assert b"\n" not in piece[:-1]
        else:
            assert pieces[index - 1][0] in {LONG, MORE}


def test_a_line_has_the_time_at_which_it_began():
    splitter = Splitter()
    assert splitter.feed(b"a\nb", b"1 ") == [(BLOCK, b"1 a\n")]
    assert splitter.feed(b"c\nd\n", b"2 ") == [(BLOCK, b"1 bc\n2 d\n")]
    assert splitter.feed(b"e\n", b"3 ") == [(BLOCK, b"3 e\n")]


def test_what_s_n_and_the_processor_are_for_directories_on_their_right():
    script = parse([b"./a", b"s1", b"n1", b"!x", b"./b", b"s99999999", b"n5x", b"!", b"/c", b"t", b"ignored", b""])
    seen = [
        (each.path, each.size, each.files, each.processor) for each in script.actions if isinstance(each, Directory)
    ]
    assert seen == [("./a", 99999, 10, None), ("./b", 4096, 2, b"x"), ("/c", 16777215, 5, None)]
    assert not script.stamped
    assert parse([b"t"]).stamped
    assert len(script.actions) == 3


def test_alerts_and_status_files(tmp_path):
    house = LogHouse(tmp_path, "e", "=DIR/last", "-b*", "e", "=DIR/other")
    house.run([b"a\nb\n" + b"c" * 201 + b"\nbb\n"])
    assert b"".join(house.alerts) == b"a\na\nb\n" + (b"c" * 200 + b"...\n") * 2 + b"bb\n"
    assert (tmp_path / "last").read_bytes() == b"bb".ljust(1001, b"\n")
    assert (tmp_path / "other").read_bytes() == (b"c" * 201).ljust(1001, b"\n")


def test_long_lines_are_selected_by_their_first_thousand_bytes(tmp_path):
    house = LogHouse(tmp_path, "e", "=DIR/last", "-*z", "DIR/d")
    picks = random.Random(1)
    kept, gone = b"k" * 1000 + b"z" * 500 + b"\n", b"g" * 999 + b"z" + b"more\n"
    data = (kept + b"short\n" + gone) * 5
    chunks, at = [], 0
    while at < len(data):
        size = picks.randrange(1, 1500)
        chunks.append(data[at : at + size])
        at += size
    house.run(chunks)
    assert house.text() == (kept + b"short\n") * 5
    assert (tmp_path / "last").read_bytes() == gone[:1000] + b"\n"
    assert b"".join(house.alerts) == (b"k" * 200 + b"...\nshort\n" + b"g" * 200 + b"...\n") * 5


def test_a_long_line_is_cut_at_the_largest_size(tmp_path):
    house = LogHouse(tmp_path, "s4096", "DIR/d")
    house.run([b"x" * 9000 + b"\n", b"y\n"])
    sizes = [(tmp_path / "d" / name).stat().st_size for name in house.old_files()]
    assert sizes == [4096, 4096]
    assert house.text() == b"x" * 9000 + b"\ny\n"
