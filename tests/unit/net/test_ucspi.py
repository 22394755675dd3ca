"""What is told of a connection."""

import pytest

from quail.net import ucspi


def test_an_ipv4_connection():
    found = ucspi.known(("::ffff:192.0.2.1", 25, 0, 0), ("::ffff:192.0.2.7", 4321, 0, 0))
    assert found == ucspi.known(("192.0.2.1", 25), ("192.0.2.7", 4321))
    assert found == {
        b"PROTO": b"TCP",
        b"TCPLOCALIP": b"192.0.2.1",
        b"TCP6LOCALIP": b"::ffff:192.0.2.1",
        b"TCPLOCALPORT": b"25",
        b"TCP6LOCALPORT": b"25",
        b"TCPREMOTEIP": b"192.0.2.7",
        b"TCP6REMOTEIP": b"::ffff:192.0.2.7",
        b"TCPREMOTEPORT": b"4321",
        b"TCP6REMOTEPORT": b"4321",
    }


def test_as_one_of_ipv6():
    found = ucspi.known(("192.0.2.1", 25), ("192.0.2.7", 4321), as_six=True)
    assert (found[b"PROTO"], found[b"TCPREMOTEIP"]) == (b"TCP6", b"::ffff:192.0.2.7")


def test_an_interface():
    found = ucspi.known(("fe80::1%eth0", 25, 0, 2), ("fe80::2%eth0", 4321, 0, 2))
    assert (found[b"PROTO"], found[b"TCPLOCALIP"], found[b"TCPREMOTEIP"]) == (b"TCP6", b"fe80::1", b"fe80::2")
    assert found[b"TCP6INTERFACE"] == b"eth0"


@pytest.mark.parametrize(
    ("ip", "shown"),
    [
        ("2001:db8::1", "2001:db8::1"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8::1:2:3:4:5"),
        ("0:1:2:3:4:5:6:7", "::1:2:3:4:5:6:7"),
        ("1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7::"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("::", "::"),
    ],
)
def test_short_forms(ip, shown):
    assert ucspi.six(ip) == ucspi.four(ip) == shown


def test_an_environment_without_what_was_told_before():
    before = {b"PATH": b"/bin", b"TCPREMOTEINFO": b"x", b"TCP6INTERFACE": b"y", b"TCPX": b"z", b"PROTO": b"TCP"}
    assert ucspi.without(before) == {b"PATH": b"/bin", b"TCPX": b"z", b"PROTO": b"TCP"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, b""),
        (b"", b""),
        (b"a%b:c d\x7f\xff~!", b"a?b?c?d??~!"),
        (b"x" * 99, b"x" * 99),
        (b"x" * 100, b"x" * 100 + b"..."),
        (b"x" * 101, b"x" * 100 + b"..."),
    ],
)
def test_fields_of_the_log(text, shown):
    assert ucspi.field(text) == shown


def test_names():
    assert ucspi.name_text([b"Mail-1", b"ex_ample", b"a.b\xe9"]) == b"mail-1.ex_ample.a\\056b\\351"
