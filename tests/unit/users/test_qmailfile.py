"""The search for dot-qmail files: golden lists of a running qmail-local."""

import pytest

from quail.users import qmailfile


@pytest.mark.parametrize(
    ("dash", "ext", "names"),
    [
        (b"-", b"a-b-c", [b".qmail-a-b-c", b".qmail-a-b-default", b".qmail-a-default", b".qmail-default"]),
        (b"-", b"a-", [b".qmail-a-", b".qmail-a-default", b".qmail-default"]),
        (b"-", b"", [b".qmail-", b".qmail-default"]),
        (b"", b"", [b".qmail", b".qmaildefault"]),
        (b"-", b"x", [b".qmail-x", b".qmail-default"]),
        (b"-", b"--x", [b".qmail---x", b".qmail---default", b".qmail--default", b".qmail-default"]),
        (b"-/", b"x", [b".qmail-/x", b".qmail-/default"]),
        (b"-", b"Foo.Bar", [b".qmail-foo:bar", b".qmail-default"]),
        (b"-", b"../../x", [b".qmail-::/::/x", b".qmail-default"]),
        (b"-", b"\xc4", [b".qmail-\xc4", b".qmail-default"]),
    ],
)
def test_names_in_order(dash, ext, names):
    assert [name for name, _ in qmailfile.candidates(dash, ext)] == names
    assert qmailfile.name(dash, ext) == names[0]


@pytest.mark.parametrize(
    ("ext", "file", "default"),
    [
        (b"a-B-C", b".qmail-a-b-c", None),
        (b"a-B-C", b".qmail-a-b-default", b"C"),
        (b"a-B-C", b".qmail-a-default", b"B-C"),
        (b"a-B-C", b".qmail-default", b"a-B-C"),
        (b"Foo-Bar.Baz-Qux", b".qmail-foo-default", b"Bar.Baz-Qux"),
        (b"x-Default", b".qmail-x-default", b"Default"),
        (b"Default", b".qmail-default", b"Default"),
        (b"xdefault", b".qmail-xdefault", b"default"),
    ],
)
def test_what_default_stands_for(ext, file, default):
    candidates = qmailfile.candidates(b"-", ext)
    assert next(value for name, value in candidates if name == file) == default
