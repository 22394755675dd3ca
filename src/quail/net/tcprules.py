"""Access rules of ucspi-tcp: who may connect, and what is set in the environment of whoever serves them.

The text has a rule on each line, `ADDRESS:allow` or `ADDRESS:deny`, then any number of `,NAME="VALUE"`, where any byte may take
the place of the quotes. `tcprules` compiles it into a cdb file; a service looks each new peer up in that. The first of these
addresses that has a rule decides, alone:

    INFO@IP  INFO@=HOST  IP  =HOST  1.2.3. 1.2. 1.  =.example.org =.org  =  (nothing)

INFO is what the peer's ident server says, HOST the peer's name; each may be unknown. An IPv6 address is looked up in its
canonical text, and its prefixes end in a colon, as in the IPv6 builds of ucspi-tcp. No rule at all allows the connection.

Source: the pages tcprules(1), tcprulescheck(1) and tcp-environ(5).
"""

from _collections_abc import Callable, Iterator

from quail.cdb.file import Database, Follower
from quail.cdb.layout import PAIR_SIZE
from quail.errors import ConfigError

_FILES_IN_MEMORY = 1 << 18  # rules files up to this size are decoded once; that takes a service some 10 ms
_RANGE_END = 255
_SHORT = 64  # bytes of an address
_SAYINGS = 1 << 10
_BATCH = 1 << 12  # lines


class RuleError(ConfigError):
    """A line that is not a rule; `text` is the line."""

    def __init__(self, path: str, line: int, text: bytes, reason: str, remedy: str) -> None:
        super().__init__(path, line, reason, remedy)
        self.text = text


class Decision:
    """What the rules say about a peer. `rule` is the address that decided, None if none did."""

    __slots__ = ("deny", "environment", "rule")

    def __init__(self, rule: bytes | None, deny: bool, environment: tuple[tuple[bytes, bytes], ...]) -> None:
        self.rule = rule
        self.deny = deny
        self.environment = environment


NO_RULE = Decision(None, deny=False, environment=())
CLOSED = Decision(None, deny=True, environment=())


def compile_rules(text: bytes, path: str, *, lenient: bool = False) -> bytes:
    """Compile rules into a cdb file, byte for byte the original's. `path` is the text's, for errors.

    Raises RuleError. `lenient` skips lines without any colon, as the original does: a rule with a typing error in it then
    protects nobody.
    """
    from quail.cdb.maker import Maker, encode  # noqa: PLC0415  not for a program that only looks up: array loads collections

    maker = Maker()
    # Most lines of a long list say one of a few things, behind their first colon: its data, and how records with it start, by
    # the length of their key. Comments may say the same, and ranges.
    known: dict[bytes, tuple[bytes, list[bytes]]] = {}
    odd = b"#" in text or b"-" in text
    lines = text.split(b"\n")
    for first in range(0, len(lines), _BATCH):
        keys: list[bytes] = []
        records: list[bytes] = []
        add_key, add_record = keys.append, records.append
        for number, whole in enumerate(lines[first : first + _BATCH], first + 1):
            address, _, said = whole.partition(b":")
            if said in known and not (odd and (b"-" in address or address[:1] == b"#")) and len(address) < _SHORT:
                data, starts = known[said]
                add_key(address)
                add_record(starts[len(address)] + address + data)
                continue
            line = whole.rstrip(b" \t")
            if not line or line.startswith(b"#") or (lenient and b":" not in line):
                continue
            try:
                address, data = _parse(line)
                expanded = [*_expand(address)]
            except ValueError as error:
                raise RuleError(path, number, line, *error.args) from None
            keys += expanded
            records += [encode(each, data) for each in expanded]
            if len(known) < _SAYINGS and whole.partition(b":")[0] == address:
                known[said] = data, [encode(bytes(length), data)[:PAIR_SIZE] for length in range(_SHORT)]
        maker.extend(keys, records)
    return maker.to_bytes()


def _parse(line: bytes) -> tuple[bytes, bytes]:
    """The address of a rule and its record's data; ValueError(reason, remedy) if it is none."""
    # An IPv6 address has colons of its own.
    colon = line.find(b":")
    while colon >= 0 and not line.startswith((b"allow", b"deny"), colon + 1):
        colon = line.find(b":", colon + 1)
    if colon < 0:
        raise ValueError("no colon with allow or deny after it", "write ADDRESS:allow or ADDRESS:deny")
    deny = line.startswith(b"deny", colon + 1)
    orders = [b"D\0" if deny else b""]
    at = colon + 1 + len("deny" if deny else "allow")
    while at < len(line):
        equals = line.find(b"=", at)
        if line[at] != ord(",") or equals < 0:
            found = line[at:].decode(errors="replace")
            raise ValueError(f"{found!r} sets no variable", 'after allow or deny comes nothing, or ,NAME="VALUE"')
        quote = line[equals + 1 : equals + 2]
        end = line.find(quote, equals + 2) if quote else -1
        if end < 0:
            name = line[at + 1 : equals].decode(errors="replace")
            raise ValueError(
                f"the value of {name} has no end", f'write {name}="VALUE", with the same quote on both sides'
            )
        orders.append(b"+" + line[at + 1 : equals + 1] + line[equals + 2 : end] + b"\0")
        at = end + 1
    return line[:colon], b"".join(orders)


