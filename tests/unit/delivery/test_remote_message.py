"""A message on its way out: how long it is said to be, which decides whether a host with a limit can have it (RFC 1870 s3)."""

import pytest

from quail.delivery.remote.message import Mail


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"Subject: x\n\nhello\n",
        b"Subject: x\r\n\r\nhello\r\n",
        b"a\rb\r\rc\r\n\rd\n\r",
        b"no end",
        b"no end but a CR\r",
    ],
)
def test_its_size_is_that_of_what_is_sent(text):
    mail = Mail(b"far.example", b"s@x.example", [b"r@far.example"], text)
    assert mail.sent_size == len(b"".join(mail.encoded()))
