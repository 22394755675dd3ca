import pytest

from quail.delivery.instructions import (
    FILE_AND_X,
    FORWARD,
    MAILDIR,
    MBOX,
    PROGRAM,
    PROGRAM_AND_X,
    REFUSE,
    parse,
)


def steps(content, **how):
    return [(step.kind, step.value, step.line) for step in parse(content, **how)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"./Maildir/", (MAILDIR, b"./Maildir/")),
        (b"/srv/mail/joe/ \t", (MAILDIR, b"/srv/mail/joe/")),
        (b"./Mailbox", (MBOX, b"./Mailbox")),
        (b"|  cat > x ", (PROGRAM, b"  cat > x")),
        (b"&joe@example.com", (FORWARD, b"joe@example.com")),
        (b"joe@example.com", (FORWARD, b"joe@example.com")),
        (b" joe@example.com", (FORWARD, b" joe@example.com")),
        (b"&joe, jane", (FORWARD, b"joe, jane")),
        (b"&joe@a\0@b", (FORWARD, b"joe@a")),
    ],
)
def test_one_line(line, expected):
    assert steps(line) == steps(line + b"\n") == [(*expected, 1)]


@pytest.mark.parametrize("line", [b"", b"   ", b"# ./Maildir/", b"+", b"+whatever", b"\0./Maildir/"])
def test_lines_that_do_nothing(line):
    assert steps(b"&a\n" + line + b"\n&b") == [(FORWARD, b"a", 1), (FORWARD, b"b", 3)]


def test_x_bit_leaves_only_forwarding():
    content = b"&a\n./Maildir/\n|true\n./Mailbox\n"
    refused = [(REFUSE, FILE_AND_X, 2), (REFUSE, PROGRAM_AND_X, 3), (REFUSE, FILE_AND_X, 4)]
    assert steps(content, forward_only=True) == [(FORWARD, b"a", 1), *refused]


def test_list_line_acts_like_the_x_bit_from_there_on():
    assert steps(b"./a/\n+list \n./b/") == [(MAILDIR, b"./a/", 1), (REFUSE, FILE_AND_X, 3)]
