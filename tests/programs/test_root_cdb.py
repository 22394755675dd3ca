"""The cdb programs beside freecdb's and tinycdb's: the same files, words and exit codes, for whole and for broken input."""

import os

import pytest

INSIDE = r"""
import json, random
import os, subprocess, sys

THEIRS = "/opt/oracles/freecdb/usr/bin/"
MODULE = "quail.programs.cdb."
CALL = "import sys; sys.argv[0] = {name!r}; from quail.programs.cdb.{name} import main; main()"


def run(ours, name, *args, stdin):
    words = [sys.executable, "-S", "-c", CALL.format(name=name)] if ours else [THEIRS + name]
    with open("in", "wb") as file:
        file.write(stdin)
    with open("in", "rb") as file:
        done = subprocess.run([*words, *args], stdin=file, capture_output=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def make(ours, text):
    with open("x.cdb", "wb") as file:
        file.write(b"old")
    said = run(ours, "cdbmake", "x.cdb", "x.tmp", stdin=text)
    with open("x.cdb", "rb") as file:
        return said, file.read()


def same(what, ours, theirs, **context):
    if ours != theirs:
        print(json.dumps({"what": what, "ours": repr(ours)[:3000], "theirs": repr(theirs)[:3000],
                          **{key: repr(value)[:3000] for key, value in context.items()}}))
        sys.exit(1)


def text_of(records):
    return b"".join(b"+%d,%d:%b->%b\n" % (len(k), len(d), k, d) for k, d in records) + b"\n"


def some(rng):
    keys = [b"", b"\n", b"+", b"->", b"\0", b"k" * 1024, b"k" * 1025, b"\n+1,1:a->b\n", *(b"%d" % n for n in range(30))]
    def key():
        return rng.choice(keys) if rng.random() < 0.5 else rng.randbytes(rng.randrange(40))
    def data():
        return rng.choice((b"", b"\n\n", b"\n+", rng.randbytes(rng.choice((3, 80, 3000)))))
    return [(key(), data()) for _ in range(rng.choice((0, 1, 5, 100, 1000)))]


def whole(rng, count):
    for _ in range(count):
        records = some(rng)
        text = text_of(records)
        ours, theirs = make(True, text), make(False, text)
        same("cdbmake", ours, theirs, text=text)
        assert ours[0] == (0, b"", b""), ours
        with open("t.in", "wb") as file:
            file.write(text)
        subprocess.run(["cdb", "-c", "t.cdb", "t.in"], check=True)
        with open("t.cdb", "rb") as file:
            same("tinycdb", ours[1], file.read(), text=text)
        cdb = ours[1]
        for name in ("cdbdump", "cdbstats"):
            same(name, run(True, name, stdin=cdb), run(False, name, stdin=cdb), text=text)
        for key in {k for k, _ in records if k and b"\0" not in k}.union((b"absent",)):
            if rng.random() < 0.05 or key == b"absent":
                skip = rng.choice(((), (b"0",), (b"1",), (b"3",), (b"",)))
                same("cdbget", run(True, "cdbget", key, *skip, stdin=cdb), run(False, "cdbget", key, *skip, stdin=cdb))


def broken(rng, _count):
    text = text_of([(b"one", b"Hello"), (b"", b""), (b"a\n+", b"\n\n+2,2:->")])
    for at in range(len(text)):
        for bad in (text[:at], text[:at] + bytes((rng.randrange(256),)) + text[at + 1:], text[:at] + text[at + 1:]):
            same("cdbmake", make(True, bad), make(False, bad), text=bad)


def damaged(rng, count):
    cdb = make(True, text_of([(b"key%d" % (n % 40), b"data%d" % n) for n in range(50)]))[1]
    for _ in range(count):
        bad = bytearray(cdb)
        for _ in range(rng.choice((0, 1, 2, 8))):
            at = rng.choice((rng.randrange(256) * 8, rng.randrange(len(bad) - 3), 0))
            bad[at:at + 4] = rng.choice((rng.randbytes(4), b"\xff" * 4, bytes(4), b"\0\x08\0\0", bytes(bad[at:at + 3]) + b"\1"))
        bad = bytes(bad[: rng.choice((len(bad), rng.randrange(len(bad))))])
        for name, *args in (("cdbdump",), ("cdbstats",), ("cdbget", b"key%d" % rng.randrange(60)), ("cdbtest",)):
            code, out, err = run(True, name, *args, stdin=bad)
            assert code in (0, 100, 111) and b"bug" not in err and b"Traceback" not in err, (name, code, err, bad)
            assert (code == 111) == err.startswith(b"%s: fatal: unable to read input: " % name.encode()), (name, err)


os.chdir(sys.argv[4])
globals()[sys.argv[1]](random.Random(int(sys.argv[2])), int(sys.argv[3]))
"""


def beside(test_root, tmp_path, what, count):
    seed = int(os.environ.get("QUAIL_SEED") or 20_261_130)
    (tmp_path / "inside.py").write_text(INSIDE)
    with test_root.enter({str(tmp_path): "/srv/cdb"}) as box:
        words = ["python3", "/srv/cdb/inside.py", what, str(seed), str(count), "/srv/cdb"]
        done = box.run(words, env={"PYTHONPATH": "/opt/quail/src"}, check=False, timeout=900)
        assert done.returncode == 0, f"seed {seed}: {done.stdout}{done.stderr}"


def test_the_same_files_dumps_counts_and_look_ups(test_root, tmp_path):
    beside(test_root, tmp_path, "whole", 10)


def test_the_same_words_for_text_that_is_broken_at_any_byte(test_root, tmp_path):
    beside(test_root, tmp_path, "broken", 1)


def test_damaged_files_end_every_program_in_good_order(test_root, tmp_path):
    beside(test_root, tmp_path, "damaged", 60)


@pytest.mark.long
def test_many_files(test_root, tmp_path):
    beside(test_root, tmp_path, "whole", 200)
    beside(test_root, tmp_path, "damaged", 2000)
