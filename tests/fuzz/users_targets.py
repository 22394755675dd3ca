"""Fuzz targets of users/: users/assign, the cdb made of it, passwd files, local parts."""

from tests.fuzz.engine import Target

from quail.cdb.file import Database
from quail.cdb.layout import HEADER_SIZE
from quail.cdb.reader import MemoryReader
from quail.errors import ConfigError, PeerError, TemporaryError
from quail.users import assign, getpw, lookup, passwd


class Fixed:
    """Instead of a Follower: a database that does not change."""

    path = "users/cdb"

    def __init__(self, data):
        self._database = Database(self.path, MemoryReader(data), (0, 0, len(data), 0, 0))

    def current(self):
        return self._database


def lookup_in(data):
    """PeerError if this is no cdb at all."""
    found = lookup.Lookup.__new__(lookup.Lookup)
    found._file, found._known, found._wildcards = Fixed(data), None, b""
    return found


def check_assign(data):
    try:
        found = assign.parse(data, "users/assign")
        assert all(item.line <= data.count(b"\n") for item in found)
        compiled = assign.compile_cdb(found)
        assign.check(found, "users/assign")
    except ConfigError as error:
        assert 0 <= error.line <= data.count(b"\n") + 1
        assert error.path == "users/assign"
        return
    users = lookup_in(compiled)
    seen = set()
    for item in found:
        if not item.prefix and item.local.lower() not in seen:
            seen.add(item.local.lower())
            owner = users.find(item.local)
            assert (owner.user, owner.uid, owner.home) == (item.user, int(item.uid), item.home)


def parse_assign(data):
    try:
        assign.compile_cdb(assign.parse(data, "users/assign"))
    except ConfigError:
        pass


ASSIGN = [
    b"=joe:joe:1001:1001:/home/joe:::\n+joe-:joe:1001:1001:/home/joe:-::\n.\n",
    b"+:alias:7790:2108:/var/qmail/alias:-::\n=A.b:a:1:1:/a:-:x:rest\n.ignored\n",
    b"=joe:joe:1:1:home:::\n.\n",
    b".",
]


def check_cdb(data):
    """The first bytes are the local part."""
    local, data = data[:8], data[8:]
    try:
        users = lookup_in(data)
    except PeerError:
        return
    for each in (local, local.rstrip(b"\0"), b"joe", b"joe-" + local, b"a.b"):
        try:
            owner = users.find(each)
        except TemporaryError as error:
            assert str(error).startswith(("unable to read users/cdb: ", "users/cdb: "))
        else:
            if owner is not None:
                assert 0 <= owner.uid < 0xFFFFFFFF
                assert owner.home.startswith(b"/")
                assert len(owner.ext) <= len(data) + len(each)


CDBS = [b"joe-x\0\0\0" + assign.compile_cdb(assign.parse(each, "users/assign")) for each in ASSIGN]


def check_passwd(data):
    options = passwd.Options()
    options.capitals, options.homes = bool(data[:1] < b"\x80"), (passwd.SKIP_MISSING, passwd.UNCHECKED)[len(data) & 1]
    parts = data[1:].split(b"\1")
    names = {f"users/{name}": text for name, text in zip(("include", "mailnames", "subusers"), parts[1:], strict=False)}
    try:
        files = passwd.Files(names.get)
        text = passwd.assign(parts[0], options, files, len, need_alias=False)
    except ConfigError as error:
        assert error.path in {"users/subusers", "users/mailnames", "users/include"}
        return
    assert text.endswith(b".\n")
    for item in assign.parse(text, "users/assign"):
        assert assign.is_id(item.uid)
        assert int(item.uid)


PASSWD = [
    b"\0root:x:0:0::/root:/bin/sh\njoe:x:9:9::/home/joe:/bin/sh\nJane:x:4:4::/abc:\n+::::::\n",
    b"\xffjoe:x:9:9:a:/home/joe:/bin/sh\n\1joe\n\1joe:j.doe:joe\n\1sub:joe:pre:\n",
]


def check_local(data):
    """Which accounts a local part may mean."""
    ends = getpw._ends(data)
    assert ends == sorted(ends, reverse=True)
    assert len(ends) <= getpw.LONGEST + 1
    assert all(0 < end <= getpw.LONGEST for end in ends)
    assert all(data[:end].lower() not in getpw.SERVICES for end in ends)


TARGETS = (
    Target(
        "assign",
        check_assign,
        parse=parse_assign,
        seeds=ASSIGN,
        tokens=(b":", b"=", b"+", b".\n", b"\n", b":::", b"=a:a:1:1:/:::\n", b"+-:a:1:1:/:-::\n", b"\0", b"4294967295"),
        nasty={
            "lines": lambda n: b"=a:a:1:1:/:::\n" * (n // 14) + b".\n",
            "different lines": lambda n: b"".join(b"=%d:a:1:1:/:::\n" % at for at in range(n // 18)) + b".\n",
            "colons": lambda n: b"=" + b":" * n + b"\n.\n",
            "wildcards": lambda n: b"+-:a:1:1:/:::\n" * (n // 14) + b".\n",
            "one name": lambda n: b"=" + b"a" * n + b":a:1:1:/:::\n.\n",
        },
        modules=[assign],
    ),
    Target(
        "users_cdb",
        check_cdb,
        seeds=CDBS,
        tokens=(b"!", b"!joe\0", b"\0", b"-", b"\xff\xff\xff\xff", HEADER_SIZE.to_bytes(4, "little"), b"\x10\0\0\0"),
        modules=[lookup],
    ),
    Target(
        "passwd",
        check_passwd,
        seeds=PASSWD,
        tokens=(b":", b"\n", b"\1", b"joe", b":x:1:1::/a:\n", b"\0", b"-", b"0"),
        nasty={"accounts": lambda n: b"\0" + b"joe:x:9:9::/home/joe:\n" * (n // 22), "colons": lambda n: b":" * n},
        modules=[passwd],
    ),
    Target(
        "local_part",
        check_local,
        seeds=[b"joe", b"joe-ext-more", b"qmaild-x", b"alias", b"-", b""],
        tokens=(b"-", b"qmailq", b"\0", b"x" * 31),
        nasty={"dashes": lambda n: b"-" * n},
        modules=[getpw],
        count=200,
    ),
)  # fmt: skip
