"""The parsers of control files, fed anything: a value by qmail's rules, or ConfigError, and nothing else."""

from hypothesis import example, given
from hypothesis import strategies as st

from quail.control.reader import clamp, parse_integer, parse_line, parse_list, parse_listen, parse_pairs
from quail.control.table import TABLE
from quail.errors import ConfigError

# Text that is likely to hit the rules: blanks, comments, digits, separators, control bytes.
CONTENT = st.one_of(st.binary(max_size=200), st.text("a.#:@ \t\n\r\0" + "0159", max_size=200).map(str.encode))
WORD = st.text("abcXYZ.-_@#:0123456789", min_size=1, max_size=20).map(str.encode)
CONTROL = set(range(32)) - {9, 10} | {127}


@given(CONTENT)
def test_line(data: bytes) -> None:
    first = data.split(b"\n")[0].rstrip(b" \t")
    try:
        assert parse_line("f", data) == first
    except ConfigError:
        assert CONTROL & set(first)
    else:
        assert not CONTROL & set(first)


@given(CONTENT)
@example(b"9" * 5000)
def test_integer(data: bytes) -> None:
    try:
        value = parse_integer("f", data)
    except ConfigError:
        assert not data[:1].isdigit()
    else:
        assert data[:1].isdigit()
        entry = TABLE["databytes"]
        assert entry.low <= clamp(entry, value) <= entry.high


@given(st.integers(min_value=0, max_value=10**18), st.sampled_from([b"", b"\n", b"x", b" 3", b"\r\n", b".5\n7"]))
def test_integer_round_trip(number: int, tail: bytes) -> None:
    assert parse_integer("f", b"%d" % number + tail) == number


@given(CONTENT)
def test_list(data: bytes) -> None:
    kept = [
        (number, line.rstrip(b" \t"))
        for number, line in enumerate(data.split(b"\n"), 1)
        if line.rstrip(b" \t") and not line.startswith(b"#")
    ]
    try:
        assert parse_list("f", data) == kept
    except ConfigError as error:
        assert CONTROL & set(dict(kept)[error.line])  # noqa: PT017  refusing is one of two right answers


@given(st.lists(WORD.filter(lambda word: not word.startswith(b"#"))), st.booleans())
def test_list_round_trip(words: list[bytes], last_line_ends: bool) -> None:
    data = b"\n# c\n\n".join(words) + (b"\n" if last_line_ends else b"")
    assert [text for _, text in parse_list("f", data)] == words


@given(st.lists(st.tuples(st.text("aB.", max_size=3).map(str.encode), WORD)))
def test_of_equal_names_the_last_counts(pairs: list[tuple[bytes, bytes]]) -> None:
    data = b"".join(b"%s:%s\n" % pair for pair in pairs)
    assert parse_pairs("f", data) == {name.lower(): value for name, value in pairs}


@given(CONTENT)
def test_pairs(data: bytes) -> None:
    try:
        pairs = parse_pairs("f", data)
    except ConfigError as error:
        assert 1 <= error.line <= data.count(b"\n") + 1  # noqa: PT017  as above
    else:
        assert all(b":" not in name and name == name.lower() for name in pairs)


@given(
    st.one_of(
        CONTENT,
        st.lists(st.text("smtp pop3127.0:[]25\xb2", max_size=30)).map(lambda lines: "\n".join(lines).encode("latin-1")),
    )
)
@example(b"smtp [::1]:25\nsmtp 1.2.3.4:0")
def test_listen(data: bytes) -> None:
    try:
        found = parse_listen("f", data)
    except ConfigError as error:
        assert error.remedy  # noqa: PT017  as above
    else:
        assert all(service == "smtp" and 0 <= port < 65536 for service, _, port in found)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_listen_round_trip(address, port: int) -> None:
    place = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    assert parse_listen("f", f"smtp {place}\n".encode()) == [("smtp", str(address), port)]
