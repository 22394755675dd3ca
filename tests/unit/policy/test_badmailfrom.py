import pytest

from quail.policy.badmailfrom import BadSenders


@pytest.mark.parametrize(
    ("sender", "refused"),
    [
        (b"BAD@evil.COM", True),
        (b"bad@evil.com", True),
        (b"good@evil.com", False),
        (b"u@Spam.ORG", True),
        (b"u@v@spam.org", True),
        (b"u@spam.org.example", False),
        (b"u@sub.spam.org", False),
        (b"@spam.org", True),
        (b"spam.org", False),
        (b"word", True),
        (b"", False),
    ],
)
def test_refused(sender, refused):
    assert BadSenders((b"Bad@Evil.com", b"@spam.org", b"word")).refuses(sender) is refused


def test_nobody_is_refused_without_entries():
    assert not BadSenders(()).refuses(b"a@b")
