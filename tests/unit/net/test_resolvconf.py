"""resolv.conf and what counts of it; a file that changes while it is used."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.control.nameservers import is_address
from quail.control.reader import Control
from quail.errors import ConfigError
from quail.net.resolvconf import LOOPBACK, ResolvConf, nameservers, parse


def shape(configuration):
    return {name: getattr(configuration, name) for name in ("timeout", "attempts", "rotate", "use_tcp")}


PLAIN = {"timeout": 5, "attempts": 2, "rotate": False, "use_tcp": False}


@pytest.mark.parametrize(
    ("text", "servers", "options"),
    [
        (b"", [LOOPBACK], {}),
        (b"# nothing\n;nothing\nsearch example.org\ndomain example.org\n", [LOOPBACK], {}),
        (
            b"nameserver 192.0.2.1\n\tnameserver  2001:db8::1 comment\nnameserver fe80::1%eth0\n",
            [("192.0.2.1", 53), ("2001:db8::1", 53), ("fe80::1%eth0", 53)],
            {},
        ),
        (b"nameserver\nnameserver ns.example.org\nnameserver 192.0.2.\nnameserver 192.0.2.1%eth0\n", [LOOPBACK], {}),
        (b"nameserver 192.0.2.1\r\noptions rotate\r\n", [("192.0.2.1", 53)], {"rotate": True}),
        (b"#nameserver 192.0.2.1\nnameserver 192.0.2.2", [("192.0.2.2", 53)], {}),
        (
            b"options timeout:1 attempts:4 ndots:3 use-vc rotate edns0\n",
            [LOOPBACK],
            {"timeout": 1, "attempts": 4, "use_tcp": True, "rotate": True},
        ),
        (b"options timeout:1\noptions attempts:3\n", [LOOPBACK], {"timeout": 1, "attempts": 3}),
        (b"options timeout:999999999999 attempts:77\n", [LOOPBACK], {"timeout": 30, "attempts": 5}),
        (b"options timeout:0 attempts:-1 attempts: timeout:x attempts\n", [LOOPBACK], {}),
    ],
)
def test_what_counts(text, servers, options):
    found = parse(text)
    assert found.servers == servers
    assert shape(found) == PLAIN | options


LINES = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.builds(
            lambda *words: b" ".join(words), st.sampled_from([b"nameserver", b"options"]), st.binary(max_size=20)
        ),
        st.sampled_from([b"nameserver ::1", b"options timeout:\xb2", b"options attempts:2:", b"nameserver \x00"]),
    )
)


@given(LINES)
def test_nothing_in_it_is_an_error(lines):
    found = parse(b"\n".join(lines))
    assert found.servers
    assert all(is_address(address) and port == 53 for address, port in found.servers)
    assert 1 <= found.timeout <= 30
    assert 1 <= found.attempts <= 5


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_a_file_that_changes(tmp_path):
    path, clock = tmp_path / "resolv.conf", Clock()
    file = ResolvConf(str(path), clock)
    assert file.current().servers == [LOOPBACK]  # there is none

    def write(number):
        (tmp_path / "new").write_text(f"nameserver 192.0.2.{number}\n")
        os.replace(tmp_path / "new", path)

    write(1)
    assert file.current().servers == [LOOPBACK]  # looked at once a second
    clock.now += 1
    assert file.current().servers == [("192.0.2.1", 53)]
    write(2)
    clock.now += 0.5
    assert file.current().servers == [("192.0.2.1", 53)]
    clock.now += 0.5
    assert file.current().servers == [("192.0.2.2", 53)]
    clock.now += 1
    known = file.current()
    clock.now += 1
    assert file.current() is known  # unchanged: not read again
    with open(path, "w") as same:  # in place
        same.write("nameserver 192.0.2.33\n")
    clock.now += 1
    assert file.current().servers == [("192.0.2.33", 53)]
    path.unlink()
    clock.now += 1
    assert file.current().servers == [LOOPBACK]
    path.mkdir()
    clock.now += 1
    assert file.current().servers == [LOOPBACK]


@pytest.fixture
def control(tmp_path):
    return Control(str(tmp_path))


def test_without_control_nameservers_resolv_conf_counts(control, tmp_path):
    assert nameservers(control) is None
    (tmp_path / "nameservers").write_bytes(b"# none\n\n")
    assert nameservers(control) is None


def test_control_nameservers(control, tmp_path):
    text = (
        b"192.0.2.1\n192.0.2.2:5353\n# c\n2001:db8::1\n[2001:db8::2]:54\n[2001:db8::3]\nfe80::1%eth0\n[fe80::1%eth0]:5"
    )
    (tmp_path / "nameservers").write_bytes(text)
    assert nameservers(control) == [
        ("192.0.2.1", 53),
        ("192.0.2.2", 5353),
        ("2001:db8::1", 53),
        ("2001:db8::2", 54),
        ("2001:db8::3", 53),
        ("fe80::1%eth0", 53),
        ("fe80::1%eth0", 5),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"ns.example.org", "is not the address of a name server"),
        (b"ns.example.org:53", "is not the address of a name server"),
        (b"[192.0.2.1]:53", "is not the address of a name server"),
        (b"[192.0.2.1]", "is not the address of a name server"),
        (b"192.0.2.1%eth0", "is not the address of a name server"),
        (b"fe80::1%", "is not the address of a name server"),
        (b"[::1", "is not the address of a name server"),
        (b":53", "is not the address of a name server"),
        (b"\xc3\xbc", "is not the address of a name server"),
        (b"192.0.2.1:", "does not end in a port"),
        (b"192.0.2.1:0", "does not end in a port"),
        (b"192.0.2.1:65536", "does not end in a port"),
        (b"[::1]:x", "does not end in a port"),
    ],
)
def test_lines_that_are_no_name_server(control, tmp_path, line, reason):
    (tmp_path / "nameservers").write_bytes(b"192.0.2.1\n\n" + line + b"\n")
    with pytest.raises(ConfigError, match=reason) as caught:
        nameservers(control)
    assert caught.value.line == 3
    assert caught.value.path.endswith("/nameservers")
    assert caught.value.remedy.startswith("write ")


@given(LINES)
def test_control_nameservers_raises_nothing_else(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("control")
    (folder / "nameservers").write_bytes(b"\n".join(lines))
    try:
        found = nameservers(Control(str(folder)))
    except ConfigError:
        return
    assert found is None or all(is_address(address) and 0 < port < 65536 for address, port in found)
