"""What `quail config check` finds, one mistake at a time, in a home that is otherwise right."""

import os

import pytest

from quail.cdb.maker import Maker
from quail.control.checks import ERROR, WARNING, check, nearest

SOUND = {
    "me": b"mail.example.com\n",
    "mode": b"single\n",
    "locals": b"mail.example.com\nexample.com\n",
    "rcpthosts": b"example.com\n.example.com\n",
    "listen": b"smtp 127.0.0.1:2525\n",
    "concurrencyremote": b"0\n",
}
NOT_ACCEPTED = " is missing: mail for it is delivered here, but not accepted from outside"
WAITS = " is accepted from outside, but is not delivered here and so waits in the queue"
CAN_RELAY = " is in rcpthosts too: anybody can relay to anywhere as user%host@example.com"


@pytest.fixture
def home(tmp_path) -> str:
    (tmp_path / "control").mkdir()
    for name, data in SOUND.items():
        (tmp_path / "control" / name).write_bytes(data)
    return str(tmp_path)


def put(home: str, path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(f"{home}/{path}"), exist_ok=True)
    with open(f"{home}/{path}", "wb") as file:
        file.write(data)


def only(home: str) -> tuple[str, int, str, str]:
    """The single problem of the home."""
    problems = check(home)
    assert len(problems) == 1, [str(problem) for problem in problems]
    problem = problems[0]
    assert problem.remedy
    return problem.path, problem.line, problem.severity, problem.reason


def test_a_sound_home_has_no_problems(home: str) -> None:
    put(home, "control/virtualdomains", b"shop.example.com:jane\nnot.example.com:\n")
    put(home, "control/databytes", b"50000000\n")
    put(home, "control/smtproutes", b":relay.example.com\nexample.org:\nexample.net:qmtp:[2001:db8::1]:628\n")
    put(home, "control/outgoingip", b"127.0.0.1\n")
    put(home, "control/nameservers", b"127.0.0.1:5353\n::1\n")
    put(home, "control/.me.tmp", b"left by a crash")
    assert check(home) == []


def test_no_home_at_all(tmp_path) -> None:
    path, line, severity, reason = only(str(tmp_path / "nowhere"))
    assert (path, line, severity) == ("control", 0, ERROR)
    assert "nowhere" in reason


@pytest.mark.parametrize(
    ("name", "data", "line", "reason"),
    [
        ("me", b"", 1, "is empty"),
        ("databytes", b"10 MB", 1, "is taken as 10: a unit or sign is not understood"),
        ("databytes", b"many", 1, "does not begin with a digit"),
        ("timeoutsmtpd", b"0", 1, "is taken as 1"),
        ("minfree", b"1000", 1, "is taken as 134217728"),
        ("rcptcheck", b"0", 1, "mail for unknown users is accepted, and bounces go to senders who are often forged"),
        ("bouncefrom", b"bounces\nand more", 2, "only the first line counts"),
        ("bouncefrom", b"# note", 1, "is taken as the value: this file has no comments"),
        ("bouncefrom", b" bounces", 1, "begins with a blank, which becomes part of the value"),
        ("rcpthosts", b"example.com\n.example.com\n x.org", 3, "begins with a blank, and so matches nothing"),
        ("rcpthosts", b"a.example b.example\n.example.com\nexample.com", 1, "has a blank in a name, and so matches nothing"),
        ("rcpthosts", b"example.com\n.example.com\n#\nEXAMPLE.com", 4, "has the name of line 1 again"),
        ("rcpthosts", b"example.com\n.example.com\njoe@example.com", 3, "is an address, and so matches no domain"),
        ("rcpthosts", b"example.com", 0, "mail.example.com" + NOT_ACCEPTED),
        ("locals", b"example.com\n.example.com", 2, "begins with a dot, and so matches nothing"),
        ("locals", b"example.com\r\n", 1, "ends in a carriage return"),
        ("badmailfrom", b"@spam.example\nspam.example", 2, "has no @, and so matches no sender"),
        ("virtualdomains", b"example.com:jane", 0, "example.com is in locals too, which goes first"),
        ("virtualdomains", b"J@example.com:j", 0, "j@example.com does nothing: example.com is in locals too, which goes first"),
        ("rcpthosts", b"example.com\n.example.com\nexample.net", 0, "mail for example.net" + WAITS),
        ("virtualdomains", b"example.net:jane", 0, "example.net" + NOT_ACCEPTED),
        ("virtualdomains", b"jane", 1, "has no colon"),
        ("percenthack", b"example.com", 0, "example.com" + CAN_RELAY),
        ("listen", b"smtp 127.0.0.1:2525\nsmtps 127.0.0.1:2465", 2, "smtps is not in this version"),
        ("qmqpservers", b"192.0.2.7\nrelay.example.com", 2, "relay.example.com is not the address of a QMQP server"),
        ("qmqpservers", b"[2001:db8::7]:0", 1, "[2001:db8::7]:0 does not end in a port"),
        ("smtproutes", b"a:b:1\n# c\nd:e:0", 3, "'e:0' has no port after its last colon"),
        ("outgoingip", b"127.0.0.1\n::1\n127.0.0.2", 3, "is a second address of IPv4"),
        ("outgoingip", b"[::1]", 1, "[::1] is not an IP address"),
        ("nameservers", b"192.0.2.1\nns.example.com", 2, "ns.example.com is not the address of a name server"),
        ("outgoingip", b"192.0.2.1", 0, "192.0.2.1 is not an address of this host: no mail goes out from it"),
        ("morercpthosts.cdb", b"x", 0, "is not a whole cdb file"),
        ("localz", b"x", 0, "nothing reads a file of this name"),
        ("rcpthosts", b"", 0, "names no domain: no mail from outside is accepted"),
    ],
)  # fmt: skip
def test_one_mistake(home: str, name: str, data: bytes, line: int, reason: str) -> None:
    put(home, f"control/{name}", data)
    path, found_line, _, found = only(home)
    if name == "virtualdomains" and "missing" in reason:
        name = "rcpthosts"
    assert (path, found_line, found) == (f"control/{name}", line, reason)


