"""Fuzz targets of forwarding/: .forward files, /etc/aliases, :include: files, tables, databases and mailing lists."""

from tests.fuzz.engine import Target

from quail.cdb.maker import Maker
from quail.cdb.reader import MemoryReader
from quail.errors import PeerError, TemporaryError
from quail.forwarding import addresses, aliases, database, dotforward, expand, lines, maillist, table
from quail.message.addresslist import Hosts

HOSTS = Hosts(lambda: b"me.example", lambda: b"default.example", lambda: b"plus.example")
WORDS = ("unable to parse this line: ", "file delivery ", "program delivery ", "empty ", "addresses ")
TOKENS = (
    b"<", b">", b"@", b",", b":", b";", b'"', b"\\", b"(", b")", b"[", b"]", b".", b"+", b"|", b"/", b"#", b"\n", b"\n ",
    b"\n\n",
    b"\0", b":include:", b"owner-",
    b"joe", b'"|cat x"', b"a@b.c", b"\r", b"\xff",
)  # fmt: skip
NASTY_LINES = {
    "words": lambda n: b"a " * n,
    "angles": lambda n: b"<" * n + b">" * n,
    "closed angles": lambda n: (
        b"<b@c.d> " * (n // 4 + 2000)
    ),  # Python has two thousand pairs in stock, which nobody counts
    "ats": lambda n: b"@" * n,
    "comments": lambda n: b"(" * n + b")" * n,
    "colons": lambda n: b":include" * (n // 2),
    "lines": lambda n: b"a\n" * (n // 4),
    "folded": lambda n: b"a\n b\n" * (n // 4),
    "quotes": lambda n: b'"a" ' * (n // 2),
    "backslashes": lambda n: b"\\a" * n,
}


def check_addresses(data):
    """No more comes out than went in, and all of it has been in there."""
    for line in lines.lines(data):
        try:
            found = [*addresses.addresses(line, includes=True)]
        except PeerError:
            continue
        assert sum(len(address.text) for address in found) <= len(line)
        for address in found:
            assert address.text == (address.local + b"@" + address.host if address.has_host else address.local)


def check_dot_forward(data):
    check_addresses(data)
    found = []
    try:
        for kind, text in dotforward.instructions(data, user=b"joe", host=b"here.example", hosts=HOSTS):
            found.append(kind)
            assert (kind == dotforward.FORWARD) == (b"@" in text and kind != dotforward.PROGRAM)
            assert b"\n" not in text
            assert b"\0" not in text
    except PeerError as error:
        assert str(error).startswith(WORDS)


def check_aliases(data):
    try:
        found = [*aliases.records(data, HOSTS)]
    except PeerError as error:
        assert str(error).startswith(WORDS)
        return
    for key, value in found:
        assert b"@" in key
        assert key == key.lower()
        if key[:1] == database.TARGET:
            assert value[-1:] == b"\0"
            assert {item[:1] for item in value.split(b"\0")[:-1]} <= {b"&", b"!", b".", b"/"}
        else:
            assert key[:1] == database.OWNER
            assert value.startswith(b"owner-")
    check_round(found)


def check_include(data):
    try:
        entries = [*maillist.of_include(data, HOSTS)]
    except PeerError as error:
        assert str(error).startswith(WORDS)
        return
    assert all(entry[:1] in {b"&", b".", b"/"} and entry.index(b"\0") == len(entry) - 1 for entry in entries)


def check_round(records):
    """A table that is printed says the same when it is read."""
    try:
        text = b"".join(table.write(records))
    except PeerError:
        return
    try:
        again = [*table.parse(text)]
    except PeerError as error:  # with its & an address may be too long, as for the original
        assert str(error).startswith("addresses over")
        assert any(len(item) > database.LONGEST for _, value in records for item in value.split(b"\0"))
        return
    whole = [(key[:1] + key[1:].lower(), value) for key, value in records if value or key[:1] == database.OWNER]
    assert again == whole


def check_table(data):
    try:
        found = [*table.parse(data)]
    except PeerError as error:
        assert str(error).startswith(("NUL", "final", "double", "commas", "addresses"))
        return
    check_round(found)


def check_database(data):
    """Of a database that may say anything; the first bytes choose the recipient."""
    recipient, data = data[:6].rstrip(b"\0"), data[6:]
    try:
        reader = MemoryReader(data)
        check_records(reader)
    except PeerError:
        return
    commands = []
    for address in (recipient, b"a@b.c", b"x@b.c", b"a@z", b""):
        found = expand.Expansion(reader.get, read_list=lambda path: path * 3 + b"\0&l@l\0|no\0", run=commands.append)
        try:
            if found.follow(address):
                assert len(found.recipients) == len(set(found.recipients))
                assert all(each in data or each == b"l@l" for each in found.recipients)
                expand.sender_for(reader.get, address, b"s@s")
        except (PeerError, TemporaryError):
            continue
    assert b"|no" not in commands


def check_records(reader):
    records = [*reader.items()]
    if not any(b"\0" in key or (key[:1] == database.OWNER and b"\0" in value) for key, value in records):
        check_round(records)


def check_list(data):
    pieces = [data[at : at + 7] for at in range(0, len(data), 7)][::-1]
    try:
        text = b"".join(maillist.printed(lambda: pieces.pop() if pieces else b""))
    except PeerError as error:
        assert str(error) == "bad mailing list format"
    else:
        assert text.replace(b"\n", b"\0") == data
    try:
        entries = b"".join(maillist.of_lines(data))
    except PeerError:
        return
    rest = [entries]
    printed = b"".join(maillist.printed(lambda: rest.pop() if rest else b""))
    try:
        assert b"".join(maillist.of_lines(printed)) == entries
    except PeerError:  # with its & an address may be too long
        assert max(map(len, printed.split(b"\n"))) > 800


def some_databases():
    for records in (
        [(b":a@b.c", b"&x@y\0|true\0"), (b"?a@b.c", b"o@o"), (b":x@y", b"./l\0!x\0&a@b.c\0")],
        [(b":@b.c", b"&a@z\0"), (b":a@", b"&A@B.C\0"), (b":a@b.c", b"&x\0"), (b":a@b.c", b"&y\0")],
        [],
    ):
        maker = Maker()
        for key, data in records:
            maker.add(key, data)
        yield b"a@b.c\0" + maker.to_bytes()


def parse_all(parse):
    """parse, without a word about what is wrong."""

    def run(data):
        try:
            for _ in parse(data):
                pass
        except PeerError:
            pass

    return run


def in_pieces(data):
    return iter([data[at : at + 64] for at in range(0, len(data), 64)] + [b""]).__next__


LINES = [
    b'joe, "|cat x", a <b@c.d>, (c) \\joe@host+\n# no\n:include:/x, "q q"@x.y\n',
    b"root: bob,\n\tcarol (Carol)\n\nowner-l: :include:l\n@v.example: x@[1.2.3.4]; y\n",
    b"a <b@c.d, x@y>\n<@a,@b:c@d> e@f.g\n",
]
TARGETS = [
    Target(
        "dot-forward", check_dot_forward, seeds=LINES, tokens=TOKENS, modules=[addresses, dotforward, lines], nasty=NASTY_LINES,
        parse=parse_all(lambda data: dotforward.instructions(data, user=b"joe", host=b"here.example", hosts=HOSTS)),
    ),
    Target(
        "aliases", check_aliases, seeds=LINES, tokens=TOKENS, modules=[addresses, aliases, lines],
        nasty={name: NASTY_LINES[name] for name in ("folded", "colons", "words")},
        parse=parse_all(lambda data: aliases.records(data, HOSTS)),
    ),
    Target(
        "include", check_include, seeds=LINES, tokens=TOKENS, modules=[addresses, maillist, lines],
        nasty={"lines": NASTY_LINES["lines"]},
        parse=parse_all(lambda data: maillist.of_include(data, HOSTS)),
    ),
    Target(
        "forward-table", check_table, modules=[table],
        seeds=[b"a@b: c@d, &x, ?o;\nA: |x\\ y, !z, ./l; # c\n", b"@b:;a\\:b: \\#,\\\\;", b"a: ?;b: /x,,y;"],
        tokens=(b"#", b"\\", b":", b",", b";", b"\n", b" ", b"?", b"&", b"|", b"!", b".", b"\0", b"x" * 801),
        parse=parse_all(table.parse),
        nasty={
            "backslashes": lambda n: b"a:" + b"\\" * n, "escapes": lambda n: b"\\a" * n, "comments": lambda n: b"#\n" * n,
            "words": lambda n: b"a: b,c;" * (n // 4), "hashes": lambda n: b"#" * n, "blanks": lambda n: b" " * n,
        },
    ),
    Target(
        "forward-cdb", check_database, seeds=[*some_databases()], modules=[expand, table, database],
        tokens=(b":a@b.c", b"?a@b.c", b"&a@b.c\0", b"|x\0", b"./l\0", b"\0", b"&"), count=200,
    ),
    Target(
        "mail-list", check_list, modules=[maillist], seeds=[b"&a@b\0./x\0&c\0", b"a@b\n&c@d \t\n./x\n# no\n\n/y", b"&a", b""],
        tokens=(b"\0", b"\n", b"&", b".", b"/", b"#", b" ", b"x" * 800),
        parse=parse_all(lambda data: maillist.printed(in_pieces(data))),
        nasty={"an entry without end": lambda n: b"&" + b"x" * n, "entries": lambda n: b"&\0" * n},
    ),
]  # fmt: skip
