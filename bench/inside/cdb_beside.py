"""Inside the test root: tcprules, cdbmake and look-ups beside Debian's tcprules, tinycdb's cdb and libcdb through ctypes.

usage: cdb_beside.py FOLDER. Prints medians of CPU seconds and of wall time, and their ratios.
"""

import ctypes
import os
import random
import statistics
import sys
import time
from collections.abc import Callable

from quail.cdb.file import open_cdb

RULES, RECORDS, KEYS = 200_000, 1_000_000, 1_000_000
ROUNDS = 5
CODE = "import sys; sys.path.insert(0, '/opt/quail/src'); from quail.programs.{} import main; main()"
Sample = tuple[float, float]


def run(words: list[str], stdin: str) -> Sample:
    """CPU and wall seconds of a program."""
    start = time.monotonic()
    pid = os.fork()
    if not pid:
        os.dup2(os.open(stdin, os.O_RDONLY), 0)
        os.execvp(words[0], words)
    _, status, used = os.wait4(pid, 0)
    assert status == 0, words
    return used.ru_utime + used.ru_stime, time.monotonic() - start


def call(function: Callable[[], object]) -> Sample:
    start, used = time.monotonic(), time.process_time()
    function()
    return time.process_time() - used, time.monotonic() - start


def compare(what: str, theirs: Callable[[], Sample], ours: Callable[[], Sample]) -> None:
    samples = [(theirs(), ours()) for _ in range(ROUNDS)]
    for kind, name in enumerate(("CPU", "wall")):
        first = statistics.median(sample[0][kind] for sample in samples)
        second = statistics.median(sample[1][kind] for sample in samples)
        print(
            f"{what:<34}{name:<5} theirs {first:7.3f} s  ours {second:7.3f} s  ratio {second / first:5.2f}", flush=True
        )


def program(name: str, *args: str) -> list[str]:
    return ["python3", "-IS", "-c", CODE.format(name), *args]


class LibraryCdb(ctypes.Structure):
    """struct cdb of libcdb."""

    _fields_ = (
        ("fd", ctypes.c_int),
        *((name, ctypes.c_uint) for name in ("size", "end")),
        ("memory", ctypes.c_void_p),
        *((name, ctypes.c_uint) for name in ("data_at", "data_length", "key_at", "key_length")),
    )


def look_ups(path: str) -> None:
    rng = random.Random(1)
    keys = [b"!user%d\0" % rng.randrange(RECORDS) for _ in range(KEYS)]
    library = ctypes.CDLL("libcdb.so.1")
    library.cdb_get.restype = ctypes.c_void_p
    state = LibraryCdb()
    reference = ctypes.byref(state)
    assert library.cdb_init(reference, os.open(path, os.O_RDONLY)) == 0

    def theirs() -> None:
        find, get, string_at = library.cdb_find, library.cdb_get, ctypes.string_at
        for key in keys:
            assert find(reference, key, len(key)) == 1
            string_at(get(reference, state.data_length, state.data_at), state.data_length)

    for mapped in (True, False):
        database = open_cdb(path, mapped=mapped)
        assert database is not None
        get = database.get

        def ours(get: Callable[[bytes], bytes | None] = get) -> None:
            for key in keys:
                assert get(key) is not None

        compare(f"{KEYS} look-ups, {'mapped' if mapped else 'read in place'}", lambda: call(theirs), lambda: call(ours))


def main() -> None:
    os.chdir(sys.argv[1])
    with open("rules", "w", encoding="ascii") as file:
        for n in range(RULES):
            order = "deny" if n % 3 else 'allow,RELAYCLIENT=""'
            file.write(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}:{order}\n")
    with open("text", "wb") as file:
        for n in range(RECORDS):
            key, data = b"!user%d\0" % n, b"user\0001000\0001000\0/home/user\0\0\0"
            file.write(b"+%d,%d:%s->%s\n" % (len(key), len(data), key, data))
        file.write(b"\n")
    words = ["/usr/bin/tcprules", "a.cdb", "a.tmp"], program("ucspi.tcprules", "b.cdb", "b.tmp")
    compare(f"tcprules, {RULES} rules", *(lambda word=word: run(word, "rules") for word in words))  # type: ignore[misc]
    words = ["cdb", "-c", "c.cdb", "text"], program("cdb.cdbmake", "d.cdb", "d.tmp")
    compare(f"a cdb of {RECORDS} records", *(lambda word=word: run(word, "text") for word in words))  # type: ignore[misc]
    for one, other in (("a.cdb", "b.cdb"), ("c.cdb", "d.cdb")):
        with open(one, "rb") as first, open(other, "rb") as second:
            assert first.read() == second.read(), other
    look_ups("d.cdb")


if __name__ == "__main__":
    main()
