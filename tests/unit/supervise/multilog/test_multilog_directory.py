"""Log directories: no line is lost when the process is killed, or when a call fails, at any of its system calls."""

import errno
import os
import random
import re
import stat

import pytest
from tests.unit.supervise.multilog.logdir import (
    CountedCalls,
    KilledError,
    LogHouse,
    failing,
    killed_after,
    killed_before,
)

from quail.errors import TemporaryError
from quail.supervise.multilog.trouble import PAUSE

SCRIPT = ("s4096", "n9", "DIR/d")
PROCESSED = ("s4096", "n9", "!cat; cat <&4 >&5; echo x >&5", "DIR/d")
CHUNKS = [b"".join(b"%03d %s\n" % (chunk * 10 + line, b"x" * (line * 13)) for line in range(10)) for chunk in range(12)]
WHOLE = b"".join(CHUNKS)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture(autouse=True)
def usual_umask():
    old = os.umask(0o022)
    yield
    os.umask(old)


@pytest.mark.parametrize("script", [SCRIPT, PROCESSED])
def test_an_undisturbed_run(tmp_path, script):
    house = LogHouse(tmp_path, *script)
    house.run(CHUNKS)
    assert house.text() == WHOLE
    old = house.old_files()
    assert len(old) == 3
    for name in old:
        assert name.endswith(".s")
        assert 2096 <= os.path.getsize(tmp_path / "d" / name) <= 4096
        assert mode(tmp_path / "d" / name) == 0o744
    assert mode(tmp_path / "d" / "current") == 0o744
    assert mode(tmp_path / "d" / "lock") == 0o600
    assert mode(tmp_path / "d") == 0o700
    assert (tmp_path / "d" / "state").read_bytes() == (b"x\n" * 3 if script is PROCESSED else b"")
    assert house.said == []


def cut_at(tmp_path, script, end, number):
    """The run up to call `number`; and whether there was one."""
    house = LogHouse(tmp_path, *script)
    house.clear()
    calls = CountedCalls(number, end)
    taken = 0
    try:
        logger = house.logger(calls)
        for chunk in CHUNKS:
            taken += 1
            logger.take(chunk)
        logger.finish()
    except KilledError:
        return house, taken, True
    finally:
        release(calls)
    return house, taken, False


def release(calls):
    """What the kernel does for the dead: their locks and descriptors go."""
    own = {0, 1, 2}
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if fd not in own and "/d/" in target + "/" and "pytest" in target:
            os.close(fd)
    assert calls.count


@pytest.mark.parametrize("end", [killed_before, killed_after])
@pytest.mark.parametrize("script", [SCRIPT, PROCESSED])
def test_killed_at_every_call(tmp_path, script, end):
    number = 0
    while True:
        house, taken, cut = cut_at(tmp_path, script, end, number)
        if not cut:
            break
        safe = b"".join(CHUNKS[: max(taken - 1, 0)])
        in_flight = CHUNKS[taken - 1] if taken else b""
        later = CHUNKS[taken:]
        house.run(later)
        text = house.text()
        assert text.startswith(safe), number
        rest = b"".join(later)
        assert text.endswith(rest), number
        between = text[len(safe) : len(text) - len(rest)]
        assert in_flight.startswith(between), number
        assert not {"previous", "processed", "newstate"} & {*os.listdir(tmp_path / "d")}, number
        number += 1
    assert number > 60


@pytest.mark.parametrize("start", [killed_before, killed_after])
def test_killed_in_the_recovery_from_a_kill(tmp_path, start):
    picks = random.Random(5)
    for _ in range(60):
        number, second = picks.randrange(10, 90), picks.randrange(25)
        house, taken, _ = cut_at(tmp_path, PROCESSED, start, number)
        safe = b"".join(CHUNKS[: max(taken - 1, 0)])
        calls = CountedCalls(second, picks.choice((killed_before, killed_after)))
        try:
            house.run([b"again\n"], calls)
        except KilledError:
            pass
        release(calls)
        house.run([b"last\n"])
        text = house.text()
        assert text.startswith(safe), (number, second)
        assert text.endswith(b"last\n")


@pytest.mark.parametrize(
    ("script", "number"),
    [(SCRIPT, errno.ENOSPC), (SCRIPT, errno.EIO), (SCRIPT, errno.EINTR), (PROCESSED, errno.EIO)],
)
def test_each_call_may_fail_once(tmp_path, script, number):
    """At the start that may end the program, later never; and then it is said, and waited for."""
    house = LogHouse(tmp_path, *script)
    at, refused, heard = 0, [], set()
    while True:
        house.clear()
        calls = CountedCalls(at, failing(number))
        try:
            house.run(CHUNKS, calls)
        except TemporaryError as error:
            refused.append((at, str(error)))
            release(calls)
            house.run(CHUNKS)
        assert house.text() == WHOLE, (at, calls.seen[at : at + 1])
        heard.update(line.partition(", pausing: ")[0] for line in house.said)
        assert set(house.pauses) <= {PAUSE}
        assert len(house.said) == len(house.pauses)
        for line in house.said:
            assert line.startswith("warning: unable to ")
            assert ", pausing: " in line
        release(calls)
        if at >= calls.count:
            break
        at += 1
    assert at > 60
    assert max(where for where, _ in refused) < 15
    if script is PROCESSED:
        assert {plain(text.partition(": ")[0], tmp_path) for _, text in refused} == FATAL
        assert {plain(text.removeprefix("warning: "), tmp_path) for text in heard} == WARNINGS


