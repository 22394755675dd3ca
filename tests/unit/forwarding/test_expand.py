"""Whom an address stands for: order, duplicates, owners, lists, loops, and an end in any case."""

import pytest

from quail.errors import TemporaryError
from quail.forwarding.expand import Expansion, sender_for
from quail.forwarding.table import parse


class Table:
    def __init__(self, text, lists=()):
        self.records = {}
        for key, data in parse(text):
            self.records.setdefault(key, data)
        self.lists = dict(lists)
        self.ran = []

    def follow(self, recipient):
        """Recipients, or None; what was run is in `ran`."""
        expansion = Expansion(self.records.get, read_list=self.lists.__getitem__, run=self.ran.append)
        return expansion.recipients if expansion.follow(recipient) else None

    def sender(self, recipient, sender=b"s@s"):
        return sender_for(self.records.get, recipient, sender)


def test_the_most_exact_target_counts():
    table = Table(b"a@b: 1; @b: 2; a@: 3; a: 4;")
    assert [table.follow(each) for each in (b"a@b", b"A@B", b"x@b", b"a@x", b"x@x", b"a", b"b")] == [
        [b"1"], [b"1"], [b"2"], [b"3"], None, [b"4"], None,
    ]  # fmt: skip


def test_wildcards_are_for_mail_that_comes_in():
    assert Table(b"a@b: x@c, y@b; @c: no; y@: no;").follow(b"a@b") == [b"x@c", b"y@b"]


def test_order_and_duplicates():
    table = Table(b"all@b: one@b, two@b, |first; one@b: x@y, |third; two@b: |second, z@y, x@y, one@b;")
    assert table.follow(b"all@b") == [b"z@y", b"x@y"]
    assert table.ran == [b"|first", b"|second", b"|third"]


def test_letter_case_counts_in_recipients_alone():
    assert Table(b"a@b: x@y, X@Y, ONE@b; one@b: z;").follow(b"A@b") == [b"x@y", b"X@Y", b"z"]


def test_a_loop_to_the_start_is_gone_once_more():
    table = Table(b"a@b: b@b, |ran; b@b: a@b, x@y;")
    assert table.follow(b"a@b") == [b"x@y"]
    assert table.ran == [b"|ran"] * 2


def test_owners():
    table = Table(b"list@b: ?owner@b, x@y, part@b; part@b: ?other@b, z@y; @c: ?all@c, w@y; u@: ?u-owner@d;")
    assert table.follow(b"list@b") == [b"x@y", b"part@b"]
    assert table.sender(b"LIST@b") == b"owner@b"
    assert [table.sender(b"list@b", special) for special in (b"", b"#@[]")] == [b"", b"#@[]"]
    assert [table.sender(each) for each in (b"any@c", b"u@x", b"x@y")] == [b"all@c", b"u-owner@d", b"s@s"]


def test_lists():
    lists = {b"./l": b"&x@y\0./m\0|no\0&one@b\0&rest", b"./m": b"./l\0&z@y\0\0junk\0"}
    table = Table(b"a@b: ./l, w@y; one@b: v@y;", lists)
    assert table.follow(b"a@b") == [b"x@y", b"z@y", b"v@y", b"w@y"]
    assert table.ran == []


@pytest.mark.parametrize(("size", "counts"), [(898, True), (899, False)])
def test_an_address_may_be_too_long(size, counts):
    table = Table(b"")
    table.records[b":a@b"] = b"&%b\0|%b\0" % (b"x" * size, b"x" * 2000)
    assert table.follow(b"a@b") == [b"x" * size] * counts
    assert len(table.ran) == 1


def test_nothing_left_to_forward():
    assert Table(b"a@b: a@b;").follow(b"a@b") == []


def test_too_much_for_one_message():
    table = Table(b"")
    table.records = {b":%d" % number: b"x" * (1 << 20) + b"\0&%d\0" % (number + 1) for number in range(40)}
    with pytest.raises(TemporaryError, match="too many instructions"):
        table.follow(b"0")
