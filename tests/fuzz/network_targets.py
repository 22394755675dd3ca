"""Fuzz targets of net/ and qmtp/: access rules, name servers and their answers, ident, replies of QMTP servers."""

import dns.message
import dns.name
import dns.rrset
from tests.fuzz.engine import Target
from tests.fuzz.users_targets import Fixed

from quail.cdb.reader import MemoryReader
from quail.errors import PeerError, TemporaryError
from quail.net import ident, lookup, resolvconf, resolver_query, resolver_wire, tcprules, ucspi
from quail.net.resolver_query import AAAA, MX, PTR, TXT, A, ServerFailed
from quail.net.tcprules import RuleError, Rules, compile_rules
from quail.qmtp import client


def rules_of(data, size):
    """Rules of a cdb that is said to have so many bytes: small ones are decoded at once, large ones when they are asked."""
    rules = Rules("rules.cdb")
    fixed = Fixed(data)
    fixed._database.identity = (0, 0, size, 0, 0)
    rules._follower = fixed
    return rules


def verdict(rules, *peer):
    try:
        found = rules.decide(*peer)
    except TemporaryError:
        return None
    return found.rule, found.deny, found.environment


PEERS = [
    (b"1.2.3.4", None, None),
    (b"1.2.3.4", b"a.b.example.org", b"joe"),
    (b"::ffff:1.2.3.4", b"x", None),
    (b"2001:db8::1", b"", b""),
    (b"fe80::1%eth0", b"." * 20, b"@"),
]


def check_rules(data):
    strict = None
    try:
        strict = compile_rules(data, "rules")
    except RuleError as error:
        assert 0 < error.line <= data.count(b"\n") + 1
        assert error.text in data
    try:
        made = compile_rules(data, "rules", lenient=True)
    except RuleError:
        assert strict is None
        return
    assert strict in (None, made)
    assert len(made) <= 2048 + 256 * (len(data) + 64 * (data.count(b"\n") + 1))
    for peer in PEERS:
        small = verdict(rules_of(made, 1000), *peer)
        assert small is not None
        assert small == verdict(rules_of(made, 1 << 30), *peer)
        for name, value in small[2]:
            assert name
            assert not set(name) & set(b"=\0")
            assert b"\0" not in value


def parse_rules(data):
    try:
        compile_rules(data, "rules")
    except RuleError:
        pass


RULES = [
    b'127.0.0.1:allow,RELAYCLIENT=""\n10.1.2-5.:deny\n=.example.org:allow,A="b",C=/d/\n:allow\n',
    b"joe@1.2.3.4:deny\n# comment\n2001:db8::1:allow\n2001:db8::2:deny,X=!!\n\n1.2.3.0-255:allow\n",
    b"no colon\n:deny",
    b'1.2.3.4:allow,="x"\n=:deny\n',
]


def check_rules_cdb(data):
    """Damage; both ways to look up find an error or the same."""
    try:
        MemoryReader(data)
    except PeerError:
        return
    for peer in PEERS:
        small, large = verdict(rules_of(data, 1000), *peer), verdict(rules_of(data, 1 << 30), *peer)
        if small is not None and large is not None and small[0] is not None and large[0] is not None:
            # A walk sees records that no table leads to; they decide nothing for whoever looks up.
            assert len(small[0]) >= len(large[0]) or small == large


NAME = dns.name.from_text("host.example.test.")
KINDS = (A, AAAA, MX, PTR, TXT)


def response(kind, *records, extra=()):
    answer = dns.message.make_response(dns.message.make_query(NAME, kind), recursion_available=True)
    if records:
        answer.answer.append(dns.rrset.from_text(NAME, 300, "IN", kind, *records))
    for section, owner, of, text in extra:
        getattr(answer, section).append(dns.rrset.from_text(owner, 300, "IN", of, text))
    return bytes((KINDS.index(kind),)) + answer.to_wire()


def answer_of(data):
    """The answer of a server to our question, whatever it was: kind, query and wire."""
    kind, wire = KINDS[(data[:1] or b"\0")[0] % len(KINDS)], data[1:].ljust(12, b"\0")
    query = resolver_query._Query(NAME, kind, edns=True)
    wire = (
        query.wire[:2]
        + bytes((0x80 | wire[2] & 7,))
        + wire[3:4]
        + b"\0\1"
        + wire[6:12]
        + query.question
        + wire[12 + len(query.question) :]
    )
    assert query.fits(wire)
    return kind, query, wire


def judge(message, kind):
    try:
        return resolver_query.read(message, NAME, kind)
    except ServerFailed:
        return None


