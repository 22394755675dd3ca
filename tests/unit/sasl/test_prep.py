"""SASLprep: the examples of RFC 4013 section 3, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.sasl.prep import prepare


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("e\u0301", "\u00e9"),
        ("a b  c", "a b  c"),
        ("\u0627\u0628", "\u0627\u0628"),
    ],
    ids=["soft hyphen", "plain", "capitals", "ordinal", "roman nine", "no-break space", "accent", "blanks", "arabic"],
)
def test_prepared(text, prepared):
    assert prepare(text, stored=True) == prepared


@pytest.mark.parametrize(
    "text",
    [
        "\u0007",
        "a\tb",
        "\u0627\u0031",
        "\u0627a\u0628",
        "\ue000x",
        "\ud800x",
        "\ufffd",
        "\u2ff0",
        "\u200e\u00e9",
        "\U000e0041",
    ],
    ids=[
        "bell",
        "tab",
        "arabic then digit",
        "mixed",
        "private",
        "surrogate",
        "replacement",
        "description",
        "mark",
        "tag",
    ],
)
def test_refused(text):
    with pytest.raises(ValueError, match=r"^it (has|mixes)|^letters written"):
        prepare(text, stored=True)


def test_new_characters_only_where_nothing_is_kept():
    new = "\U0001fae0"
    assert prepare(new, stored=False) == new
    with pytest.raises(ValueError, match="newer than the rules"):
        prepare(new, stored=True)


@given(st.text())
def test_what_is_prepared_stays(text):
    try:
        prepared = prepare(text, stored=False)
    except ValueError:
        return
    try:
        again = prepare(prepared, stored=False)
    except ValueError:
        return  # characters that vanished had kept letters of both directions apart
    assert again == prepared
