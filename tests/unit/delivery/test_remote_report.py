"""What a recipient's record and the message's come to (qmail-rspawn, facts 4.6), and qmail-remote's output (facts 15.4)."""

import pytest

from quail.delivery.remote.report import RECIPIENT_ACCEPTED, Record, Result, later

R, H, S = RECIPIENT_ACCEPTED, Record(b"h", b"no\n"), Record(b"s", b"wait\n")


@pytest.mark.parametrize(
    ("record", "message", "report"),
    [
        (R, Record(b"K", b"ok\n"), (b"K", b"ok\n")),
        (R, Record(b"Z", b"died\n"), (b"Z", b"died\n")),
        (R, Record(b"D", b"bad\n"), (b"D", b"bad\n")),
        (H, Record(b"D", b"Giving up\n"), (b"D", b"no\nGiving up\n")),
        (H, Record(b"K", b"ok\n"), (b"D", b"no\n")),
        (H, Record(b"Z", b"died\n"), (b"D", b"no\n")),
        (S, Record(b"D", b"Giving up\n"), (b"Z", b"wait\nGiving up\n")),
        (S, Record(b"K", b"ok\n"), (b"Z", b"wait\n")),
        (S, Record(b"Z", b"died\n"), (b"Z", b"wait\ndied\n")),
        (None, Record(b"Z", b"died\n"), (b"Z", b"died\n")),
    ],
)
def test_one_report_of_two_records(record, message, report):
    assert Result(message, [record]).of(0) == report


def test_who_was_not_asked_has_the_message_s_report():
    assert later(b"no connection").of(99) == (b"Z", b"no connection\n")


def test_printed():
    result = Result(Record(b"K", b"1.2.3.4 accepted message.\n"), [H, R, None, S])
    assert result.printed() == b"hno\n\0r\0swait\n\0K1.2.3.4 accepted message.\n\0"
    assert Result(Record(b"Z", b"a\0b")).printed() == b"Za?b\0"