def _expand(address: bytes) -> Iterator[bytes]:
    """The addresses that an address with a range such as 1.2.3-5. stands for."""
    dash = address.find(b"-")
    if dash < 0 or b"=" in address or b"@" in address:
        yield address
        return
    start = address.rfind(b".", 0, dash) + 1
    end = address.find(b".", dash)
    if end < 0:
        end = len(address)
    low, high = _number(address[start:dash]), _number(address[dash + 1 : end])
    for number in range(low, min(high, _RANGE_END) + 1):
        yield address[:start] + b"%d" % number + address[end:]


def _number(digits: bytes) -> int:
    """One side of a range. Nothing is 0, as in the original; whatever is over 255 may be any number over 255."""
    if digits.strip(b"0123456789"):
        text = digits.decode(errors="replace")
        raise ValueError(f"{text!r} is not a number", "a range is two numbers between two dots, such as 10.1.2-5.")
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= 3 else _RANGE_END + 1


def addresses(ip: bytes, host: bytes | None, info: bytes | None) -> Iterator[bytes]:
    """The addresses under which a peer may have a rule, in the order in which they are looked up."""
    if info is not None:
        yield info + b"@" + ip
        if host is not None:
            yield info + b"@=" + host
    yield ip
    if host is not None:
        yield b"=" + host
    for end in range(len(ip), 0, -1):
        if ip[end - 1] in b".:":
            yield ip[:end]
    if host is not None:
        dot = host.find(b".")
        while dot >= 0:
            yield b"=" + host[dot:]
            dot = host.find(b".", dot + 1)
        yield b"="
    yield b""


def instructions(data: bytes) -> Iterator[bytes | None]:
    """What a record orders, one after another: a variable to set, as `NAME=VALUE`, or None to deny."""
    for piece in data.split(b"\0")[:-1]:
        if piece.startswith(b"D"):
            yield None
        elif piece.startswith(b"+"):
            yield piece[1:]


def _decode(rule: bytes, data: bytes) -> Decision:
    deny = False
    environment = []
    for order in instructions(data):
        if order is None:
            deny = True
        else:
            name, equals, value = order.partition(b"=")
            if name and equals:
                environment.append((name, value))
    return Decision(rule, deny, tuple(environment))


class Rules:
    """The rules file of a service that lives long; a new one counts from the next peer on."""

    __slots__ = ("_database", "_find", "_follower", "_otherwise")

    def __init__(self, path: str, *, closed: bool = False) -> None:
        """The cdb file's path. Without a file, or a rule, everybody is allowed and nothing set; nobody is, if `closed`."""
        self._otherwise = CLOSED if closed else NO_RULE
        self._follower = Follower(path)
        self._database: Database | None = None
        self._find: Callable[[bytes], Decision | None] = _nothing

    def decide(self, ip: bytes, host: bytes | None = None, info: bytes | None = None) -> Decision:
        """Look a peer up by its address, in the text of inet_ntop, and its name and ident information if they are known.

        TemporaryError if the file can't be read: the peer must not get in then, nor be told that it never will.
        """
        database = self._follower.current()
        if database is not self._database:
            self._open(database)
        if b":" in ip:
            ip = _plain_address(ip)
        for address in addresses(ip, host, info):
            decision = self._find(address)
            if decision is not None:
                return decision
        return self._otherwise

    def _open(self, database: Database | None) -> None:
        find: Callable[[bytes], Decision | None] = _nothing
        if database is not None and database.size <= _FILES_IN_MEMORY:
            known: dict[bytes, Decision] = {}
            for rule, data in database.items():
                if rule not in known:
                    known[rule] = _decode(rule, data)
            find = known.get
        elif database is not None:
            get = database.get

            def find(address: bytes) -> Decision | None:
                data = get(address)
                return None if data is None else _decode(address, data)

        self._find = find
        self._database = database


def _nothing(_address: bytes) -> Decision | None:
    return None


def _plain_address(ip: bytes) -> bytes:
    """An IPv4 peer of an IPv6 socket has the rules of its IPv4 address; the interface of a link-local one doesn't matter."""
    if ip.startswith(b"::ffff:") and b"." in ip:
        return ip[len("::ffff:") :]
    return ip.partition(b"%")[0]
