"""qmail's reading rules, one by one, and what Quail refuses that qmail would misread."""

import os

import pytest

from quail.control.reader import Control, ip_version, parse_listen
from quail.control.table import CDB, INTEGER, LINE, LIST, LISTEN, PAIRS, TABLE
from quail.control.view import view
from quail.errors import ConfigError, TemporaryError


@pytest.fixture
def control(tmp_path) -> Control:
    (tmp_path / "me").write_bytes(b"mx.example.com\n")
    return Control(str(tmp_path))


def put(control: Control, name: str, data: bytes) -> None:
    with open(f"{control.directory}/{name}", "wb") as file:
        file.write(data)


def refused(control: Control, name: str, data: bytes) -> ConfigError:
    put(control, name, data)
    read = {LINE: control.line, INTEGER: control.integer, LIST: control.lines, PAIRS: control.pairs}
    with pytest.raises(ConfigError) as caught:
        control.listen() if TABLE[name].kind == LISTEN else read[TABLE[name].kind](name)
    assert caught.value.path == f"{control.directory}/{name}"
    assert caught.value.remedy
    return caught.value


# Lines


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"bounces\n", b"bounces"),
        (b"bounces", b"bounces"),
        (b"bounces \t \nsecond line\n", b"bounces"),
        (b"  bounces\n", b"  bounces"),
        (b"# no comments here\n", b"# no comments here"),
        (b"\nsecond\n", b""),
        (b"", b""),
        (b"b\xc3\xb6unces\n", b"b\xc3\xb6unces"),
    ],
)
def test_line(control: Control, data: bytes, value: bytes) -> None:
    put(control, "bouncefrom", data)
    assert control.line("bouncefrom") == value


def test_missing_line_is_the_default(control: Control) -> None:
    assert control.line("bouncefrom") == b"MAILER-DAEMON"


def test_missing_host_is_me_then_the_literal(control: Control) -> None:
    assert control.line("bouncehost") == b"mx.example.com"
    os.unlink(control.directory + "/me")
    assert control.line("bouncehost") == b"bouncehost"


def test_without_me_an_optional_line_is_none_and_a_required_one_an_error(control: Control) -> None:
    os.unlink(control.directory + "/me")
    assert control.line("localiphost") is None
    with pytest.raises(ConfigError, match=r"localiphost: does not exist, nor does .*/me"):
        control.required("localiphost")
    with pytest.raises(ConfigError, match=r"smtpgreeting.*write the full name of this host into"):
        control.line("smtpgreeting")
    with pytest.raises(ConfigError, match="me: does not exist; write a line like"):
        control.line("me")


def test_required_is_the_line(control: Control) -> None:
    assert control.required("me") == b"mx.example.com"


@pytest.mark.parametrize("name", ["me", "envnoathost", "smtpgreeting", "mode"])
def test_a_line_that_must_say_something(control: Control, name: str) -> None:
    assert refused(control, name, b"\n").reason == "is empty"


def test_an_empty_me_does_not_stand_in(control: Control) -> None:
    put(control, "me", b"")
    with pytest.raises(ConfigError, match="me line 1: is empty"):
        control.line("bouncehost")


def test_carriage_return_is_named_as_such(control: Control) -> None:
    error = refused(control, "me", b"mx.example.com\r\n")
    assert (error.line, error.reason) == (1, "ends in a carriage return")


@pytest.mark.parametrize("byte", [0, 7, 11, 13, 31, 127])
def test_control_bytes_are_refused(control: Control, byte: int) -> None:
    assert f"byte {byte}" in refused(control, "me", b"mx%cx\n" % byte).reason


def test_mode_is_one_of_two_words(control: Control) -> None:
    put(control, "mode", b"single\n")
    assert control.line("mode") == b"single"
    assert str(refused(control, "mode", b"both\n")).endswith(
        "mode line 1: says neither single nor system; write single or system"
    )


# Integers


@pytest.mark.parametrize(
    ("data", "value"), [(b"12\n", 12), (b"12x\n", 12), (b"007", 7), (b"0\n", 0), (b"5 \n9\n", 5), (b"8\r\n", 8)]
)
def test_integer(control: Control, data: bytes, value: int) -> None:
    put(control, "databytes", data)
    assert control.integer("databytes") == value


def test_missing_integer_is_the_default(control: Control) -> None:
    assert control.integer("concurrencylocal") == 10


