"""In a box of the test root: the programs of dot-forward and fastforward, ours and Debian's, with the same input.

    beside_inside.py SUBJECT SEED COUNT

Ends with 1, and says what was different, at the first difference. Both programs queue by way of the same bin/qmail-queue, which
keeps what it gets; ours run in forks of this process, whose modules are loaded.
"""

import json
import os
import random
import signal
import sys

from quail.cdb.maker import Maker
from quail.forwarding.addresses import Address
from quail.programs.forwarding import (
    dot_forward,
    fastforward,
    newaliases,
    newinclude,
    printforward,
    printmaillist,
    setforward,
    setmaillist,
)

OURS = {
    "dot-forward": dot_forward, "fastforward": fastforward, "newaliases": newaliases, "newinclude": newinclude,
    "printforward": printforward, "printmaillist": printmaillist, "setforward": setforward, "setmaillist": setmaillist,
}  # fmt: skip
SUBJECT = sys.argv[1]
ORACLES = "/opt/oracles"
THEIRS = {name: f"{ORACLES}/fastforward/usr/bin/{name}" for name in OURS} | {
    "dot-forward": f"{ORACLES}/dot-forward/usr/bin/dot-forward",
    "newaliases": f"{ORACLES}/fastforward/usr/sbin/qmail-newaliases",
}
HOME = "/var/lib/qmail"  # Debian's
QUEUE = "#!/bin/sh\ncat > /srv/case/message\ncat <&1 > /srv/case/envelope\nexit $(cat /srv/case/code)\n"
ENVIRONMENT = {
    b"PATH": b"/usr/bin:/bin", b"UFLINE": b"From s@s\n", b"RPLINE": b"Return-Path: <s@s>\n", b"DTLINE": b"Delivered-To: d@d\n",
    b"SENDER": b"s@s.example", b"NEWSENDER": b"new@s.example",
}  # fmt: skip
WORDS_OF_THEIRS = {
    "printforward": {b"printmaillist: ": b"printforward: "},
    "fastforward": {b"-nNpP ]": b"-nNpPdD ]"},
}
MESSAGE = b"Subject: x\n\nhello\n"


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def remove(*paths):
    for path in paths:
        if os.path.lexists(path):
            os.unlink(path)


def start(ours, name, args, environment):
    """In a new process: be the program."""
    for number, path in enumerate(("stdin", "stdout", "stderr")):
        fd = os.open(path, (os.O_RDWR | os.O_CREAT) if number else os.O_RDONLY)
        os.dup2(fd, number)
        os.close(fd)
    if not ours:
        os.execve(THEIRS[name], [name, *args], environment)
    os.environb.clear()
    os.environb.update(environment | {b"QMAILHOME": HOME.encode(), b"QMAILQUEUE": b"bin/qmail-queue"})
    sys.argv = [name, *map(os.fsdecode, args)]
    OURS[name].main()


running = ""  # the program


def run(ours, name, *args, stdin=b"", keeps=(), **environment):
    """(exit code, stdout, stderr, envelope, message, files that it was to make)"""
    global running  # noqa: PLW0603  complete_as_theirs() has no other way to know
    running = name
    remove("stdout", "stderr", "envelope", "message", *keeps)
    write("stdin", stdin)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    pid = os.fork()
    if pid == 0:
        try:
            given = {key.encode(): value for key, value in environment.items()}
            start(ours, name, args, {key: value for key, value in (ENVIRONMENT | given).items() if value is not None})
        finally:
            os._exit(99)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    words = read("stderr")
    if b"qp " in words:
        words = words.rstrip(b"\n0123456789")
    out = read("stdout")
    if name.startswith("print") and code:
        out = b""  # theirs has written what its buffer did not hold
    if b"unable to parse" in words:
        words = words.rstrip(b"\n")  # theirs does not count empty lines at the end of the file
    for wrong, right in WORDS_OF_THEIRS.get(name, {}).items():
        words = words.replace(wrong, right)
    return code, out, words, read("envelope"), read("message"), *map(read, keeps)


def same(name, *args, context=b"", **options):
    ours, theirs = (run(whose, name, *args, **options) for whose in (True, False))
    if ours != theirs:
        differing = [number for number, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]]
        print(json.dumps({
            "program": name, "args": repr(args), "context": repr(context)[:700], "fields": differing,
            "ours": [repr(ours[number])[:300] for number in differing],
            "theirs": [repr(theirs[number])[:300] for number in differing],
        }))  # fmt: skip
        sys.exit(1)
    return ours


# Lines of addresses

