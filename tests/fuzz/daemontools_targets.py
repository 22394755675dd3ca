"""Fuzz targets of daemontools: lines and scripts of multilog, stamps, status files, folders of envdir."""

import os
import re
import tempfile

from tests.fuzz.engine import Target, new_folder

from quail.programs.daemontools import envdir, tai64n, tai64nlocal
from quail.supervise import status, tai64
from quail.supervise.multilog import pattern, script, selection, splitter
from quail.supervise.multilog.splitter import BLOCK, LONG, MORE

STAMP = b"@400000005f5e1000075bcd15"


class Pipe:
    """Instead of os: reads pieces."""

    def __init__(self, pieces):
        self._pieces = list(pieces)

    def read(self, _fd, _size):
        return self._pieces.pop(0) if self._pieces else b""


def run(program, data, cut):
    """What one of the two programs writes."""
    out = []
    before = program.os, program.output
    program.os, program.output = Pipe(data[at : at + cut] for at in range(0, len(data), cut)), out.append
    try:
        program._copy()
    finally:
        program.os, program.output = before
    return b"".join(out)


def check_stamps(data):
    cut, data = 1 + data[0] if data else 1, data[1:]
    seconds, nanoseconds = tai64.moment(re.match(rb"[0-9a-f]*", data)[0])
    assert -(1 << 63) <= seconds < 1 << 63
    assert 0 <= nanoseconds < 1 << 32
    whole = run(tai64nlocal, data, max(1, len(data)))
    assert run(tai64nlocal, data, cut) == whole
    assert whole.count(b"\n") == data.count(b"\n")
    stamped = run(tai64n, data, cut)
    lines = stamped.split(b"\n")
    for line in lines[: len(lines) - (lines[-1] == b"")]:
        assert re.match(rb"@[0-9a-f]{24} ", line)
    assert re.sub(rb"(?m)^@[0-9a-f]{24} ", b"", stamped) == data


def check_lines(data):
    """The first line is the script, its words between blanks; the rest is logged."""
    cut, data = 1 + data[0] if data else 1, data[1:]
    words, _, text = data.partition(b"\n")
    plan = script.parse(words.split(b" "))
    conditions = []
    for action in plan.actions:
        if isinstance(action, script.Condition):
            conditions.append(action)
        elif isinstance(action, script.Directory):
            assert script.LEAST_SIZE <= action.size <= script.MOST_SIZE
            assert action.files >= script.LEAST_FILES
    split, pieces = splitter.Splitter(), []
    for at in range(0, len(text), cut):
        pieces += split.feed(text[at : at + cut])
        assert len(split._partial) < selection.LOOKED_AT
    pieces += split.finish()
    joined = b"".join(piece for _, piece in pieces)
    assert joined == text + b"\n" * (text[-1:] not in (b"\n", b""))
    chosen = selection.Selection(conditions)
    inside = False
    for kind, piece in pieces:
        assert piece
        assert (kind == MORE) == inside
        inside = kind != BLOCK and not piece.endswith(b"\n")
        if kind == BLOCK:
            lines = piece.split(b"\n")[:-1]
            assert all(len(line) <= selection.LOOKED_AT for line in lines)
            assert chosen.of(piece) == b"".join(line + b"\n" for line in lines if chosen.takes(line))
        elif kind == LONG:
            chosen.takes(piece.rstrip(b"\n")[: selection.LOOKED_AT])
    for condition in conditions[:3]:
        found = re.compile(pattern.regex(condition.pattern))
        for line in text.split(b"\n")[:5]:
            assert bool(found.match(line + b"\n")) == pattern.matches(condition.pattern, line)


def parse_lines(data):
    words, _, text = data.partition(b"\n")
    plan = script.parse(words.split(b" "))
    chosen = selection.Selection([action for action in plan.actions if isinstance(action, script.Condition)])
    split = splitter.Splitter()
    for at in range(0, len(text), 1000):
        for kind, piece in split.feed(text[at : at + 1000], STAMP + b" "):
            if kind == BLOCK:
                chosen.of(piece)


def check_status(data):
    try:
        text = status.sentence(data, 1_800_000_000, normally_down=bool(len(data) & 1))
    except ValueError:
        assert len(data) < status.SIZE
        return
    assert re.fullmatch(r"(up \(pid [0-9]+\)|down) [0-9]+ seconds[a-z, ]*", text)