@pytest.mark.parametrize("data", [b"", b"\n", b" 12\n", b"-1\n", b"+1\n", b"ten\n", b"\n12\n", b"\xb2\n"])
def test_integer_without_a_leading_digit_is_refused(control: Control, data: bytes) -> None:
    assert refused(control, "databytes", data).line == 1


def test_integer_is_held_within_its_bounds(control: Control) -> None:
    put(control, "timeoutsmtpd", b"0\n")
    assert control.integer("timeoutsmtpd") == 1
    put(control, "minfree", b"1\n")
    assert control.integer("minfree") == 128 * 1024 * 1024
    put(control, "concurrencylocal", b"9" * 10000)
    assert control.integer("concurrencylocal") == TABLE["concurrencylocal"].high
    put(control, "concurrencylocal", b"0" * 10000 + b"7")
    assert control.integer("concurrencylocal") == 7


# Lists


def test_list(control: Control) -> None:
    put(control, "locals", b"a.example \t\n\n# note\r\n #kept\n  b.example\n\t\n#\nc.example")
    assert control.lines("locals") == [b"a.example", b" #kept", b"  b.example", b"c.example"]


def test_empty_list_is_empty_not_the_default(control: Control) -> None:
    put(control, "locals", b"")
    assert control.lines("locals") == []


def test_missing_locals_is_me(control: Control) -> None:
    assert control.lines("locals") == [b"mx.example.com"]
    os.unlink(control.directory + "/me")
    with pytest.raises(ConfigError):
        control.lines("locals")


def test_missing_rcpthosts_is_nobody(control: Control) -> None:
    assert control.lines("rcpthosts") == []


def test_default_delivery(control: Control) -> None:
    assert control.lines("defaultdelivery") == [b"./Maildir/"]
    put(control, "defaultdelivery", b"|dot-forward .forward\n./Mailbox\n")
    assert control.lines("defaultdelivery") == [b"|dot-forward .forward", b"./Mailbox"]
    assert refused(control, "defaultdelivery", b"# nothing\n").reason == "is empty"  # would discard all mail


def test_list_error_names_its_line(control: Control) -> None:
    assert refused(control, "locals", b"# note\n\na.example\nb.example\r\n").line == 4


# Pairs


def test_pairs(control: Control) -> None:
    put(control, "virtualdomains", b"A.Example:Joe\n.wild:x:y \n:all\nnot.wild:\n# c\na.example:last\n")
    assert control.pairs("virtualdomains") == {
        b"a.example": b"last",
        b".wild": b"x:y",
        b"": b"all",
        b"not.wild": b"",
    }


def test_missing_pairs_are_none(control: Control) -> None:
    assert control.pairs("virtualdomains") == {}


def test_pair_without_colon_is_refused(control: Control) -> None:
    assert refused(control, "virtualdomains", b"a:b\nexample.com jane\n").line == 2


# Listen


def test_listen(control: Control) -> None:
    assert control.listen() == []
    put(control, "listen", b"# comment\nsmtp 127.0.0.1:2525\nsmtp [::1]:0\nsmtp\t[::1]:0\n")
    assert control.listen() == [("smtp", "127.0.0.1", 2525), ("smtp", "::1", 0), ("smtp", "::1", 0)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"smtp", "is not SERVICE ADDRESS:PORT"),
        (b"smtp 127.0.0.1:25 x", "is not SERVICE ADDRESS:PORT"),
        (b"gopher 127.0.0.1:70", "unknown service gopher"),
        (b"smtps 127.0.0.1:465", "smtps is not in this version"),
        (b"smtp localhost:25", "localhost:25 does not begin with an IP address"),
        (b"smtp :25", ":25 does not begin with an IP address"),
        (b"smtp ::1:25", "::1:25 does not begin with an IP address"),
        (b"smtp 1.2.3.4", "1.2.3.4 has no port"),
        (b"smtp ::1", "::1 does not begin with an IP address"),
        (b"smtp [::1]", "[::1] has no port"),
        (b"smtp 1.2.3.4:", "1.2.3.4: does not end in a port"),
        (b"smtp 1.2.3.4:65536", "1.2.3.4:65536 does not end in a port"),
        (b"smtp 1.2.3.4:-1", "1.2.3.4:-1 does not end in a port"),
        (b"smtp 1.2.3.4:\xb2", "1.2.3.4:\\xb2 does not end in a port"),
    ],
)
def test_bad_listen_line(control: Control, line: bytes, reason: str) -> None:
    error = refused(control, "listen", b"#\n" + line + b"\n")
    assert (error.line, error.reason) == (2, reason)


