"""What the fuzz targets share: inputs made of kept ones, the loop over them, and what an input costs.

usage: python -m tests.fuzz.engine TARGET [SECONDS [SEED]]           try mutants, for 60 seconds if nothing is said
       python -m tests.fuzz.engine --keep TARGET [SECONDS [SEED]]    keep those that reach what no kept input reaches

A target's check() takes bytes and fails where the code does what it does not declare; it suits any fuzzer that calls a
function with bytes (atheris.Setup(argv, check)). An input that fails is made shorter as long as it fails in the same
way, and printed as one line. corpus/TARGET/ has what is always tried: what once failed, named after what was wrong, and a small
set, named by number, that reaches all that mutants have reached.
"""

import atexit
import importlib
import os
import random
import sys
import tempfile
import time
import tracemalloc
from _collections_abc import Callable, Iterator

import dns

import quail

CORPUS = os.path.join(os.path.dirname(__file__), "corpus")
CODE = (os.path.dirname(quail.__file__), os.path.dirname(dns.__file__))
LARGEST = 5000  # bytes of a mutant
LIES = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\x80\0\0", b"\1\0\0\0", b"\0\0\0\1")
FAMILIES = (
    "control",
    "daemontools",
    "delivery",
    "forwarding",
    "journal",
    "message",
    "netstring",
    "network",
    "storage",
    "users",
)


class Target:
    """What takes foreign bytes.

    name: of its folder. check: see above. seeds: well-formed inputs. tokens: what mutants get put in. nasty: by what it is, an
    input of n bytes that may be expensive. parse: check without its own checks, whose work is counted. count: how many mutants
    CI tries. modules: whose lines say which inputs are worth keeping.
    """

    def __init__(
        self,
        name: str,
        check: Callable[[bytes], object],
        *,
        seeds: list[bytes],
        modules: list[object],
        tokens: tuple[bytes, ...] = (),
        nasty: dict[str, Callable[[int], bytes]] | None = None,
        parse: Callable[[bytes], object] | None = None,
        count: int = 300,
    ) -> None:
        self.name, self.check, self.seeds, self.modules = name, check, seeds, modules
        self.tokens = (*tokens, *LIES)
        self.nasty = nasty or {}
        self.parse = parse or check
        self.count = count


def targets() -> dict[str, Target]:
    """All that tests.fuzz.test_targets runs."""
    found = {}
    for family in FAMILIES:
        for target in importlib.import_module(f"tests.fuzz.{family}_targets").TARGETS:
            assert target.name not in found
            found[target.name] = target
    return found


def seeded() -> int:
    """$QUAIL_SEED, or another each time; printed, so that a failure can be had again."""
    seed = int(os.environ.get("QUAIL_SEED") or random.randrange(1 << 32))
    print(f"QUAIL_SEED={seed}")
    return seed


def new_folder() -> str:
    """A new one, which goes when the process ends."""
    made = tempfile.TemporaryDirectory()
    atexit.register(made.cleanup)
    return made.name