def test_severity_tells_what_stops_from_what_is_odd(home: str) -> None:
    put(home, "control/me", b"")
    put(home, "control/localz", b"")
    assert [(problem.path, problem.severity) for problem in check(home)] == [
        ("control/localz", WARNING),
        ("control/me", ERROR),
    ]
    assert str(check(home)[0]) == ("control/localz: warning: nothing reads a file of this name; did you mean locals?")
    assert str(check(home)[1]).startswith("control/me line 1: error: is empty; write a line like ")


@pytest.mark.parametrize(
    ("name", "data", "severity"),
    [
        ("timeoutsmtpd", b"long", ERROR),
        ("timeoutremote", b"long", ERROR),
        ("smtproutes", b"example.com", ERROR),
        ("smtproutes", b"example.com:a b", ERROR),
        ("outgoingip", b"mail.example.com", ERROR),
        ("outgoingip", b"192.0.2.1", WARNING),
        ("qmqpservers", b"relay.example.com", WARNING),
        ("morercpthosts", b"example.com\r\n", WARNING),
    ],
)
def test_only_what_a_service_reads_is_an_error(home: str, name: str, data: bytes, severity: str) -> None:
    put(home, f"control/{name}", data)
    assert [problem.severity for problem in check(home) if problem.path == f"control/{name}"] == [severity]


@pytest.mark.parametrize(
    ("name", "severity", "reason"),
    [
        ("me", ERROR, "does not exist"),
        ("listen", ERROR, "does not exist: no service is started"),
        ("rcpthosts", WARNING, "does not exist: no mail from outside is accepted (qmail would relay for everybody)"),
    ],
)
def test_missing(home: str, name: str, severity: str, reason: str) -> None:
    os.unlink(f"{home}/control/{name}")
    assert only(home) == (f"control/{name}", 0, severity, reason)


def test_a_directory_in_the_place_of_a_file(home: str) -> None:
    os.mkdir(home + "/control/badmailfrom")
    assert only(home) == ("control/badmailfrom", 0, ERROR, "cannot be read: Is a directory")


def test_files_that_everybody_may_write(home: str) -> None:
    os.chmod(home + "/control/locals", 0o666)
    assert only(home) == ("control/locals", 0, WARNING, "everybody may change it")
    os.chmod(home + "/control/locals", 0o644)
    os.chmod(home + "/control", 0o777)
    assert only(home) == ("control", 0, WARNING, "everybody may write into it")


@pytest.mark.parametrize(
    ("source", "compiled"),
    [
        ("control/morercpthosts", "control/morercpthosts.cdb"),
        ("users/assign", "users/cdb"),
        ("etc/tcprules.d/qmail-smtp", "etc/tcprules.d/qmail-smtp.cdb"),
    ],
)
def test_compiled_files(home: str, source: str, compiled: str) -> None:
    put(home, source, b"example.org\n")
    assert only(home) == (compiled, 0, WARNING, f"does not exist, so nothing of {source} counts yet")
    put(home, compiled, Maker().to_bytes())
    os.utime(f"{home}/{source}", (2000, 2000))
    os.utime(f"{home}/{compiled}", (1000, 1000))
    assert only(home) == (compiled, 0, WARNING, f"is older than {source}")
    os.utime(f"{home}/{compiled}", (2000, 2000))
    assert check(home) == []


@pytest.mark.parametrize("compiled", ["users/cdb", "etc/tcprules.d/qmail-smtp.cdb"])
@pytest.mark.parametrize("kept", [0, 100, 2060])
def test_compiled_files_that_are_damaged(home: str, compiled: str, kept: int) -> None:
    maker = Maker()
    maker.add(b"key", b"data")
    put(home, {"users/cdb": "users/assign"}.get(compiled, compiled.removesuffix(".cdb")), b"")
    put(home, compiled, maker.to_bytes()[:kept])
    assert only(home) == (compiled, 0, WARNING, "is not a whole cdb file")


def test_a_compiled_file_that_cannot_be_read(home: str) -> None:
    put(home, "users/assign", b"")
    os.mkdir(home + "/users/cdb")
    assert only(home) == ("users/cdb", 0, WARNING, "is not a regular file")


@pytest.mark.parametrize(
    ("virtual", "waiting"),
    [
        ("", ["example.net"]),
        ("example.net:jane", []),
        ("EXAMPLE.net:", ["example.net"]),
        (":jane", []),
        ("jane@example.net:jane", []),
    ],
)
def test_accepted_and_not_delivered_here(home: str, virtual: str, waiting: list[str]) -> None:
    put(home, "control/rcpthosts", b"example.com\n.example.com\nexample.net\n.example.org\n")
    put(home, "control/virtualdomains", virtual.encode())
    assert [problem.reason for problem in check(home)] == [f"mail for {name}" + WAITS for name in waiting]


def test_morercpthosts_cover_locals(home: str) -> None:
    os.unlink(home + "/control/rcpthosts")
    put(home, "control/morercpthosts", b"example.com\n.example.com\n")
    put(home, "control/morercpthosts.cdb", Maker().to_bytes())
    assert check(home) == []


def test_nearest() -> None:
    assert nearest("rcpthost") == "rcpthosts"
    assert nearest("zzzzzzzz") is None
    assert nearest("domainkeys") is None