@pytest.mark.parametrize(
    ("data", "addresses"),
    [
        (b"", {}),
        (b"# none\n", {}),
        (b"192.0.2.1\n", {4: "192.0.2.1"}),
        (b"2001:db8::1  \n# and\n192.0.2.1", {4: "192.0.2.1", 6: "2001:db8::1"}),
    ],
)
def test_addresses(control: Control, data: bytes, addresses: dict[int, str]) -> None:
    assert control.addresses("outgoingip") == {}
    put(control, "outgoingip", data)
    assert control.addresses("outgoingip") == addresses


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"::2", "is a second address of IPv6"),
        (b"mail.example.com", "mail.example.com is not an IP address"),
        (b"[2001:db8::1]", "[2001:db8::1] is not an IP address"),
        (b"192.0.2.1:25", "192.0.2.1:25 is not an IP address"),
        (b"fe80::1%eth0", "fe80::1%eth0 is not an IP address"),
        (b"192.0.2.\xb2", "192.0.2.\\xb2 is not an IP address"),
    ],
)
def test_bad_addresses(control: Control, line: bytes, reason: str) -> None:
    put(control, "outgoingip", b"::1\n" + line + b"\n")
    with pytest.raises(ConfigError) as caught:
        control.addresses("outgoingip")
    assert (caught.value.path, caught.value.line) == (f"{control.directory}/outgoingip", 2)
    assert caught.value.reason == reason
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "version"), [("192.0.2.1", 4), ("::", 6), ("::ffff:1.2.3.4", 6), ("", 0), ("1.2", 0), ("1\0", 0)]
)
def test_ip_version(text: str, version: int) -> None:
    assert ip_version(text) == version


def test_paths(control: Control) -> None:
    put(control, "listen", b"lmtp run/lmtp\nlmtp /run/quail/lmtp\nlmtp 127.0.0.1:24\n")
    assert control.listen() == [("lmtp", "run/lmtp", 0), ("lmtp", "/run/quail/lmtp", 0), ("lmtp", "127.0.0.1", 24)]
    assert view(control, TABLE["listen"]).values == [b"lmtp run/lmtp", b"lmtp /run/quail/lmtp", b"lmtp 127.0.0.1:24"]


@pytest.mark.parametrize(
    "path", [b"run/", b"/", b"/r\xfcn/lmtp", b"/" + b"x" * 107], ids=["folder", "root", "8 bits", "long"]
)
def test_bad_paths(control: Control, path: bytes) -> None:
    assert refused(control, "listen", b"lmtp " + path + b"\n").reason.endswith("can't be the path of a socket")


def test_only_lmtp_has_paths(control: Control) -> None:
    assert refused(control, "listen", b"smtp run/smtp\n").reason == "run/smtp does not begin with an IP address"


def test_the_same_path_twice() -> None:
    with pytest.raises(ConfigError, match=r"line 2: run/lmtp is listed twice"):
        parse_listen("listen", b"lmtp run/lmtp\nlmtp run/lmtp\n")


def test_the_same_place_twice() -> None:
    with pytest.raises(ConfigError, match=r"line 2: 0\.0\.0\.0:25 is listed twice"):
        parse_listen("listen", b"smtp 0.0.0.0:25\nsmtp 0.0.0.0:25\n")


# Files


def test_unreadable_file_is_temporary_and_named(control: Control) -> None:
    os.mkdir(control.directory + "/locals")
    with pytest.raises(TemporaryError, match="locals: cannot be read: Is a directory") as caught:
        control.lines("locals")
    assert not isinstance(caught.value, ConfigError)


def test_a_changed_file_is_seen_at_once(control: Control) -> None:
    put(control, "databytes", b"1")
    assert control.integer("databytes") == 1
    put(control, "databytes", b"2")
    assert control.integer("databytes") == 2


def test_fifo_does_not_block(control: Control) -> None:
    os.mkfifo(control.directory + "/bouncefrom")
    assert control.line("bouncefrom") == b""


@pytest.mark.parametrize(("method", "name"), [("line", "locals"), ("integer", "me"), ("lines", "virtualdomains")])
def test_wrong_kind_is_a_bug_of_the_caller(control: Control, method: str, name: str) -> None:
    with pytest.raises(TypeError, match="is of kind"):
        getattr(control, method)(name)
    with pytest.raises(KeyError):
        getattr(control, method)("nosuchfile")


def test_path_of_a_compiled_file() -> None:
    assert TABLE["morercpthosts.cdb"].kind == CDB
    assert Control().path("morercpthosts.cdb") == "control/morercpthosts.cdb"