ATOMS = (
    b"a", b"bob", b"joe", b"JOE", b"owner-l", b"include", b"|cat", b"/x", b".", b"+", b"a+", b"#", b"&", b"host", b"x.y",
    b"\xff",
    b"here.example", b"-", b"a\\ b", b"\\|x", b"~/x", b"!x",
    b"\\\\",
)  # fmt: skip
QUOTED = (
    b'"a b"', b'"|cat foo"', b'"|exit 0"', b'"/x y"', b'""', b'"a@b"', b'"x\\"y"', b'"."', b'"include"', b'"#"', b'"b+"',
)  # fmt: skip
OTHERS = (
    b"[1.2.3.4]",
    b"[x]",
    b"[x\\y\\\\]",
    b"[b+]",
    b"(c)",
    b"(a (b) c)",
    b"()",
    b":include:",
    b":include:/l/x",
    b":include:l",
    b"\\\\",
)
SPECIALS = (b"@", b".", b",", b":", b";", b"<", b">", b" ", b"\t", b"\r", b", ", b"<a@b.c>", b"a@host")
BROKEN = (b'"', b"(", b"[", b"]", b")", b"\\")


def soup(rng):
    """Anything at all, on one line."""
    kinds = (ATOMS, QUOTED, OTHERS, SPECIALS, SPECIALS)
    parts = [rng.choice(rng.choice(kinds)) for _ in range(rng.randrange(1, 9))]
    if rng.random() < 0.03:
        parts.insert(rng.randrange(len(parts)), rng.choice(BROKEN))
    text = rng.choice((b"", b" ")).join(parts)
    # As letters at the start of a word brackets are a mistake to us, and a CR is a blank whatever is before it.
    for letter in (b")", b"]", b"\r"):
        while b"\\" + letter in text:
            text = text.replace(b"\\" + letter, letter)
    return (
        text + b"x" if text.endswith(b"\\") and not text.endswith(b"\\\\") else text
    )  # it would make the line feed a letter


def proper(rng):
    """As people write it."""

    def one():
        user = rng.choice((b"joe", b"JOE", b"bob", b"a.b", b"x-y", b'"a b"', b"fred+", b"owner-l"))
        address = user + rng.choice(
            (b"", b"@host", b"@host+", b"@a.example", b"@HERE.example", b"@[1.2.3.4]", b"@here.example")
        )
        return rng.choice(
            (address, address, b"Some One <%b>" % address, b"%b (Some, One)" % address, b"<%b>" % address)
        )

    return rng.choice((b", ", b",", b" ")).join(one() for _ in range(rng.randrange(1, 4)))


def complete_as_theirs(self, hosts):
    """Their way to complete a host name, which differs from ours where it is none; see the manual page of dot-forward."""
    text = self.text
    if not self.has_host:
        text += b"@"
    if not self.has_host or (text[-1:] == b"@" and running == "newaliases"):
        text += hosts.whole(b"x", b"").partition(b"@")[2]
    if text[-1:] == b"+":
        text = text[:-1] + b".plus.example"
    if b"." not in text.rpartition(b"@")[2]:
        text += b".default.example"
    return text


def dotforward(rng, count):
    ours = Address.mailbox
    for turn in range(count):
        make = proper if turn % 3 == 0 else soup
        Address.mailbox = ours if make is proper else complete_as_theirs
        lines = [rng.choice((b"#x ", b"", b"", b"", b"", b" ", b"#")) + make(rng) for _ in range(rng.randrange(4))]
        text = b"\n".join(lines) + rng.choice((b"", b"\n"))
        write("first", rng.choice((b"# none\n", b"\n", b"", text)))
        write("forward", text)
        files = [rng.choice((b"none", b"first", b"forward")) for _ in range(rng.randrange(3))]
        whose = {
            "USER": rng.choice((b"joe", None, b"bob")),
            "HOST": rng.choice((b"here.example", None, b"HOST.default.example")),
        }
        code, *_ = same("dot-forward", "-n", *files, "forward", context=text, **whose)
        write("code", rng.choice((b"0", b"0", b"0", b"31", b"71")))
        if b"cat" not in text and code != 111:  # what has a mistake runs no program of ours, see the manual page
            same("dot-forward", *files, "forward", stdin=MESSAGE, context=text, **whose)
    Address.mailbox = ours