def check_answer(data):
    kind, query, wire = answer_of(data)
    for wrong in (data, data[1:], wire[:11]):
        query.fits(wrong)
    found = resolver_wire.plain(wire, query.question, kind)
    try:
        # What plain() does not look at: where the answers are good the authority section says nothing of them.
        message = resolver_query._parse(wire if found is None else wire[:8] + b"\0\0" + wire[10:])
    except ServerFailed:
        assert found is None
        return
    told = judge(message, kind)
    if found is not None:
        assert (found[0], max(1, min(86_400, found[1]))) == (told.records, told.ttl)
    if told is None:
        return
    assert 1 <= told.ttl <= 86_400
    assert told.links <= resolver_query.MOST_LINKS
    for each in told.records:
        if kind in (A, AAAA):
            assert resolvconf.is_address(each)
        elif kind == MX:
            assert 0 <= each[0] < 65536
            assert each[1].isascii()
        else:
            assert isinstance(each, bytes)


def parse_answer(data):
    kind, query, wire = answer_of(data)
    if resolver_wire.plain(wire, query.question, kind) is None:
        try:
            judge(resolver_query._parse(wire), kind)
        except ServerFailed:
            pass


def chain_of_pointers(n):
    """MX records whose names lead from one to the next, all the way back."""
    n = min(n, 65_000)
    question = resolver_query._Query(NAME, MX, edns=False).question
    wire = bytearray(b"\0\0\x80\0\0\1\0\0\0\0\0\0" + question)
    last, count = 12, 0
    while len(wire) < n:
        # The preference of each is a pointer to that of the one before.
        wire += b"\xc0\x0c\0\x0f\0\1\0\0\0\1\0\4" + (0xC000 | last).to_bytes(2, "big")
        if len(wire) - 2 < 0x3FFF:
            last = len(wire) - 2
        wire += (0xC000 | last).to_bytes(2, "big")
        count += 1
    wire[6:8] = count.to_bytes(2, "big")
    return b"\2" + bytes(wire)


