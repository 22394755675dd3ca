"""Fuzz targets of local deliveries, and of the frames that queue, lspawn, rspawn, users and workers send one another."""

import os

from tests.fuzz.engine import Target, new_folder

from quail.delivery import dotqmail, instructions
from quail.delivery.instructions import FORWARD, MAILDIR, MBOX, PROGRAM, REFUSE
from quail.delivery.refusal import Refusal
from quail.errors import PeerError
from quail.net import frames, lspawn_protocol, rspawn_protocol, users_protocol
from quail.queue import handover
from quail.users import qmailfile

LIMIT = 1000


def check_instructions(data):
    for forward_only in (False, True):
        steps = instructions.parse(data, forward_only=forward_only)
        lines = data.split(b"\n")
        assert len(steps) <= len(lines)
        for step in steps:
            assert step.kind in (MAILDIR, MBOX, PROGRAM, FORWARD, REFUSE)
            assert not set(step.value) & set(b"\0\n")
            assert step.value[-1:] not in (b" ", b"\t")
            assert step.kind == REFUSE or step.value in lines[step.line - 1]
            assert not forward_only or step.kind in (FORWARD, REFUSE)
            assert (step.kind == MAILDIR) <= step.value.endswith(b"/")


DOT_QMAIL = [
    b"# comment\n./Maildir/\n&joe@example.org\n|preline procmail\n",
    b"./mbox\njoe\n+list\n/var/mail/x/\n",
    b" \n./Maildir/ \t\n",
    b"",
]


class Homes:
    """A home with one dot-qmail file, rewritten for each input."""

    def __init__(self):
        self._folder = None

    def check(self, data):
        if self._folder is None:
            self._folder = new_folder()
            os.chmod(self._folder, 0o755)
        home = self._folder
        mode, ext, content = (data[:1] or b"\0")[0], *[*data[1:].split(b"\n", 1), b""][:2]
        ext = ext.replace(b"\0", b"")
        for dash in (b"", b"-"):
            names = qmailfile.candidates(dash, ext)
            assert len(names) <= 2 + ext.count(b"-")
            for name, default in names:
                assert name.startswith(b".qmail" + dash)
                assert b".." not in name
                assert default is None or ext.endswith(default)
        name = qmailfile.name(b"-", ext if len(ext) < 100 and b"/" not in ext else b"x")
        path = os.path.join(os.fsencode(home), name)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, 0o600 | mode & 0o102)
        try:
            plans = dotqmail.Plans(b"./Maildir/\n", programs=bool(mode & 1))
            for dash in (b"", b"-"):
                try:
                    plan = plans.find(home, dash, ext)
                except Refusal as refusal:
                    assert refusal.letter in (b"D", b"Z")
                    assert refusal.text.endswith(b"\n")
                else:
                    assert plan.name.startswith((os.fsencode(home), b"control/"))
                    assert all(mode & 1 or step.kind != PROGRAM for step in plan.steps)
                plans.new_sender(home, dash, ext, b"a@b", b"l", b"h")
        finally:
            os.unlink(path)


def outcome(call, *args):
    try:
        return call(*args)
    except PeerError:
        return None


def check_frames(data):
    cut, data = 1 + data[0] if data else 1, data[1:]
    whole = outcome(frames.Splitter(LIMIT).feed, data)
    splitter, found = frames.Splitter(LIMIT), []
    try:
        for at in range(0, len(data), cut):
            found += splitter.feed(data[at : at + cut])
            assert len(splitter._buffer) <= LIMIT + frames.LENGTH_BYTES
    except PeerError:
        assert whole is None
    else:
        assert found == whole
        assert data.startswith(b"".join(map(frames.frame, found)))
    check_jobs(data)