# What the original says when strace makes its calls fail.
FATAL = {
    "unable to open directory D", "unable to lock directory D", "unable to stat D/current", "unable to stat D/processed",
    "unable to write to D/state", "unable to write to D/current", "unable to set mode of D/current",
}  # fmt: skip
WARNINGS = {
    "unable to write to D/current", "unable to write D/current to disk", "unable to create D/current",
    "unable to rename current to previous in directory D", "unable to set mode of D/current",

    "unable to set mode of D/previous", "unable to link to D/@LABEL.s", "unable to remove D/previous",
    "unable to remove D/processed", "unable to read D",
    "unable to stat D/previous", "unable to stat D/processed", "unable to stat D/current", "unable to create D/processed",
    "unable to write D/processed to disk", "unable to set mode of D/processed", "unable to create D/newstate",
    "unable to write D/newstate to disk", "unable to rename newstate to state in directory D",
}  # fmt: skip


def plain(text, tmp_path):
    return re.sub(r"@[0-9a-f]{24}", "@LABEL", text.replace(f"{tmp_path}/d", "D"))


def test_a_full_disk_takes_a_part_and_then_nothing(tmp_path):
    house = LogHouse(tmp_path, "DIR/d")
    calls = CountedCalls()
    real, room = os.write, [20]

    def write(fd, data):
        if not room[0]:
            raise OSError(errno.ENOSPC, "")
        written = real(fd, bytes(data)[: room[0]])
        room[0] -= written
        return written

    calls.write = write
    house.between = lambda: room.__setitem__(0, room[0] + 7 * (len(house.pauses) % 3 == 0))
    house.run([b"a line that is not short\n" * 2], calls)
    assert house.text() == b"a line that is not short\n" * 2
    assert house.said[0] == f"warning: unable to write to {tmp_path}/d/current, pausing: out of disk space"


def test_a_processor_that_fails_is_run_until_it_succeeds(tmp_path):
    house = LogHouse(tmp_path, "s4096", "!test -e ../ready && tr a b", "DIR/d")
    house.between = lambda: len(house.pauses) < 3 or (tmp_path / "ready").write_bytes(b"")
    house.run([b"a" * 99 + b"\n"] * 22)
    assert house.said == [f"warning: processor failed in {tmp_path}/d, pausing"] * 3
    assert house.text() == (b"b" * 99 + b"\n") * 21 + b"a" * 99 + b"\n"


def test_only_so_many_files_are_kept_the_newest(tmp_path):
    house = LogHouse(tmp_path, "s4096", "n3", "DIR/d")
    house.run([b"%099d\n" % number for number in range(100)])
    assert len(house.old_files()) == 2
    assert house.text() == b"".join(b"%099d\n" % number for number in range(42, 100))


def test_a_directory_that_is_in_use(tmp_path):
    house = LogHouse(tmp_path, "DIR/d")
    first = house.logger()
    with pytest.raises(TemporaryError, match=r"unable to lock directory .*: temporary failure"):
        house.logger()
    first.finish()


def test_a_current_that_somebody_has_taken_away(tmp_path):
    house = LogHouse(tmp_path, "DIR/d")
    logger = house.logger()
    logger.take(b"one\n")
    os.rename(tmp_path / "d" / "current", tmp_path / "taken")
    logger.rotate()
    logger.take(b"two\n")
    logger.finish()
    assert (house.text(), house.said) == (b"two\n", [])
    assert (tmp_path / "taken").read_bytes() == b"one\n"


def test_a_directory_that_is_moved_is_still_written_to(tmp_path):
    house = LogHouse(tmp_path, "s4096", "DIR/d")
    logger = house.logger()
    os.rename(tmp_path / "d", tmp_path / "elsewhere")
    for _ in range(30):
        logger.take(b"x" * 99 + b"\n")
    logger.finish()
    assert len(house.text("elsewhere")) == 3000
    assert len(house.old_files("elsewhere")) == 1


def test_another_link_of_what_is_to_become_an_old_file_does_not_make_it_one(tmp_path):
    house = LogHouse(tmp_path, "s4096", "!cat; ln processed ../copy", "DIR/d")
    house.run([b"x" * 99 + b"\n"] * 21)
    assert len(house.old_files()) == 1
    assert len(house.text()) == 2100