class Folder:
    """A folder with a file for each line: its name, a colon, its content."""

    def __init__(self):
        self._parent = None

    def check(self, data):
        if self._parent is None:
            self._parent = new_folder()
        folder = os.fsencode(tempfile.mkdtemp(dir=self._parent))
        made = {}
        for line in data.split(b"\n")[:8]:
            name, _, content = line.partition(b":")
            if name and b"/" not in name and b"\0" not in name and len(name) < 200 and name not in (b".", b".."):
                with open(folder + b"/" + name, "wb") as file:
                    file.write(content.replace(b"\2", b"\n"))
                made[name] = content.replace(b"\2", b"\n")
        environ = dict(envdir.changed({b"HOME": b"/", b"OLD": b"x"}, folder))
        for name, content in made.items():
            if name[:1] == b"." or b"=" in name or any(other.startswith(name + b"=") for other in made):
                continue
            value = content.partition(b"\n")[0].rstrip(b" \t").replace(b"\0", b"\n")
            assert environ.get(name) == (value if content else None)
        # What exec refuses in an environment: it must never be asked for it.
        for name, value in environ.items():
            assert name
            assert b"=" not in name
            assert b"\0" not in name + value
        for name in made:
            os.unlink(folder + b"/" + name)
        os.rmdir(folder)


TARGETS = (
    Target(
        "stamps",
        check_stamps,
        parse=lambda data: (run(tai64nlocal, data, 1000), run(tai64n, data, 1000)),
        seeds=[b"\4" + STAMP + b" hello\nno stamp\n" + STAMP + b"\n@\n", b"\0@4000\n@zz\n", b"\1" + STAMP * 3, b"\2x"],
        tokens=(STAMP, b"@", b"\n", b"@ffffffffffffffffffffffff", b"a" * 30, b"0", b" ", b"@" + b"0" * 24),
        nasty={
            "digits": lambda n: b"@" + b"a" * n,
            "stamps": lambda n: (STAMP + b"\n") * (n // 26),
            "line feeds": lambda n: b"\n" * n,
            "at signs": lambda n: b"@\n" * (n // 2),
        },
        modules=[tai64, tai64nlocal, tai64n],
    ),
    Target(
        "multilog",
        check_lines,
        parse=parse_lines,
        seeds=[
            b"\3t s9999 n5 -* +a*b ./main\naxb\nhello\naxxbyb\n",
            b"\0-*c* +*d =status e !cat ./x\nabc\nd\n" + b"long" * 300 + b"\nmore",
            b"\1+** -*\\n*\n*x*\n\n\n",
            b"\2s n\n",
        ],
        tokens=(b"*", b" +", b" -", b"\n", b" ", b"s99999999999999999999", b"n-1", b"x" * 1000, b" ./d", b"**", b"9" * 5000),
        nasty={
            "stars": lambda n: b"-" + b"*a" * (n // 20) + b"\n" + b"ba" * (n // 2) + b"\n",
            "conditions": lambda n: b"+*a*b* -*b*c* +*c*a*\n" + b"abcx\n" * (n // 5),
            "stars without an end": lambda n: b"+*a*a*a*a*a*b\n" + (b"a" * 900 + b"\n") * (n // 900),
            "line feeds": lambda n: b"+a\n" + b"\n" * n,
            "one line": lambda n: b"+a\n" + b"a" * n,
            "digits": lambda n: b"s" + b"9" * n + b"\n",
        },
        modules=[script, selection, splitter, pattern],
    ),
    Target(
        "status",
        check_status,
        seeds=[
            status.pack(1_799_999_000_000_000_000, 77, paused=True, want=ord("u")),
            status.pack(1_900_000_000_000_000_000, 0, paused=False, want=ord("d")),
            b"",
        ],
        modules=[status],
        count=200,
    ),
    Target(
        "envdir",
        Folder().check,
        seeds=[b"PATH:/bin\nEMPTY:\nTWO:a\2b\n.hidden:x\nOLD:", b"A=B:c\n=:x\n==y:z\nN:a\0b \t"],
        tokens=(b":", b"=", b"\n", b"\2", b"\0", b".", b" ", b"OLD", b"HOME=", b"\xff"),
        nasty={"one value": lambda n: b"A:" + b"b" * n, "blanks": lambda n: b"A:" + b" " * n},
        modules=[envdir],
        count=100,
    ),
)  # fmt: skip
