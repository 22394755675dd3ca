"""Dates, Received fields and log words: golden lines from a running qmail, and every byte value."""

import pytest

from quail.message import dates, logtext, received

AT = 812090813  # 26 Sep 1995 04:46:53 UTC


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (AT, b"26 Sep 1995 04:46:53 -0000"),
        (0, b"1 Jan 1970 00:00:00 -0000"),
        (951782400, b"29 Feb 2000 00:00:00 -0000"),
        (1793614063.999, b"2 Nov 2026 10:07:43 -0000"),
        (4102444799, b"31 Dec 2099 23:59:59 -0000"),
        (-0.5, b"31 Dec 1969 23:59:59 -0000"),
    ],
)
def test_date_in_utc_without_padding_of_the_day(seconds, text):
    assert dates.rfc822(seconds) == text


def test_cached_date_follows_the_clock_both_ways():
    assert dates.rfc822(AT) == dates.rfc822(AT + 0.9)
    assert dates.rfc822(AT + 1) == b"26 Sep 1995 04:46:54 -0000"
    assert dates.rfc822(AT) == b"26 Sep 1995 04:46:53 -0000"


def field(**words: bytes | None) -> bytes:
    usual: dict[str, bytes | None] = {
        "remote_host": b"Client.Example",
        "remote_ip": b"1.2.3.4",
        "remote_info": None,
        "helo": None,
        "local": b"here.example",
    }
    return received.from_network(**(usual | words), protocol=b"SMTP", seconds=AT)


TAIL = b"\n  by here.example with SMTP; 26 Sep 1995 04:46:53 -0000\n"


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ({}, b"Received: from Client.Example (1.2.3.4)"),
        ({"helo": b"Foo[1]_x"}, b"Received: from Client.Example (HELO Foo[1]?x) (1.2.3.4)"),
        ({"helo": b"CLIENT.example"}, b"Received: from Client.Example (1.2.3.4)"),
        ({"helo": b""}, b"Received: from Client.Example (HELO ) (1.2.3.4)"),
        ({"remote_info": b"us er"}, b"Received: from Client.Example (us?er@1.2.3.4)"),
        ({"remote_info": b""}, b"Received: from Client.Example (@1.2.3.4)"),
        ({"remote_host": None, "helo": b"UNKNOWN"}, b"Received: from unknown (1.2.3.4)"),
        ({"remote_host": None, "remote_ip": None}, b"Received: from unknown (unknown)"),
        ({"remote_ip": b"2001:db8::1"}, b"Received: from Client.Example (2001:db8::1)"),
        ({"remote_ip": b"fe80::1%eth0"}, b"Received: from Client.Example (fe80::1%eth0)"),
        ({"helo": b"a\r\nBcc: x"}, b"Received: from Client.Example (HELO a??Bcc:?x) (1.2.3.4)"),
        ({"remote_host": b"a(b)"}, b"Received: from a?b? (1.2.3.4)"),
    ],
)
def test_network_field(words, first):
    assert field(**words) == first + TAIL


def test_network_field_without_an_own_name():
    assert field(local=None).endswith(b"\n  by unknown with SMTP; 26 Sep 1995 04:46:53 -0000\n")


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_of_a_helo_is_itself_or_a_question_mark(byte):
    kept = chr(byte) in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.@%+/=:-[]"
    shown = bytes([byte]) if kept else b"?"
    assert field(helo=b"h" + bytes([byte])) == b"Received: from Client.Example (HELO h" + shown + b") (1.2.3.4)" + TAIL


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (received.BY_ALIAS, b"by alias"),
        (received.FROM_NETWORK, b"from network"),
        (received.FOR_BOUNCE, b"for bounce"),
        (received.by_uid(1000), b"by uid 1000"),
    ],
)
def test_queue_field(by, words):
    assert (
        received.from_queue(4711, by, AT)
        == b"Received: (qmail 4711 invoked " + words + b"); 26 Sep 1995 04:46:53 -0000\n"
    )


def test_log_words_of_a_running_qmail():
    assert logtext.safe(b"hello world\na  %b\n") == "hello_world/a___b/"
    late = b"I'm not going to try again; this message has been in the queue too long.\n"
    assert logtext.safe(late) == "I'm_not_going_to_try_again;_this_message_has_been_in_the_queue_too_long./"
    assert logtext.safe(b"") == ""


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_of_a_log_word(byte):
    shown = "/" if byte == 10 else "_" if byte < 33 or byte > 126 or byte == 37 else chr(byte)
    assert logtext.safe(bytes([byte])) == shown


def test_names_in_a_log_are_shown_as_python_would():
    """But by no codec, which Python would have to load."""
    for code in (*range(0x3000), *range(0xD7F0, 0xE010), 0xFEFF, 0x1F4A9, 0xE0001, 0x10FFFF):
        char = chr(code)
        shown = char if char.isprintable() else char.encode("unicode_escape").decode()
        assert logtext.escaped(f"a{char}b") == f"a{shown}b"
        raw = code == 9 or 0xDC80 <= code <= 0xDCFF
        assert logtext.escaped_but_bytes(f"a{char}b\n") == f"a{char if raw else shown}b\\n"
