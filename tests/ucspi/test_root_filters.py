"""addcr, delcr, argv0, fixcrio and recordio beside Debian's, with random bytes from a fixed seed."""

import random

from tests.ucspi.oracle import both, compare, enter

PIECES = ["\r", "\n", "\r\n", "a", "hello", "\0", "\xff", "x" * 300, " ", "+"]


def streams(seed, count):
    chance = random.Random(seed)
    return ["".join(chance.choice(PIECES) for _ in range(chance.choice((0, 1, 5, 40, 2000)))) for _ in range(count)]


def test_filters(test_root):
    with enter(test_root) as box:
        cases = [{"argv": [name], "stdin": stream} for name in ("addcr", "delcr") for stream in streams(1, 12)]
        cases += [{"argv": [name, *args]} for name in ("addcr", "delcr") for args in (["x"], ["-x"])]
        compare(box, cases)


def test_filters_that_cannot_read_or_write(test_root):
    with enter(test_root) as box:
        shell = ["argv0", "sh", "sh", "-c"]
        for name in ("addcr", "delcr"):
            ours = f"python3 -m quail.programs.ucspi.{name}"
            for program in (f"/usr/bin/{name}", ours):
                cases = [{"argv": [*shell, f"{program} {where}; echo $?"]} for where in ("< /proc/self/mem", "<&-")]
                cases += [{"argv": [*shell, f"echo x | {program} > /dev/full; echo $?"]}]
                assert {result[:3] for result in compare(box, cases)} == {(0, "111\n", "")}


def test_wrapped_programs(test_root):
    commands = [
        ["cat"],
        ["cat", "-v"],
        ["sh", "-c", "cat; exit 7"],
        ["sh", "-c", "printf 'a\\nb\\r\\nc'; cat >/dev/null"],
    ]
    with enter(test_root) as box:
        cases = [{"argv": ["fixcrio", *words], "stdin": stream} for words in commands for stream in streams(2, 5)]
        cases += [{"argv": ["fixcrio", "sh", "-c", "kill -9 $$"]}]
        compare(box, cases)


def test_the_log_of_recordio(test_root):
    # Of two streams the log is in the order in which they happen to come: so one at a time, and each way by itself.
    commands = [["sh", "-c", "cat >/dev/null; exit 3"], ["sh", "-c", "sleep 0; cat > /tmp/$$; cat /tmp/$$"]]
    with enter(test_root) as box:
        cases = [{"argv": ["recordio", *words], "stdin": stream} for words in commands for stream in streams(3, 6)]
        ours, theirs = both(box, cases)
        for case, our, their in zip(cases, ours, theirs, strict=True):
            assert our[:2] == their[:2], case
            assert said(our[2], "<") == said(their[2], "<"), case
            assert said(our[2], ">") == said(their[2], ">"), case
            assert len(our[2]) == len(their[2])


def said(log, mark):
    """What the log says of one way, its pieces put together where the reader happened to cut."""
    return "".join(
        line.removeprefix(f"PID {mark} ").removesuffix("+\n") for line in lines(log) if line.startswith(f"PID {mark} ")
    )


def lines(log):
    return [line + "\n" for line in log.split("\n")[:-1]]


def test_wrong_calls_and_programs_that_are_not_there(test_root):
    calls = [
        ["argv0"], ["argv0", "sh"], ["argv0", "nonexistent", "a"], ["argv0", "/etc/passwd", "a"], ["argv0", "/", "a"],
        ["argv0", "/nonexistent", "a", "b"], ["argv0", "sh", "foo", "-c", 'echo "$0"'],
        ["argv0", "--", "sh", "a"], ["argv0", "sh", "-", "-c", 'echo "$0"; exit 9'],
        ["fixcrio"], ["fixcrio", "nonexistent"], ["fixcrio", "/etc/passwd"], ["recordio"],
    ]  # fmt: skip
    with enter(test_root) as box:
        compare(box, [{"argv": argv} for argv in calls])
        argv = ["recordio", "nonexistent"]
        ours, theirs = both(box, [{"argv": argv}])
        for code, out, err, _ in (*ours, *theirs):
            # The copier tells of the ends of the streams at the same time.
            assert (code, out) == (111, "")
            assert "recordio: fatal: unable to run nonexistent: file does not exist\n" in err
