"""In a box: gives the original multilog and ours the same, and tells where what they leave differs.

    python3 multilog_inside.py FOLDER KIND SEED COUNT       KIND: scripts, recovery, exchange

Lines are fed one at a time, so that both read the same pieces: where files end follows from that. Prints a JSON list of texts.
"""

import fcntl
import itertools
import json
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import termios
import time

OURS = [
    "python3", "-IS", "-c",
    "import sys;sys.path[:0]=['/opt/quail/src'];from quail.programs.daemontools.multilog import main;main()",
]  # fmt: skip
THEIRS = ["/opt/oracles/daemontools/usr/bin/multilog"]
LABEL = re.compile(rb"@4000000[0-9a-f]{17}")
WORDS = (b"alpha", b"beta", b"status: ", b"*", b"x" * 40, b"", b" ", b"\\", b"[a]", b"4", b"\0", b"\xff", b"end")


def some_line(picks):
    if picks.random() < 0.06:
        return bytes([picks.choice(b"abc")]) * picks.choice((998, 999, 1000, 1001, 1500, 6000))
    return b"".join(picks.choices(WORDS, k=picks.randrange(6)))


def some_pattern(picks):
    parts = picks.choices((*WORDS, b"*", b"*", b"*", b"@* "), k=picks.randrange(5))
    return picks.choice((b"+", b"-")) + b"".join(parts).replace(b"\0", b"")


def some_script(picks):
    script = [b"t"] if picks.random() < 0.5 else []
    for number in range(picks.randrange(1, 9)):
        status, folder = b"=status%d" % number, b"./d%d" % number
        size, files = b"s%d" % picks.choice((0, 4096, 5000)), b"n%d" % picks.randrange(6)
        words = (b"-*", b"+*", b"e", size, files, status, folder, b"!tr n-z N-Z; cat <&4 >&5; echo ran >&5", b"x", b"t")
        script += [some_pattern(picks) if picks.random() < 0.2 else picks.choice(words)]
    return [*script, b"./last"]


def feed(process, line):
    """Until it has been taken, or nobody is there to take it."""
    pipe = process.stdin.fileno()
    os.write(pipe, line)
    while int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), sys.byteorder) and process.poll() is None:
        time.sleep(0)


def run(program, script, lines, cwd):
    process = subprocess.Popen(
        [*program, *script], cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    os.set_blocking(process.stderr.fileno(), False)
    heard = []

    def listen():
        while part := process.stderr.read(1 << 16):
            heard.append(part)

    try:
        for line in lines:
            feed(process, line)
            listen()
    except BrokenPipeError:
        pass
    process.stdin.close()
    os.set_blocking(process.stderr.fileno(), True)
    heard.append(process.stderr.read() or b"")
    out = process.stdout.read()
    process.stdout.close()
    process.stderr.close()
    return process.wait(), out, LABEL.sub(b"@", b"".join(heard))


def left(folder):
    """What is in it: for directories mode and files, labels taken away, old files in their order."""
    found = {}
    for name in sorted(os.listdir(folder)):
        path = f"{folder}/{name}"
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            found[name] = (oct(status.st_mode), [*left(path).items()])
        else:
            with open(path, "rb") as file:
                data = file.read()
            # A full stop for each label, in the order of the labels.
            shown, number = LABEL.sub(b"@", os.fsencode(name)).decode(), 0
            while shown in found:
                number += 1
                shown = f"{shown.partition('#')[0]}#{number}"
            found[shown] = (oct(status.st_mode), len(data), status.st_nlink, repr(LABEL.sub(b"@", data)))
    return found


def compare(folder, what, script, lines, prepare=None):
    results = []
    for name, program in (("theirs", THEIRS), ("ours", OURS)):
        place = f"{folder}/{name}"
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(place)
        if prepare:
            prepare(place)
        done = run(program, script, lines, place)
        results.append((done, left(place)))
    if results[0] == results[1]:
        return []
    theirs, ours = ({"ended": repr(each[0])} | each[1] for each in results)
    wrong = [f"{key}: {str(theirs.get(key))[:400]} / {str(ours.get(key))[:400]}"
             for key in sorted({*theirs, *ours}) if theirs.get(key) != ours.get(key)]  # fmt: skip
    return [f"{what}: {script}: {wrong}"]


def scripts(folder, seed, count):
    picks = random.Random(seed)
    for number in range(count):
        script = some_script(picks)
        lines = [some_line(picks) + b"\n" for _ in range(picks.choice((3, 30, 150)))]
        if picks.random() < 0.2:
            lines[-1] = lines[-1][:-1]
        yield from compare(folder, f"case {number}", script, lines)


def write(path, data, mode):
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


def recovery(folder, _seed, _count):
    """Every state in which a directory can be found."""
    modes = (None, 0o644, 0o744)
    for current, previous, processed, linked in itertools.product(modes, modes, modes, (None, "previous", "processed")):
        if (linked == "previous" and not previous) or (linked == "processed" and not processed):
            continue

        def prepare(place, current=current, previous=previous, processed=processed, linked=linked):
            os.mkdir(f"{place}/d")
            for name, mode in (("current", current), ("previous", previous), ("processed", processed)):
                if mode:
                    write(f"{place}/d/{name}", name.encode() + b" text\n", mode)
            write(f"{place}/d/state", b"old state", 0o644)
            write(f"{place}/d/newstate", b"old newstate", 0o644)
            write(f"{place}/d/@400000000000000000000001.s", b"old\n", 0o744)
            if linked:
                os.link(f"{place}/d/{linked}", f"{place}/d/@400000003000000000000001.s")

        # Recovery knows nothing of the processor, but what comes after it does.
        simple = [b"n5", b"./d"]
        script = simple if linked else [b"n2", b"s4096", b"!cat; cat <&4 >&5; echo x >&5", b"./d"]
        what = f"{current} {previous} {processed} {linked}"
        yield from compare(folder, what, script, [b"y" * 700 + b"\n"] * 4, prepare)


CALLS = ("fsync", "rename", "link", "unlink", "fchmod", "openat", "write", "close")


def exchange(folder, seed, count):
    """One is killed at some call of its own, and both go on from what it has left."""
    picks = random.Random(seed)
    script = [b"s4096", b"n6", b"!cat; cat <&4 >&5; echo x >&5", b"./d"]
    lines = [b"%099d\n" % number for number in range(70)]
    for number in range(count):
        program = picks.choice((THEIRS, OURS))
        place = f"{folder}/killed"
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(place)
        call, when = picks.choice(CALLS), picks.randrange(1, 9)
        if program is OURS and call in {"openat", "close"}:
            when += 300  # those of the interpreter's start
        kill = ["strace", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={when}"]
        run([*kill, *program], script, lines, place)
        if not os.path.exists(f"{place}/d"):
            continue

        def prepare(target, place=place):
            shutil.copytree(place, target, dirs_exist_ok=True)
            links = {}
            for name in os.listdir(f"{place}/d"):  # which the copy has made files of their own
                inode = os.stat(f"{place}/d/{name}").st_ino
                if inode in links:
                    os.remove(f"{target}/d/{name}")
                    os.link(f"{target}/d/{links[inode]}", f"{target}/d/{name}")
                links[inode] = name

        who = "ours" if program is OURS else "theirs"
        yield from compare(folder, f"kill {number}: {who} at {call} {when}", script, [b"after\n"], prepare)


def main():
    folder, kind, seed, count = sys.argv[1:]
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    kinds = {"scripts": scripts, "recovery": recovery, "exchange": exchange}
    print(json.dumps(list(kinds[kind](folder, int(seed), int(count)))))


if __name__ == "__main__":
    main()
