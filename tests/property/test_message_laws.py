"""Laws of message/ for any bytes."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from quail.message import address, bounce, logtext, received, verp
from quail.message.routing import Routes

addresses = st.binary(max_size=40) | st.text('ab%@."\\ -\n', max_size=20).map(str.encode)
hosts = st.text("ab.", max_size=6).map(str.encode)


def unquote(quoted: bytes) -> bytes:
    """What a reader of RFC 5321's Mailbox takes from it; written apart from quote()."""
    if not quoted.startswith(b'"'):
        return quoted
    out = bytearray()
    at = 1
    while quoted[at] != ord('"'):
        at += quoted[at] == ord("\\")
        out.append(quoted[at])
        at += 1
    return bytes(out) + quoted[at + 1 :]


@given(addresses)
@example(b'"')
@example(b"\\@x")
def test_quoting_can_be_read_back(plain):
    quoted = address.quote(plain)
    assert unquote(quoted) == plain
    local = quoted[: len(quoted) - len(plain.rpartition(b"@")[2])] if b"@" in plain else quoted
    assert re.fullmatch(rb'(?s)("(?:[^"\\\r\n]|\\.)*"|[^\s"\\\x80-\xff]*)@?', local)


@given(addresses)
def test_splitting_loses_only_the_at_sign(plain):
    local, host = address.split(plain)
    assert b"@" not in host
    assert plain in {local + b"@" + host, local}


routings = st.builds(
    Routes,
    st.lists(hosts, max_size=3),
    st.dictionaries(hosts | addresses, st.sampled_from([b"", b"joe", b"joe-v"]), max_size=4),
    st.lists(hosts, max_size=3),
    hosts,
)


@given(routings, addresses)
def test_what_goes_out_as_it_came_is_routed_the_same_again(routes, recipient):
    channel, rewritten = routes.route(recipient)
    assert b"@" in rewritten
    if channel == b"remote":
        assert routes.route(rewritten) == (b"remote", rewritten)


@given(st.lists(hosts, max_size=3), st.lists(hosts, max_size=3), hosts, addresses)
def test_without_virtual_domains_routing_is_idempotent(locals_, percenthack, noat, recipient):
    routes = Routes(locals_, {}, percenthack, noat)
    first = routes.route(recipient)
    assert routes.route(first[1]) == first
    assert (first[0] == b"local") == (first[1].rpartition(b"@")[2].lower() in {name.lower() for name in locals_})


@given(st.dictionaries(hosts, st.sampled_from([b"joe", b"joe-v"]), max_size=4), addresses)
def test_the_prepend_of_a_domain_comes_off_again(virtualdomains, recipient):
    routes = Routes([], virtualdomains, [], b"noat")
    channel, rewritten = routes.route(recipient)
    if channel == b"local":
        assert routes.strip_prepend(rewritten) == (recipient if b"@" in recipient else recipient + b"@noat")


@given(st.binary(), st.binary())
def test_a_paragraph_is_one_paragraph_until_its_end(who, report):
    text = bounce.paragraph(who, report)
    assert text.startswith(b"<")
    assert text.endswith(b"\n\n")
    assert b"\n\n" not in text.rstrip(b"\n")
    assert text.replace(b"/", b"\n").rstrip(b"\n").endswith(report.replace(b"/", b"\n").rstrip(b"\n"))


@given(addresses, addresses)
def test_verp_changes_nothing_but_marked_senders(sender, recipient):
    marked = sender + b"@h-@[]"
    assert verp.bounce_to(marked) == sender + b"@h"
    if b"@" in recipient:
        expanded = verp.expand(marked, recipient)
        assert expanded.startswith(sender)
        assert expanded.endswith(b"@h")
        assert len(expanded) == len(sender) + len(recipient) + len(b"@h")
    if not sender.endswith(b"-@[]"):
        assert verp.expand(sender, recipient) == sender


@given(st.binary(), st.binary(), st.binary(), st.binary())
def test_received_is_two_lines_of_plain_text(host, info, helo, local):
    field = received.from_network(host, b"::1", info, helo, local, b"SMTP", 0)
    assert re.fullmatch(rb"Received: [ -~]+\n  by [ -~]* with SMTP; 1 Jan 1970 00:00:00 -0000\n", field)


@given(st.binary())
def test_a_log_word_has_no_blanks_and_keeps_its_length(text):
    word = logtext.safe(text)
    assert len(word) == len(text)
    assert re.fullmatch("[!-~]*", word)
