"""control/smtproutes: which entry decides, and which relay a value names."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.control.reader import parse_pairs
from quail.control.routes import LMTP, QMTP, SMTP, Relay, parse_relay
from quail.delivery.remote.routes import SmtpRoutes
from quail.errors import ConfigError

PATH = "control/smtproutes"


def routes(text: bytes) -> SmtpRoutes:
    return SmtpRoutes(parse_pairs(PATH, text), PATH)


def shown(relay: Relay | None) -> tuple[bytes, bool, int, str] | None:
    return None if relay is None else (relay.host, relay.is_ip, relay.port, relay.protocol)


# which entry decides (facts 9.1)

EXAMPLE = b"""\
# comment
inside.example.com:
.example.com:hub.example.com
special.example.com:special.example.net:26
example.org:192.0.2.1
.org:[2001:db8::25]
[192.0.2.9]:literal.example.com
:smarthost.example.net:587
"""


@pytest.mark.parametrize(
    ("host", "relay"),
    [
        (b"special.example.com", b"special.example.net"),
        (b"SPECIAL.Example.COM", b"special.example.net"),
        (b"other.example.com", b"hub.example.com"),
        (b"a.b.c.example.com", b"hub.example.com"),
        (b"sub.special.example.com", b"hub.example.com"),  # an entry is for the one host
        (b"inside.example.com", None),
        (b"sub.inside.example.com", b"hub.example.com"),
        (b"example.com", b"smarthost.example.net"),  # no suffix of it begins with a dot, but .com
        (b"notexample.com", b"smarthost.example.net"),
        (b"example.org", b"192.0.2.1"),
        (b"mail.example.org", b"2001:db8::25"),
        (b"org", b"smarthost.example.net"),
        (b"[192.0.2.9]", b"literal.example.com"),
        (b"[192.0.2.10]", b"smarthost.example.net"),
        (b"", b"smarthost.example.net"),
        (b".", b"smarthost.example.net"),
        (b"..example.com", b"hub.example.com"),
    ],
)
def test_the_most_particular_entry_decides(host, relay):
    found = routes(EXAMPLE).relay(host)
    assert (found and found.host) == relay


def test_without_entries_and_without_an_entry_for_all():
    assert routes(b"").relay(b"example.com") is None
    assert routes(b"example.com:a").relay(b"example.org") is None
    assert routes(b":").relay(b"example.org") is None


def test_the_relay_of_the_worked_examples():
    assert shown(routes(b":127.0.0.1:2599").relay(b"x.y")) == (b"127.0.0.1", True, 2599, SMTP)


# which relay a value names


@pytest.mark.parametrize(
    ("value", "relay"),
    [
        (b"", None),
        (b"relay.example.com", (b"relay.example.com", False, 25, SMTP)),
        (b"relay.example.com.", (b"relay.example.com.", False, 25, SMTP)),
        (b"relay:26", (b"relay", False, 26, SMTP)),
        (b"mx_1-a.example:65535", (b"mx_1-a.example", False, 65535, SMTP)),
        (b"192.0.2.1", (b"192.0.2.1", True, 25, SMTP)),
        (b"192.0.2.1:1", (b"192.0.2.1", True, 1, SMTP)),
        (b"[192.0.2.1]", (b"192.0.2.1", True, 25, SMTP)),
        (b"[192.0.2.1]:0026", (b"192.0.2.1", True, 26, SMTP)),
        (b"[2001:db8::1]", (b"2001:db8::1", True, 25, SMTP)),
        (b"[::1]:2525", (b"::1", True, 2525, SMTP)),
        (b"qmtp:relay", (b"relay", False, 209, QMTP)),
        (b"QMTP:relay:6209", (b"relay", False, 6209, QMTP)),
        (b"qmtp:192.0.2.1", (b"192.0.2.1", True, 209, QMTP)),
        (b"qmtp:[2001:db8::1]", (b"2001:db8::1", True, 209, QMTP)),
        (b"qmtp:[2001:db8::1]:6209", (b"2001:db8::1", True, 6209, QMTP)),
        (b"qmtp", (b"qmtp", False, 25, SMTP)),
        (b"qmtp:209", (b"qmtp", False, 209, SMTP)),
        (b"qmtp:qmtp:209", (b"qmtp", False, 209, QMTP)),
        (b"10.example", (b"10.example", False, 25, SMTP)),
        (b"lmtp:relay", (b"relay", False, 24, LMTP)),
        (b"LMTP:[::1]:2424", (b"::1", True, 2424, LMTP)),
        (b"lmtp:24", (b"lmtp", False, 24, SMTP)),
        (b"lmtp:/run/dovecot/lmtp", (b"/run/dovecot/lmtp", False, 0, LMTP)),
        (b"lmtp:/a:b", (b"/a:b", False, 0, LMTP)),
    ],
)
def test_forms(value, relay):
    assert shown(parse_relay(PATH, 1, value)) == relay


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b" relay", "has a blank in it"),
        (b"relay\t25", "has a blank in it"),
        (b"relay:0", "has no port after its last colon"),
        (b"relay:65536", "has no port after its last colon"),
        (b"relay:999999999999", "has no port after its last colon"),
        (b"relay:", "has no port after its last colon"),
        (b"relay:smtp", "has no port after its last colon"),
        (b"relay:+25", "has no port after its last colon"),
        (b"relay:25:26", "has no port after its last colon"),
        (b"smtp:relay", "has no port after its last colon"),
        (b"qmtp:0", "has no port after its last colon"),
        (b"[::1]:", "has no port after its last colon"),
        (b":25", "names no host"),
        (b"qmtp:", "names no host"),
        (b"qmtp:qmtp:", "has no port after its last colon"),
        (b"joe@relay", "names no host"),
        (b"relay,other", "names no host"),
        (b"b\xfccher.example", "names no host"),
        (b"2001:db8::1", "is an IPv6 address without brackets"),
        (b"qmtp:::1", "is an IPv6 address without brackets"),
        (b"[relay]", "has no IP address in its brackets"),
        (b"[]", "has no IP address in its brackets"),
        (b"[192.0.2.1", "has no IP address in its brackets"),
        (b"[192.0.2.256]", "has no IP address in its brackets"),
        (b"[fe80::1%eth0]", "has no IP address in its brackets"),
        (b"[::1]25", "goes on after its brackets"),
        (b"192.0.2.256", "is neither a name nor an IP address"),
        (b"192.0.2", "is neither a name nor an IP address"),
        (b"10.1.", "is neither a name nor an IP address"),
        (b"/run/dovecot/lmtp", "names no host"),
        (b"qmtp:/run/dovecot/lmtp", "names no host"),
        (b"lmtp:run/dovecot/lmtp", "names no host"),
        (b"lmtp:/", "can't be the path of a socket"),
        (b"lmtp:/run/", "can't be the path of a socket"),
        (b"lmtp:/" + b"x" * 107, "can't be the path of a socket"),
    ],
)
def test_values_that_name_no_relay(value, reason):
    with pytest.raises(ConfigError) as caught:
        parse_relay(PATH, 7, value)
    assert (caught.value.path, caught.value.line) == (PATH, 7)
    assert caught.value.reason.endswith(reason)
    assert caught.value.remedy
    with pytest.raises(ConfigError) as caught:
        SmtpRoutes({b"example.com": value}, PATH)
    assert (caught.value.path, caught.value.line) == (PATH, 0)


# laws

NAMES = st.from_regex(rb"[a-z][a-z0-9-]{0,9}(\.[a-z][a-z0-9-]{0,9}){0,3}", fullmatch=True)
ADDRESSES = st.ip_addresses().map(lambda ip: str(ip).encode())
PORTS = st.none() | st.integers(1, 65535)


@given(host=NAMES | ADDRESSES, port=PORTS, protocol=st.sampled_from([SMTP, QMTP, LMTP]), brackets=st.booleans())
def test_what_is_written_is_read(host, port, protocol, brackets):
    is_ip = host[:1].isdigit() or b":" in host
    text = b"[%b]" % host if b":" in host or (is_ip and brackets) else host
    value = (protocol.encode() + b":" if protocol != SMTP else b"") + text + (b"" if port is None else b":%d" % port)
    expected = (host, is_ip, port or {SMTP: 25, QMTP: 209, LMTP: 24}[protocol], protocol)
    assert shown(parse_relay(PATH, 1, value)) == expected


@given(st.binary(max_size=40) | st.text("qlmtp:/[]0129.abf\0 ", max_size=20).map(str.encode))
def test_any_value_is_a_relay_or_an_error(value):
    try:
        relay = parse_relay(PATH, 1, value)
    except ConfigError:
        return
    if relay is None:
        assert value == b""
        return
    assert relay.host in value
    if relay.host.startswith(b"/"):
        assert (relay.port, relay.protocol) == (0, LMTP)
        return
    assert 0 < relay.port < 65536
    if relay.is_ip:
        ipaddress.ip_address(relay.host.decode())
    else:
        assert not {*b" \t:[]\0"} & {*relay.host}


LABELS = st.sampled_from([b"a", b"b", b"com"])
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(b".".join)
KEYS = HOSTS | HOSTS.map(lambda host: b"." + host) | st.just(b"")


@given(keys=st.sets(KEYS, max_size=6), host=HOSTS)
def test_the_longest_entry_that_fits_decides(keys, host):
    """An entry fits that is the host, or an end of it with its dot, or empty; all of these are of different lengths."""
    names = dict(enumerate(sorted(keys)))
    found = SmtpRoutes({key: b"r%d" % number for number, key in names.items()}, PATH).relay(host)
    fitting = [key for key in keys if key in {host, b""} or (key[:1] == b"." and host.endswith(key))]
    assert (found and names[int(found.host[1:])]) == max(fitting, key=len, default=None)
