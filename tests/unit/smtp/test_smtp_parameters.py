import pytest

from quail.smtp.parameters import parse_mail
from quail.smtp.replies import MALFORMED, UNKNOWN


@pytest.mark.parametrize(
    ("text", "size", "attributes"),
    [
        (b"", 0, []),
        (b"   ", 0, []),
        (b" SIZE=0", 0, []),
        (b" SIZE=4096", 4096, []),
        (b" size=4096", 4096, []),
        (b" SIZE=99999999999999999999", 99999999999999999999, []),
        (b"  SIZE=1   BODY=8BITMIME ", 1, [(b"body", b"8bitmime")]),
        (b" body=7bit", 0, [(b"body", b"7bit")]),
        (b" SMTPUTF8", 0, [(b"smtputf8", b"")]),
        (b" smtputf8 BODY=8BITMIME SIZE=7", 7, [(b"smtputf8", b""), (b"body", b"8bitmime")]),
    ],
)
def test_taken(text, size, attributes):
    assert parse_mail(text) == (b"", size, attributes)


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        (b" SIZE", MALFORMED),
        (b" SIZE=", MALFORMED),
        (b" SIZE=-1", MALFORMED),
        (b" SIZE=1k", MALFORMED),
        (b" SIZE=\xc2\xb2", MALFORMED),
        (b" SIZE=100000000000000000000", MALFORMED),
        (b" SIZE=1 SIZE=1", MALFORMED),
        (b" SMTPUTF8=1", MALFORMED),
        (b" BODY=BINARYMIME", UNKNOWN),
        (b" BODY", UNKNOWN),
        (b" RET=FULL", UNKNOWN),
        (b" AUTH=<>", UNKNOWN),
        (b" SIZE=1 X", UNKNOWN),
        (b"x", UNKNOWN),
        (b" \0", UNKNOWN),
    ],
)
def test_refused(text, reply):
    assert parse_mail(text) == (reply, 0, [])