def check_jobs(data):
    """One frame for each decoder; what one takes is encoded to the same bytes."""
    job = outcome(lspawn_protocol.decode_job, data)
    if job is not None:
        again = lspawn_protocol.encode_job(job.tag, job.sender, job.recipient, job.flags, job.body)
        assert again == frames.frame(data)
    found = outcome(lspawn_protocol.decode_task, data)
    if found is not None:
        owner, job = found
        assert lspawn_protocol.encode_task(int.from_bytes(data[:4], "big"), owner, job) == frames.frame(data)
        outcome(users_protocol.decode_owner, owner)
    report = outcome(lspawn_protocol.decode_report, data)
    if report is not None:
        assert lspawn_protocol.encode_report(report.tag, report.letter, report.text) == frames.frame(data)
    remote = outcome(rspawn_protocol.decode_job, data)
    if remote is not None:
        pairs = zip(remote.tags, remote.recipients, strict=True)
        assert rspawn_protocol.encode_job(remote.sender, remote.flags, pairs, remote.body) == frames.frame(data)
    outcome(rspawn_protocol.decode_report, data)
    message = outcome(users_protocol.decode, data)
    if message is not None:
        assert users_protocol.encode(message.tag, message.letter, message.payload) == frames.frame(data)
        owner = outcome(users_protocol.decode_owner, message.payload)
        if owner is not None:
            assert vars_of(users_protocol.decode_owner(users_protocol.encode_owner(owner))) == vars_of(owner)
    envelope = outcome(handover.decode_envelope, data)
    if envelope is not None:
        again = handover.encode_envelope(envelope.sender, envelope.recipients, envelope.attributes)
        assert again == frames.frame(data)
    outcome(handover.decode_reply, data)


def vars_of(owner):
    return [getattr(owner, name) for name in owner.__slots__]


OWNER = users_protocol.Owner(b"joe", 1001, 1001, b"/home/joe", b"-", b"ext")
FRAMES = [
    lspawn_protocol.encode_job(7, b"a@b", b"c@d", 1, b"body"),
    lspawn_protocol.encode_task(
        8,
        users_protocol.encode_owner(OWNER),
        lspawn_protocol.decode_job(lspawn_protocol.encode_job(7, b"a@b", b"c@d", 0, b"body")[4:]),
    ),
    lspawn_protocol.encode_report(7, b"K", b"did 1+0+0\n"),
    rspawn_protocol.encode_job(b"a@b", 2, [(1, b"c@d"), (2, b"e@d")], b"body"),
    rspawn_protocol.encode_report(7, b"Z", b"later", host_down=True),
    users_protocol.encode(9, b"K", users_protocol.encode_owner(OWNER)),
    users_protocol.encode(9, b"L", b"joe-ext"),
    handover.encode_envelope(b"a@b", [b"c@d"], [(b"smtputf8", b"")]),
    frames.frame(b"Kmsg 5"),
]

TARGETS = (
    Target(
        "instructions",
        check_instructions,
        seeds=DOT_QMAIL,
        tokens=(b"\n", b"#", b"|", b"&", b"+list\n", b"./", b"/\n", b" ", b"\t", b"\0"),
        nasty={
            "lines": lambda n: b"\n" * n,
            "forwards": lambda n: b"&\n" * (n // 2),
            "blanks": lambda n: b" " * n,
            "one line": lambda n: b"a" * n,
        },
        modules=[instructions],
    ),
    Target(
        "dotqmail",
        Homes().check,
        seeds=[b"\0joe\n" + each for each in DOT_QMAIL] + [b"\3a-b-c.d-default\n./Maildir/\n", b"\2\n|x\n"],
        tokens=(b"-", b"default", b".", b"..", b"/", b"-owner", b"\n", b"|x", b"./m/", b"x" * 300, b"\xff"),
        nasty={"blanks": lambda n: b"\0x\n" + b" " * n + b"x", "lines": lambda n: b"\0x\n#" + b"\n" * n},
        modules=[dotqmail, qmailfile],
        count=150,
    ),
    Target(
        "frames",
        check_frames,
        parse=lambda data: (outcome(frames.Splitter(1 << 20).feed, data), check_jobs(data)),
        seeds=[b"\0" + each for each in FRAMES] + [each[3:] for each in FRAMES],
        tokens=(b"\0\0\0\0", b"\0\0\0\5", b"\0\0", b"\0", b"K", b"Z", b"D", b"T", b"F", b"A", b"=", b"1" * 11),
        nasty={
            "empty frames": lambda n: b"\0" * n,
            "recipients": lambda n: b"F\0" + b"T\0" * (n // 2),
            "one frame": lambda n: frames.frame(b"x" * n),
            "remote recipients": lambda n: b"\0\0\0\0\x64" + b"\0\0\0\1\0\0" * (n // 6),
        },
        modules=[frames, lspawn_protocol, rspawn_protocol, users_protocol],
    ),
)  # fmt: skip
