"""Fuzz targets of control/: every kind of file, and what `quail config` says of them."""

import os

from tests.fuzz.engine import Target, new_folder

from quail.control import checks, nameservers, reader, routes, view
from quail.control.table import INTEGER, TABLE
from quail.errors import ConfigError

PATH = "control/x"


def parse_relays(path, data):
    for number, text in reader.parse_list(path, data):
        routes.parse_relay(path, number, text.partition(b":")[2])


PARSERS = (
    reader.parse_line,
    reader.parse_integer,
    reader.parse_list,
    reader.parse_pairs,
    reader.parse_listen,
    reader.parse_addresses,
    nameservers.parse_nameservers,
    parse_relays,
)


def check_parsers(data):
    for parse in PARSERS:
        try:
            found = parse(PATH, data)
        except ConfigError as error:
            assert error.path == PATH
            assert 0 <= error.line <= data.count(b"\n") + 1
            assert error.reason
            assert error.remedy
            continue
        if parse is reader.parse_integer:
            assert 0 <= found < 10**20
            for entry in TABLE.values():
                assert entry.kind != INTEGER or entry.low <= reader.clamp(entry, found) <= entry.high
        if parse is nameservers.parse_nameservers or parse is reader.parse_listen:
            assert all(0 <= place[-1] < 65536 for place in found)
        if parse is reader.parse_line:
            assert not set(found) & set(range(9))


def parse_all(data):
    for parse in PARSERS:
        try:
            parse(PATH, data)
        except ConfigError:
            pass


LINES = [
    b"mx.example.com \t\n",
    b"# comment\nlocalhost\nexample.org\n\n",
    b"200\n",
    b"smtp 127.0.0.1:2525\nsmtp [::1]:2525\nsubmission 0.0.0.0:0\n",
    b"example.org:relay.example.net:26\n:[2001:db8::1]:25\nx:qmtp:192.0.2.1\n",
    b"192.0.2.53\n[2001:db8::53]:5353\nfe80::1%eth0\n",
    b"192.0.2.1\n2001:db8::1\n",
]


class Home:
    """A home of which one control file is rewritten for each input; the first byte says which."""

    def __init__(self):
        self._folder = None

    def check(self, data):
        if self._folder is None:
            self._folder = new_folder()
            os.mkdir(f"{self._folder}/control")
        home = self._folder
        names = sorted(TABLE)
        name = names[(data[:1] or b"\0")[0] % len(names)]
        path = f"{home}/control/{name}"
        with open(path, "wb") as file:
            file.write(data[1:])
        try:
            for problem in checks.check(home):
                assert str(problem).replace("\t", " ").isprintable()
            view.view(reader.Control(f"{home}/control"), TABLE[name])
        finally:
            os.unlink(path)


TARGETS = (
    Target(
        "control",
        check_parsers,
        parse=parse_all,
        seeds=LINES,
        tokens=(
            b"\n", b"#", b":", b" ", b"\t", b"\r\n", b"\0", b"[", b"]", b"%", b".", b"smtp ", b"pop3 ", b"127.0.0.1", b"::1",
            b"::ffff:1.2.3.4", b":25", b"9" * 30, b"qmtp:", b"\xc2\xb2", b"\xff", b"65536",
        ),
        nasty={
            "lines": lambda n: b"a\n" * (n // 2),
            "blanks": lambda n: b" " * n,
            "pairs": lambda n: b"".join(b"%d:\n" % at for at in range(n // 6)),
            "listeners": lambda n: b"".join(b"smtp 127.%d.%d.1:25\n" % divmod(at, 256) for at in range(n // 20)),
            "digits": lambda n: b"9" * n,
            "name servers": lambda n: b"192.0.2.1\n" * (n // 10),
            "relays": lambda n: b"a:b\n" * (n // 4),
            "colons": lambda n: b":" * n,
        },
        modules=[reader, routes, nameservers],
    ),
    Target(
        "config",
        Home().check,
        seeds=[bytes((at,)) + LINES[at % len(LINES)] for at in range(len(TABLE))],
        tokens=(b"\n", b"#", b":", b"smtp ", b"\xff", b"\0", b"9" * 30, b"\xc2\xb2", b"::1", b"."),
        nasty={
            f"{name} {what}": lambda n, at=at, line=line: bytes((at,)) + line * (n // len(line))
            for at, name in enumerate(sorted(TABLE))
            if name in {"locals", "rcpthosts", "smtproutes", "virtualdomains", "listen", "me"}
            for what, line in (("lines", b"a\n"), ("pairs", b"a:b\n"))
        },
        modules=[checks, view],
        count=150,
    ),
)  # fmt: skip
