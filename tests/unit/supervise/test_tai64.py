"""Time stamps of log lines: the facts' example, and there and back."""

from hypothesis import given
from hypothesis import strategies as st

from quail.supervise.tai64 import LABEL_SIZE, digits_at, label, moment


def test_the_example_of_the_manual():
    assert moment(b"4000000037c219bf2ef02e94") == (935467445, 787492500)
    assert label(935467445_787492) == b"@4000000037c219bf2ef02e94"


@given(st.integers(-(2**40), 2**50))
def test_there_and_back(microseconds):
    text = label(microseconds)
    assert len(text) == LABEL_SIZE
    seconds, nanoseconds = moment(text[1:])
    assert seconds * 1_000_000 + nanoseconds // 1000 == microseconds
    assert nanoseconds % 1000 == 500


@given(st.integers(0, 2**50), st.integers(1, 2**30))
def test_labels_sort_as_times_do(early, later):
    assert label(early) < label(early + later)


def test_digits_end_where_the_first_other_byte_is():
    assert digits_at(b"@abc0 x", 1) == 4
    assert digits_at(b"@", 1) == 0
    assert digits_at(b"@ABC", 1) == 0
    assert digits_at(b"@" + b"0" * 5000 + b" 00", 1) == 5000