def aliases(rng, count):
    ours = Address.mailbox
    for turn in range(count):
        make = proper if turn % 3 == 0 else soup
        Address.mailbox = ours if make is proper else complete_as_theirs
        lines = []
        for _ in range(rng.randrange(5)):
            start = rng.choice(
                (b"", b"", b"#", b" ", b"\t", b"a: ", b"owner-l: ", b"b@host: ", b"@d.example: ", b"B, ")
            )
            lines.append(start + make(rng) if rng.random() < 0.9 else b"")
        text = b"".join(line + b"\n" for line in lines)
        write("/etc/aliases", text)
        same("newaliases", keeps=("/etc/aliases.cdb",), context=text)
        write("list", text)
        named = rng.choice(({}, {"QMAILDEFAULTHOST": b"dh.example"}, {"QMAILPLUSDOMAIN": b"plus.example"}))
        same("newinclude", "list", keeps=("list.bin",), context=text, **named)
        if os.path.exists("list.bin"):
            same("printmaillist", stdin=read("list.bin"))
        if os.path.exists("/etc/aliases.cdb"):
            same("printforward", stdin=read("/etc/aliases.cdb"))
    Address.mailbox = ours


# Tables

WORDS = (
    b"a@b.c", b"A@B.c", b"@b.c", b"a@", b"b@b.c", b"c@b.c", b"x@y", b"&x@y", b"&b@b.c", b"c@b.c", b"?o@b.c", b"?",
    b"./l.bin",
    b"/none",
    b"|true", b"!true", b"|exit\\ 64", b"|exit\\ 3", b"\\|true", b"&", b"&&x", b"x\\ y", b"x y", b"\\,\\;\\:\\#\\\\",
    b"\xff\x01",
    b"\\\n",
    b"x" * 800, b"&" + b"x" * 799, b"&" + b"x" * 800, b"./" + b"y" * 900, b"x" * 801, b"m.bin", b"./m.bin",
)  # fmt: skip


def table(rng):
    if rng.random() < 0.2:
        bits = [*WORDS, b":", b";", b",", b"#", b"\n", b"\\", b"\0", b" # c\n"]
        return b"".join(rng.choice(bits) for _ in range(rng.randrange(12)))
    text = []
    for _ in range(rng.randrange(6)):
        commands = [rng.choice(WORDS[:23]) for _ in range(rng.randrange(5))]
        text.append(
            rng.choice(WORDS[:6])
            + rng.choice((b":", b": ", b":\n"))
            + rng.choice((b",", b", ")).join(commands)
            + b";\n"
        )
    return b"".join(text)


def forwarding(rng, count):
    """setforward, and then fastforward and printforward with what it made."""
    for name in ("l.bin", "m.bin"):
        write(name, b"")
        os.chmod(name, 0o644)
    for _ in range(count):
        text = table(rng)
        code, *_, made = same("setforward", "t.cdb", "t.tmp", stdin=text, keeps=("t.cdb",), context=text)
        if made is None:
            continue
        assert code == 0
        same("printforward", stdin=made, context=text)
        entries = [
            rng.choice((b"&x@y\0", b"&b@b.c\0", b"&l@l\0", b"./m.bin\0", b"./l.bin\0", b"|no\0", b"\0", b"&tail"))
            for _ in "123"
        ]
        write("l.bin", b"".join(entries))
        write("m.bin", b"".join(reversed(entries)))
        write("code", rng.choice((b"0", b"0", b"0", b"31", b"71", b"11", b"53")))
        for _ in range(2):
            address = rng.choice((b"a@b.c", b"A@b.C", b"b@b.c", b"z@b.c", b"a@z", b"a", b"", b"@", b"c@b.c"))
            user, _, host = address.rpartition(b"@")
            how = rng.choice(({"RECIPIENT": address}, {"DEFAULT": user, "HOST": host}, {"EXT": user, "HOST": host}))
            how["SENDER"] = rng.choice((b"s@s", b"s@s", b"", b"#@[]", None))
            flags = ["-d"] * ("HOST" in how) + [*rng.choice(((), ("-p",), ("-pP",), ("-P",), ("-D", "-d")))]
            context = text, entries, how
            same("fastforward", "-n", *flags, "t.cdb", context=context, **how)
            if b"!true" not in text:  # theirs calls preline
                same("fastforward", *flags, "t.cdb", stdin=MESSAGE, context=context, **how)


def lists(rng, count):
    bits = (
        b"a@b", b"&a", b"./x", b"/y", b" ", b"\t", b"\n", b"\n", b"#", b"x" * 800, b"x" * 799, b"&", b"\r", b"\0", b"\n|x",
        b"\xff",
    )  # fmt: skip
    for _ in range(count):
        text = b"".join(rng.choice(bits) for _ in range(rng.randrange(8)))
        os.umask(rng.choice((0o77, 0o22)))
        same("setmaillist", "m.bin", "m.tmp", stdin=text, keeps=("m.bin",), context=text)
        binary = b"".join(rng.choice((*bits, b"\0", b"\0")) for _ in range(rng.randrange(8)))
        binary = rng.choice((binary, read("m.bin") or b""))
        same("printmaillist", stdin=binary, context=binary)


