"""Fuzz targets of storage/: messages on their way into an mbox, names of Maildir files, the table of slow hosts."""

import os
import re

from tests.fuzz.engine import Target

from quail.storage import maildir, mbox, tcpto


def quoted(data, cut):
    quoting = mbox.Quoting()
    pieces = [quoting.feed(data[at : at + cut]) for at in range(0, len(data), cut)]
    return b"".join(pieces) + quoting.end()


def check_mbox(data):
    cut, data = 1 + data[0] if data else 1, data[1:]
    text = re.sub(rb"(?m)^(>*From )", rb">\1", data)
    text += b"\n" if data[-1:] in (b"\n", b"") else b"\n\n"
    assert quoted(data, cut) == text
    assert quoted(data, max(1, len(data))) == text
    assert re.sub(rb"(?m)^>(>*From )", rb"\1", text).startswith(data)


def check_maildir_name(data):
    """The name of a host may be any bytes but NUL; no longer than leaves room for four bytes for each."""
    host = os.fsdecode(data.replace(b"\0", b"")[:48])
    before = os.uname
    try:
        os.uname = lambda: type("Uname", (), {"nodename": host})
        name = maildir.unique_name()
    finally:
        os.uname = before
    assert re.fullmatch(r"[0-9]+\.M[0-9]{6}P[0-9]+Q[0-9]+\.[^/:]*", name, re.DOTALL)
    assert len(os.fsencode(name)) <= 255
    assert name.isprintable() or not host.isprintable()


class Memory:
    """Calls on a table that is bytes."""

    def __init__(self, data):
        self.data = bytearray(data)

    def pread(self, _fd, size, offset):
        return bytes(self.data[offset : offset + size])

    def pwritev(self, _fd, buffers, offset):
        data = b"".join(buffers)
        assert offset >= tcpto.SET
        assert offset + len(data) <= tcpto.SIZE
        self.data[offset : offset + len(data)] = data
        return len(data)

    def flock(self, _fd, _operation):
        pass


IP = "192.0.2.1"
NOW = 1_800_000_000.0


def check_tcpto(data):
    """The bytes are the set of one address and what is behind it."""
    offset = tcpto._offset(tcpto._key(IP))
    whole = bytearray(tcpto.HEAD + bytes(tcpto.SIZE - len(tcpto.HEAD)))
    data = data[: len(whole) - offset]
    whole[offset : offset + len(data)] = data
    calls = Memory(whole)
    table = tcpto.Tcpto(99, calls=calls)
    for jitter in (0, 31):
        table.is_slow(IP, NOW, jitter)
    for address, since, count in table.entries(NOW) if len(data) % 16 == 0 else ():  # a long walk
        assert tcpto._key(address) is not None
        assert since >= 0
        assert 1 <= count <= tcpto.MOST

    def counts(now):
        return {
            key: count for key, _, count in tcpto._live(calls.data[offset : offset + max(tcpto.SET, len(data))], now)
        }

    before = counts(NOW)
    table.timed_out(IP, NOW + 1000)
    table.timed_out(IP, NOW + 2000)
    assert table.is_slow(IP, NOW + 2000, 0)
    assert len(set(before) - set(counts(NOW + 2000))) <= 1
    table.answered(IP)
    assert not table.is_slow(IP, NOW + 2000, 0) or whole.count(tcpto._key(IP)) > 1
    assert table.trouble == ""


def parse_tcpto(data):
    return list(tcpto._live(data, NOW))


def record(ip, since, count):
    return tcpto._made(tcpto._key(ip), since, count)


TARGETS = (
    Target(
        "mbox",
        check_mbox,
        parse=lambda data: quoted(data, 1000),
        seeds=[b"\3Hello\nFrom me\n>From you\n>>From x\nFro", b"\0From \n>>>\n", b"\1x\n>", b"\2"],
        tokens=(b"From ", b">", b"\n", b">From ", b"Fro", b"m ", b"\r\n"),
        nasty={
            "marks": lambda n: b">" * n,
            "marks and words": lambda n: b">>>>>>>>From " * (n // 13),
            "words": lambda n: b"From " * (n // 5),
            "lines": lambda n: b"\nFrom " * (n // 6),
            "line feeds": lambda n: b"\n" * n,
        },
        modules=[mbox],
    ),
    Target(
        "maildir_name",
        check_maildir_name,
        seeds=[b"host.example", b"a/b:c", b"\xff\n", b""],
        tokens=(b"/", b":", b"..", b"\n", b"\\057", b"x" * 64),
        modules=[maildir],
        count=200,
    ),
    Target(
        "tcpto",
        check_tcpto,
        parse=parse_tcpto,
        seeds=[
            record(IP, NOW - 100, 2) + record("2001:db8::1", NOW - 5000, 10),
            record(IP, NOW - 1000, 1) * 2,
            b"".join(record(f"192.0.2.{at}", NOW - at, 1 + at) for at in range(8)),
            record(IP, NOW + 90, 3),
            b"",
        ],
        tokens=(record(IP, NOW, 2), bytes(32), record("::1", NOW - 5, 1), b"\0" * 8),
        nasty={"records": lambda n: record(IP, NOW, 2) * (n // 32)},
        modules=[tcpto],
        count=150,
    ),
)