def unknown_with_pointers(n):
    """Half is a record of no known type, all pointers; then records with the last of them as their owner."""
    n = min(n, 65_000)
    question = resolver_query._Query(NAME, A, edns=False).question
    wire = bytearray(b"\0\0\x80\0\0\1\0\0\0\0\0\0" + question)
    size = min(n // 2, 16_000) & ~1
    wire += b"\xc0\x0c\xff\x01\0\1\0\0\0\1" + size.to_bytes(2, "big")
    last = 12
    for _ in range(size // 2):
        wire += (0xC000 | last).to_bytes(2, "big")
        last = len(wire) - 2
    count = 1
    while len(wire) < n:
        wire += (0xC000 | min(last, 0x3FFF)).to_bytes(2, "big") + b"\xff\x01\0\1\0\0\0\1\0\0"
        count += 1
    wire[6:8] = count.to_bytes(2, "big")
    return b"\0" + bytes(wire)


def many_records(n):
    n = min(n, 65_000)
    question = resolver_query._Query(NAME, A, edns=False).question
    count = n // 16
    records = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2" + at.to_bytes(2, "big") for at in range(count))
    return b"\0\0\0\x80\0\0\1" + count.to_bytes(2, "big") + b"\0\0\0\0" + question + records


def check_resolv_conf(data):
    found = resolvconf.parse(data)
    assert 1 <= len(found.servers) <= resolvconf._MOST_SERVERS
    assert all(resolvconf.is_address(address) for address, _ in found.servers)
    assert 1 <= found.timeout <= 30
    assert 1 <= found.attempts <= 5
    assert all(resolvconf.is_address(address) for address, _ in lookup.cache_servers(data))


class Talker:
    """Instead of a socket: says pieces, then nothing more."""

    def __init__(self, data, cut):
        self._pieces = [data[at : at + cut] for at in range(0, len(data), cut)]

    def recv(self, size):
        piece = self._pieces.pop(0) if self._pieces else b""
        if len(piece) > size:
            self._pieces.insert(0, piece[size:])
        return piece[:size]


def ident_answer(data, cut):
    before = ident._wait
    ident._wait = lambda *_args: None
    try:
        return ident._text(Talker(data, cut), 0.0)
    finally:
        ident._wait = before


def check_ident(data):
    cut, data = 1 + data[0] if data else 1, data[1:]
    text = ident_answer(data, cut)
    if text is None:
        assert b"\n" not in data[: ident._MOST_READ]
        return
    assert text == ident_answer(data, 4096) or len(text) == ident._LONGEST
    assert len(text) <= ident._LONGEST
    assert not set(text) & set(b"\n\r\t ")
    shown = ucspi.field(text)
    assert shown.decode("ascii").isprintable()
    assert not set(shown) & set(b" :")


def replies(data, cut, count):
    machine, found = client.Replies(count), []
    try:
        for at in range(0, len(data), cut):
            found += machine.feed(data[at : at + cut])
            assert len(machine._buffer) <= client.MAX_REPLY + cut + 8
    except PeerError:
        found.append(None)
    return found, machine.left


def check_qmtp(data):
    cut, count, data = (data + b"\0\0")[0] + 1, (data + b"\0\0")[1] % 6, data[2:]
    found, left = replies(data, cut, count)
    broken = found[-1:] == [None]
    for letter, text in found[: len(found) - broken]:
        assert letter in (b"K", b"Z", b"D")
        assert len(text) <= client.MAX_TEXT
        assert not set(text) & {0, 13}
    assert left == count - len(found) + broken
    whole, _ = replies(data, max(1, len(data)), count)
    assert [each for each in whole if each] == [each for each in found if each] or broken


TARGETS = (
    Target(
        "tcprules",
        check_rules,
        parse=parse_rules,
        seeds=RULES,
        tokens=(
            b":allow", b":deny", b"\n", b",", b"=", b'"', b'A="b"', b"-", b"0-255.", b"#", b" ", b"@", b"::", b".", b"\0",
            b"9" * 9,
        ),
        nasty={
            "lines": lambda n: b":allow\n" * (n // 7),
            "different lines": lambda n: b"".join(b"%d:deny\n" % at for at in range(n // 11)),
            "variables": lambda n: b":allow" + b",a=//" * (n // 5),
            "colons": lambda n: b":" * n,
            "colons and words": lambda n: b":al" * (n // 3),
            "digits": lambda n: b"9" * n + b"-9:allow",
            "a variable without an end": lambda n: b":allow" + b',a="' + b"x" * n,
        },
        modules=[tcprules],
    ),
    Target(
        "tcprules_cdb",
        check_rules_cdb,
        seeds=[compile_rules(each, "rules", lenient=True) for each in RULES],
        tokens=(b"D\0", b"+A=b\0", b"+", b"\0", b"1.2.3.4", b"=", b"@"),
        modules=[tcprules],
    ),
    Target(
        "dns",
        check_answer,
        parse=parse_answer,
        seeds=[
            response(A, "192.0.2.1", "192.0.2.2"),
            response(AAAA, "2001:db8::1"),
            response(MX, "10 mx.example.test.", "20 mx.host.example.test.", "0 ."),
            response(PTR, r"a\032b.example."),
            response(TXT, '"listed" "twice"'),
            response(A, extra=[("answer", NAME, "CNAME", "x.test."), ("answer", "x.test.", "A", "192.0.2.1")]),
            response(A, extra=[("answer", NAME, "CNAME", "host.example.test.")]),
            response(MX, extra=[("authority", "test.", "SOA", "a. b. 1 2 3 4 5")]),
            b"\0\0\0\x84\3" + bytes(30),
        ],
        tokens=(b"\xc0\x0c", b"\0\1\0\1", b"\0\5\0\1", b"\0\x0f\0\1", b"\1a", b"\3com\0", b"\x40",
                b"\0\0\x29\4\xd0", b"\0\xfa\0\xff"),
        nasty={
            "a chain of pointers": chain_of_pointers,
            "pointers in a record that nobody knows": unknown_with_pointers,
            "records": many_records,
        },
        modules=[resolver_wire, resolver_query],
    ),
    Target(
        "resolvconf",
        check_resolv_conf,
        seeds=[
            b"nameserver 192.0.2.1\nnameserver ::1\noptions timeout:3 attempts:2 rotate use-vc\nsearch x\n",
            b"; c\nnameserver fe80::1%eth0\noptions timeout:999999999 attempts:0\n",
            b"192.0.2.1.192.0.2.2 x",
        ],
        tokens=(b"nameserver ", b"options ", b"timeout:", b"attempts:", b"\n", b" ", b".", b"127.0.0.1", b"%", b"\0",
                b"9" * 30, b"\xc2\xb2"),
        nasty={
            "servers": lambda n: b"nameserver ::1\n" * (n // 15),
            "options": lambda n: b"options" + b" timeout:1" * (n // 10),
            "digits": lambda n: b"options timeout:" + b"9" * n,
            "dots": lambda n: b"1." * (n // 2),
        },
        modules=[resolvconf, lookup],
    ),
    Target(
        "ident",
        check_ident,
        parse=lambda data: ident_answer(data, 1),
        seeds=[
            b"\x0a25, 1025 : USERID : UNIX : joe\r\n",
            b"\0" + b"25,1025:USERID:UNIX:joe:x y\n",
            b"\x0525, 1 : ERROR : NO-USER\r\n",
            b"\3:::" + b"x" * 400,
        ],
        tokens=(b":", b"\n", b"\r", b" ", b"\t", b"x" * 200, b"\0"),
        nasty={"colons": lambda n: b":" * n, "blanks": lambda n: b" " * n},
        modules=[ident, ucspi],
    ),
    Target(
        "qmtp_client",
        check_qmtp,
        parse=lambda data: replies(data, 1000, 1 << 30),
        seeds=[b"\5\3" + b"21:Kok 1284093 qp 14321,14:Zno\r, \0 later!,3:Dno,", b"\0\1" + b"1:K,", b"\1\2" + b"5:Dnever"],
        tokens=(b":", b",", b"K", b"Z", b"D", b"1:K,", b"65536:", b"65537:", b"0", b"9" * 10),
        nasty={
            "replies": lambda n: b"1:K," * (n // 4),
            "one reply": lambda n: b"%d:K" % min(n, 65536) + b"x" * (min(n, 65536) - 1) + b",",
            "digits": lambda n: b"1" * n,
        },
        modules=[client],
    ),
)  # fmt: skip