def databases(rng, count):
    """What printforward makes of any constant database, and fastforward of what is none of setforward's."""
    bits = (
        b"&x@y\0",
        b"&x",
        b"|true\0",
        b"\0",
        b"x\0",
        b"./none\0",
        b"&" + b"x" * 897 + b"\0",
        b"&" + b"x" * 899 + b"\0",
        b"\n",
    )
    for _ in range(count):
        maker = Maker()
        for _ in range(rng.randrange(4)):
            key = rng.choice((b":", b"?", b"x", b"")) + rng.choice(
                (b"a@b.c", b"A@b.c", b"b;:,\\", b"", bytes([rng.randrange(256)]))
            )
            value = b"".join(rng.choice(bits) for _ in range(rng.randrange(4)))
            maker.add(
                key, value.replace(b"\0", b"") if key[:1] == b"?" else value
            )  # we send nothing in the name of a zero byte
        data = maker.to_bytes()
        cut = data[: rng.choice((len(data), len(data), 2048, 2047, len(data) - 8))]
        same("printforward", stdin=cut, context=(len(data), data[2048:]))
        write("t.cdb", data)
        same("fastforward", "-n", "t.cdb", RECIPIENT=b"a@b.c", context=data[2048:])


CASES = [
    ("setforward",), ("setforward", "a"), ("setforward", "a", "b", "c"), ("setforward", "no/a", "no/b"),
    ("setforward", "no/a", "b"),
    ("setmaillist",), ("setmaillist", "a"), ("setmaillist", "no/a", "no/b"), ("setmaillist", "no/a", "b"),
    ("newinclude",), ("newinclude", "none"), ("newinclude", "no/none"), ("newinclude", "/tmp"), ("newinclude", "x", "y"),
    ("printforward", "x"), ("printmaillist", "x"),
    ("dot-forward",), ("dot-forward", "-x"), ("dot-forward", "none"), ("dot-forward", "-n", "none"), ("dot-forward", "/tmp"),
    ("dot-forward", "x/y"), ("dot-forward", "y" * 300), ("dot-forward", "--", "x"), ("dot-forward", "-nN", "x"),
    ("dot-forward", "-"),
    ("dot-forward", "loop"), ("dot-forward", "-n", "/dev/null", "fifo", "x"),
    ("fastforward", "-x"), ("fastforward", "none.cdb"), ("fastforward", "-d", "none.cdb"),
    ("fastforward", "-nd"),
]  # fmt: skip


def calls(_rng, _count):
    os.mkfifo("fifo")
    os.symlink("loop", "loop")
    for name, *args in CASES:
        write("x", b"x@y.example\n")
        same(name, *args, stdin=b"a: b;" if name == "setforward" else b"")
    write("x", b"")
    for args, how in (
        ((), {}), (("-d",), {}), (("-d",), {"HOST": b"h"}), (("-d",), {"EXT": b"e"}), (("-d",), {"DEFAULT": b"e"}),
    ):  # fmt: skip
        write("empty.cdb", Maker().to_bytes())
        same("fastforward", *args, "empty.cdb", **how)
    commands(MESSAGE * 10)
    commands(MESSAGE * 100_000)


def commands(message):
    """What programs get, and what their ends mean."""
    for command in (
        b"cat", b"true", b"exec <&-", b"exit 1", b"exit 64", b"exit 99", b"exit 100", b"exit 111", b"exit 112", b"cat >&2",
        b"no-such-program",
        b"echo $0 $#", b"pwd", b"head -c 10; exit 3",
    ):  # fmt: skip
        write("forward", b'"|echo one", "|%b", x@y.example, joe\n' % command)
        same("dot-forward", "forward", stdin=message, context=command, USER=b"joe")
        same("setforward", "t.cdb", "t.tmp", stdin=b"a@b: |echo\\ one, |%b, x@y;" % command.replace(b" ", b"\\ "))
        same("fastforward", "t.cdb", stdin=message, context=command, RECIPIENT=b"a@b")
    write("forward", b'"|kill -9 $$"\n')
    same("dot-forward", "forward", stdin=message)


def main():
    seed, count = map(int, sys.argv[2:])
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for folder in (f"{HOME}/bin", f"{HOME}/control", "/srv/case"):
        os.makedirs(folder, exist_ok=True)
    write(f"{HOME}/bin/qmail-queue", QUEUE.encode())
    os.chmod(f"{HOME}/bin/qmail-queue", 0o755)
    for name, value in (("me", b"me"), ("defaultdomain", b"default.example"), ("plusdomain", b"plus.example")):
        write(f"{HOME}/control/{name}", value + b"\n")
    os.chdir("/srv/case")
    write("code", b"0")
    globals()[SUBJECT](random.Random(seed), count)


if __name__ == "__main__":
    main()