def corpus(name: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of each kept input."""
    kept = os.path.join(CORPUS, name)
    for each in sorted(os.listdir(kept)) if os.path.isdir(kept) else ():
        with open(os.path.join(kept, each), "rb") as file:
            yield each, file.read()


def mutate(data: bytes, rng: random.Random, tokens: tuple[bytes, ...] | list[bytes], most: int = LARGEST) -> bytes:
    """Another input, somewhat like this one."""
    for _ in range(rng.randint(1, 6)):
        at = rng.randint(0, len(data))
        to = min(len(data), at + rng.randint(0, 12))
        kind = rng.randrange(8)
        if kind == 0:
            data = data[:at] + rng.choice(tokens) + data[at:]
        elif kind == 1:
            data = data[:at] + data[to:]
        elif kind == 2:
            data = data[:at] + data[at:to] * rng.randint(2, 40) + data[to:]
        elif kind == 3:
            data = data[:at] + bytes((rng.randrange(256),)) + data[at + 1 :]
        elif kind == 4:
            data = data[:at] + rng.choice(tokens) + data[to:]
        elif kind == 5 and data:
            at %= len(data)
            data = data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]
        elif kind == 6:
            other = rng.randint(0, len(data))
            data = data[:at] + data[other : other + rng.randint(0, 60)] + data[at:]
        elif rng.random() < 0.3:
            data = data[:at]
    return data[:most]


def fuzz(target: Target, count: int, seed: int, seconds: float = float("inf")) -> int:
    """Check so many mutants; returns how many it were."""
    return fuzz_with(target.check, pool(target), target.tokens, count, seed, seconds)


def pool(target: Target) -> list[bytes]:
    """What mutants are made of."""
    return [*target.seeds, *(data for _, data in corpus(target.name))]


def fuzz_with(
    check: Callable[[bytes], object],
    inputs: list[bytes],
    tokens: tuple[bytes, ...] | list[bytes],
    count: int,
    seed: int,
    seconds: float = float("inf"),
) -> int:
    """As fuzz()."""
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    done = 0
    while done < count and time.monotonic() < end:
        data = mutate(rng.choice(inputs), rng, tokens)
        try:
            check(data)
        except BaseException as error:
            if isinstance(error, Exception):
                data = shorter(check, data, type(error))
            print(f"seed {seed}, input {done}: {data!r}", file=sys.stderr)
            raise
        done += 1
        if rng.random() < 0.01:
            inputs.append(data)  # now and then go further from what is kept
    return done


def shorter(check: Callable[[bytes], object], data: bytes, kind: type[BaseException]) -> bytes:
    """As little of it as still fails in this way."""
    size = len(data)
    while size:
        at = 0
        while at < len(data):
            less = data[:at] + data[at + size :]
            try:
                check(less)
            except kind:
                data = less
            except Exception:
                at += size
            else:
                at += size
        size //= 2
    return data


def instructions(call: Callable[[], object]) -> int:
    """How many instructions of our own code, and of the DNS library, are run by it."""
    count = 0

    def trace(frame, event, _argument):
        nonlocal count
        if event == "opcode":
            count += 1
        elif event == "call":
            if not frame.f_code.co_filename.startswith(CODE):
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def memory(call: Callable[[], object]) -> int:
    """How many bytes more than before there are at its peak."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def seconds(call: Callable[[], object]) -> float:
    """Processor time that it takes, the least of three tries."""
    tries = []
    for _ in range(3):
        before = time.process_time()
        call()
        tries.append(time.process_time() - before)
    return min(tries)


def reached(target: Target, data: bytes) -> frozenset[tuple[str, int, int]]:
    """Which steps from line to line of the target's modules are taken."""
    files = {module.__file__ for module in target.modules}
    found = set()

    def trace(frame, event, _argument):
        if frame.f_code.co_filename not in files:
            return None
        last = 0

        def inside(frame, event, _argument):
            nonlocal last
            if event in ("line", "return"):
                line = frame.f_lineno if event == "line" else -1
                found.add((frame.f_code.co_qualname, last, line))
                last = line
            return inside

        return inside if event == "call" else None

    sys.settrace(trace)
    try:
        target.check(data)
    finally:
        sys.settrace(None)
    return frozenset(found)


def keep(target: Target, seed: int, limit: float) -> int:
    """Replace the numbered files of the corpus; how many there are."""
    rng = random.Random(seed)
    place = os.path.join(CORPUS, target.name)
    known = set().union(*(reached(target, data) for data in target.seeds))
    named = [data for name, data in corpus(target.name) if not name.isdigit()]
    for data in named:
        known |= reached(target, data)
    kept = []
    inputs = pool(target)
    end = time.monotonic() + limit
    old = [data for name, data in corpus(target.name) if name.isdigit()]
    while time.monotonic() < end:
        data = old.pop() if old else mutate(rng.choice(inputs), rng, target.tokens, 400)
        new = reached(target, data) - known
        if not new:
            continue
        for size in (64, 16, 4, 1):  # shorter, as long as it reaches that
            at = 0
            while at < len(data):
                less = data[:at] + data[at + size :]
                if new <= reached(target, less):
                    data = less
                else:
                    at += size
        known |= reached(target, data)
        kept.append(data)
        inputs.append(data)
    # What the later ones reach as well need not be kept.
    steps = [reached(target, data) for data in kept]
    base = set().union(*(reached(target, data) for data in [*target.seeds, *named]))
    for index in range(len(kept)):
        others = base.union(*(step for at, step in enumerate(steps) if at != index))
        if steps[index] <= others:
            steps[index] = frozenset()
    kept = [data for data, step in zip(kept, steps, strict=True) if step]
    os.makedirs(place, exist_ok=True)
    for name in os.listdir(place):
        if name.isdigit():
            os.unlink(os.path.join(place, name))
    for number, data in enumerate(kept):
        with open(os.path.join(place, f"{number:02d}"), "wb") as file:
            file.write(data)
    return len(kept)


def main(args: list[str]) -> None:
    keeps = args[:1] == ["--keep"]
    name, *rest = args[keeps:]
    limit = float(rest[0]) if rest else 60.0
    seed = int(rest[1]) if len(rest) > 1 else random.randrange(1 << 32)
    target = targets()[name]
    if keeps:
        print(f"seed {seed}: {keep(target, seed, limit)} kept")
    else:
        print(f"seed {seed}: {fuzz(target, 1 << 62, seed, limit)} inputs")


if __name__ == "__main__":
    main(sys.argv[1:])
