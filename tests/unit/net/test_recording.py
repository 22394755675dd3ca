"""The log of recordio, as observed with Debian's ucspi-tcp 0.88-7."""

import pytest

from quail.net.recording import lines


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", b"7 < [EOF]\n"),
        (b"hello\nworld", b"7 < hello \n7 < world+\n"),
        (b"\0\xff\r\n\n", b"7 < \0\xff\r \n7 <  \n"),
        (b"x" * 256 + b"\n", b"7 < " + b"x" * 256 + b"+\n7 <  \n"),
        (b"x" * 255 + b"\n" + b"y", b"7 < " + b"x" * 255 + b" \n7 < y+\n"),
        (b"x" * 600, b"7 < " + b"x" * 256 + b"+\n7 < " + b"x" * 256 + b"+\n7 < " + b"x" * 88 + b"+\n"),
    ],
)
def test_lines(data, said):
    assert lines(7, b"<", data) == said
