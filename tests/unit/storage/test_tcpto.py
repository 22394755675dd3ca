"""The memory of hosts that do not answer: qmail's rules, several processes, and files that are not as they should be."""

import os
import struct
import subprocess
import sys
import zlib

import pytest

from quail.storage import tcpto
from quail.storage.calls import SystemCalls
from quail.storage.tcpto import GAP, HEAD, RECORD, RECORDS, SET, SETS, SIZE, Tcpto, complete

NOW = 1_800_000_000.5
LATER = NOW + 10_000
HOSTS = ["192.0.2.1", "2001:db8::1"]


@pytest.fixture
def path(tmp_path) -> str:
    complete(str(tmp_path / "tcpto"))
    return str(tmp_path / "tcpto")


@pytest.fixture
def table(path):
    table = Tcpto.open(path)
    yield table
    table.close()


def one_set(count: int) -> list[str]:
    """Addresses whose records share a set."""
    by_set: dict[int, list[str]] = {}
    for number in range(1 << 16):
        ip = f"10.1.{number >> 8}.{number & 255}"
        found = by_set.setdefault(zlib.crc32(bytes(10) + b"\xff\xff" + bytes(map(int, ip.split(".")))) % SETS, [])
        found.append(ip)
        if len(found) == count:
            return found
    raise AssertionError(count)


def patch(path: str, data: bytes, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def records(path: str) -> list[tuple[int, bytes]]:
    with open(path, "rb") as file:
        data = file.read()
    found = [(at, data[at : at + RECORD]) for at in range(SET, SIZE, RECORD)]
    return [(at, record) for at, record in found if any(record)]


# qmail's rules (facts 9.4)


@pytest.mark.parametrize("ip", HOSTS)
def test_the_second_time_out_makes_a_host_slow(table, ip):
    assert not table.is_slow(ip, NOW, 0)
    table.timed_out(ip, NOW)
    assert not table.is_slow(ip, NOW, 0)
    table.timed_out(ip, NOW + GAP)
    assert table.is_slow(ip, NOW + GAP, 0)
    assert list(table.entries(NOW + GAP + 7)) == [(ip, 7, 2)]


def test_time_outs_within_two_minutes_count_once(table):
    for _ in range(20):
        table.timed_out("192.0.2.1", NOW)
    table.timed_out("192.0.2.1", NOW + GAP - 1)
    assert list(table.entries(NOW)) == [("192.0.2.1", 0, 1)]
    table.timed_out("192.0.2.1", int(NOW) + GAP)
    assert list(table.entries(NOW + GAP)) == [("192.0.2.1", 0, 2)]


@pytest.mark.parametrize(("jitter", "minutes"), [(0, 60), (31, 91), (32, 60), (12345, 60 + 25)])
def test_how_long_it_is_slow(table, jitter, minutes):
    table.timed_out("192.0.2.1", NOW - GAP)
    table.timed_out("192.0.2.1", NOW)
    since = int(NOW)
    assert table.is_slow("192.0.2.1", since + minutes * 64 - 0.5, jitter)
    assert not table.is_slow("192.0.2.1", since + minutes * 64, jitter)


def test_more_than_ten_are_not_counted_and_an_old_count_goes_on(table):
    for number in range(15):
        table.timed_out("192.0.2.1", NOW + number * GAP)
    assert [count for _, _, count in table.entries(LATER)] == [10]
    later = NOW + 10_000_000
    assert not table.is_slow("192.0.2.1", later, 31)
    table.timed_out("192.0.2.1", later)
    assert table.is_slow("192.0.2.1", later, 0)


@pytest.mark.parametrize("ip", HOSTS)
def test_any_other_outcome_forgets(table, path, ip):
    table.timed_out(ip, NOW)
    table.timed_out(ip, NOW + GAP)
    table.answered(ip)
    assert not table.is_slow(ip, NOW + GAP, 0)
    assert records(path) == []
    table.timed_out(ip, NOW + GAP)
    assert list(table.entries(NOW + GAP)) == [(ip, 0, 1)]


def test_what_was_never_slow_is_not_written(path):
    calls = Watched()
    table = Tcpto.open(path, calls=calls)
    calls.made.clear()
    table.answered("192.0.2.1")
    table.is_slow("192.0.2.1", NOW, 0)
    assert calls.made == ["pread", "pread"]


class Watched(SystemCalls):
    """Notes which calls read, lock and write, and fails those in `failing`."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.failing: set[str] = set()

    def __getattribute__(self, name: str):
        if name not in {"pread", "flock", "pwritev", "open", "fsync", "fdatasync"}:
            return super().__getattribute__(name)

        def call(*args):
            self.made.append(name)
            if name in self.failing:
                raise OSError(5, "Input/output error")
            return getattr(os, name)(*args) if name != "flock" else SystemCalls.flock(*args)

        return call


def test_a_full_set_loses_the_smallest_of_time_and_count(table):
    ips = one_set(RECORDS + 2)
    table.timed_out(ips[0], NOW - 300)
    table.timed_out(ips[0], NOW - 150)  # the second time is worth 1,024 seconds
    for number, ip in enumerate(ips[1:RECORDS]):
        table.timed_out(ip, NOW + number)
    table.timed_out(ips[RECORDS], NOW + 900)
    left = {ip for ip, _, _ in table.entries(LATER)}
    assert left == set(ips[: RECORDS + 1]) - {ips[1]}
    table.answered(ips[5])
    table.timed_out(ips[RECORDS + 1], NOW + 901)  # into the free one
    assert {ip for ip, _, _ in table.entries(LATER)} == left - {ips[5]} | {ips[RECORDS + 1]}


def test_addresses_of_one_set_do_not_disturb_each_other(table):
    ips = one_set(RECORDS)
    for step in range(RECORDS):
        for ip in ips[step:]:
            table.timed_out(ip, NOW + step * GAP)
    assert {ip: count for ip, _, count in table.entries(LATER)} == {ip: number for number, ip in enumerate(ips, 1)}
    assert [ip for ip in ips if table.is_slow(ip, NOW + RECORDS * GAP, 0)] == ips[1:]


def test_a_mapped_address_is_the_ipv4_address(table):
    table.timed_out("::ffff:192.0.2.1", NOW)
    table.timed_out("192.0.2.1", NOW + GAP)
    assert list(table.entries(NOW + GAP)) == [("192.0.2.1", 0, 2)]


def test_clear(table, path):
    for number in range(200):
        table.timed_out(f"192.0.2.{number}", NOW)
    assert len(list(table.entries(NOW))) == 200
    table.clear()
    assert list(table.entries(NOW)) == []
    assert records(path) == []
    assert table.trouble == ""


@pytest.mark.parametrize("ip", ["", "mail.example.com", "fe80::1%lo", "1.2.3", "1.2.3.4\0", "é"])
def test_what_is_no_address_is_not_remembered(table, path, ip):
    table.timed_out(ip, NOW)
    table.answered(ip)
    assert not table.is_slow(ip, NOW, 0)
    assert records(path) == []


def test_nothing_is_synced(path):
    calls = Watched()
    table = Tcpto.open(path, calls=calls)
    table.timed_out("192.0.2.1", NOW)
    assert calls.made[-4:] == ["flock", "pread", "pwritev", "flock"]


# files that are not as they should be


@pytest.mark.parametrize("bit", range(0, RECORD * 8, 5))
def test_a_damaged_record_is_a_free_one(table, path, bit):
    table.timed_out("192.0.2.1", NOW)
    table.timed_out("192.0.2.1", NOW + GAP)
    ((at, record),) = records(path)
    damaged = bytearray(record)
    damaged[bit // 8] ^= 1 << bit % 8
    patch(path, bytes(damaged), at)
    assert not table.is_slow("192.0.2.1", NOW + GAP, 0)
    assert list(table.entries(NOW)) == []
    table.timed_out("192.0.2.1", NOW + GAP)
    assert [at for at, _ in records(path)] == [at]
    assert list(table.entries(NOW + GAP)) == [("192.0.2.1", 0, 1)]


@pytest.mark.parametrize("count", [0, 11, 1 << 31])
def test_a_count_that_cannot_be_is_a_free_record(table, path, count):
    table.timed_out("192.0.2.1", NOW)
    ((at, record),) = records(path)
    fields = record[:24] + struct.pack("<I", count)
    patch(path, fields + struct.pack("<I", zlib.crc32(fields)), at)
    assert list(table.entries(NOW)) == []
    table.timed_out("192.0.2.1", NOW)
    assert [count for _, _, count in table.entries(NOW)] == [1]


def test_a_clock_that_is_put_back(table):
    for time in (NOW, NOW + GAP, NOW + 2 * GAP):
        table.timed_out("192.0.2.1", time)
    assert table.is_slow("192.0.2.1", NOW + GAP, 0)  # a little: others read the clock a moment before
    table.timed_out("192.0.2.1", NOW + GAP)
    assert list(table.entries(NOW + GAP)) == [("192.0.2.1", 0, 3)]
    assert not table.is_slow("192.0.2.1", NOW - 100_000, 0)
    assert list(table.entries(NOW - 100_000)) == []
    table.timed_out("192.0.2.1", NOW - 100_000)
    assert list(table.entries(NOW - 100_000)) == [("192.0.2.1", 0, 1)]


def test_records_from_the_future_go_first(table):
    ips = one_set(RECORDS + 1)
    for ip in ips[:RECORDS]:
        table.timed_out(ip, NOW + 1_000_000)
    table.timed_out(ips[RECORDS], NOW)
    assert list(table.entries(NOW)) == [(ips[RECORDS], 0, 1)]


def test_before_1970(table):
    table.timed_out("192.0.2.1", -5.0)
    assert not table.is_slow("192.0.2.1", -5.0, 0)


@pytest.mark.parametrize("content", [b"", HEAD, b"x" * SIZE, HEAD + bytes(SIZE), b"quail tcpto 2\n".ljust(SIZE, b"\0")])
def test_a_malformed_file_remembers_nothing_until_it_is_made_again(path, content):
    with open(path, "wb") as file:
        file.write(content)
    assert_remembers_nothing(path, "is no table of this version")
    complete(path)
    assert_remembers(path)


def test_a_missing_file(tmp_path):
    assert_remembers_nothing(str(tmp_path / "none"), "file does not exist")


def test_a_link_is_not_followed(path, tmp_path):
    os.symlink(path, tmp_path / "link")
    assert_remembers_nothing(str(tmp_path / "link"), "unable to open")
    complete(str(tmp_path / "link"))
    assert not os.path.islink(tmp_path / "link")
    assert os.path.getsize(path) == SIZE


def test_a_folder_or_a_pipe_in_its_place(tmp_path):
    os.mkdir(tmp_path / "folder")
    assert_remembers_nothing(str(tmp_path / "folder"), "is a directory")
    os.mkfifo(tmp_path / "pipe")
    assert_remembers_nothing(str(tmp_path / "pipe"), "is no table of this version")
    complete(str(tmp_path / "pipe"))
    assert_remembers(str(tmp_path / "pipe"))


def assert_remembers(path: str) -> None:
    table = Tcpto.open(path)
    table.timed_out("192.0.2.1", NOW)
    assert (table.trouble, list(table.entries(NOW))) == ("", [("192.0.2.1", 0, 1)])
    table.close()


def assert_remembers_nothing(path: str, why: str) -> None:
    table = Tcpto.open(path)
    assert path in table.trouble
    assert why in table.trouble
    table.timed_out("192.0.2.1", NOW)
    table.timed_out("192.0.2.1", NOW + GAP)
    table.answered("192.0.2.1")
    table.clear()
    assert not table.is_slow("192.0.2.1", NOW + GAP, 0)
    assert list(table.entries(NOW)) == []
    table.close()


@pytest.mark.parametrize("failing", ["pread", "flock", "pwritev"])
def test_a_disk_that_fails_stops_nothing(path, failing):
    calls = Watched()
    table = Tcpto.open(path, calls=calls)
    table.timed_out("192.0.2.1", NOW)
    calls.failing = {failing}
    table.timed_out("192.0.2.1", NOW + GAP)
    table.answered("192.0.2.1")
    table.clear()
    assert not table.is_slow("192.0.2.1", NOW + GAP, 0)
    assert (table.trouble != "") == (failing != "pread")
    calls.failing = set()
    table.timed_out("192.0.2.1", NOW + GAP)
    assert [ip for ip, _, _ in table.entries(NOW + GAP)] == ["192.0.2.1"]


def test_a_reader_can_only_ask(path):
    writer, reader = Tcpto.open(path), Tcpto.open(path, write=False)
    writer.timed_out("192.0.2.1", NOW)
    reader.timed_out("192.0.2.1", NOW + GAP)
    assert list(reader.entries(NOW)) == [("192.0.2.1", 0, 1)]
    assert reader.trouble


# who makes it


def test_complete_leaves_what_is_in_order(path):
    before = os.stat(path)
    complete(path)
    assert os.stat(path).st_ino == before.st_ino
    assert (before.st_size, before.st_mode & 0o7777) == (SIZE, 0o640)
    os.chmod(path, 0o666)
    complete(path)
    assert os.stat(path).st_mode & 0o7777 == 0o640


def test_complete_takes_away_what_a_crash_left(tmp_path):
    path = str(tmp_path / "tcpto")
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    os.symlink(precious, path + ".tmp")
    complete(path)
    assert os.listdir(tmp_path) != []
    assert not os.path.lexists(path + ".tmp")
    assert precious.read_bytes() == b"precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_complete_gives_the_file_to_its_owner(path):
    complete(path, owner=(4321, 4322))
    status = os.stat(path)
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (4321, 4322, 0o640)
    complete(path, owner=(4321, 4322))
    assert os.stat(path).st_ino == status.st_ino


# several processes

# Of its two addresses a worker forgets the first all the time and sees it time out again, so that all of them want free
# records of the set at once; the second one only counts.
WORKER = """
import sys
from quail.storage.tcpto import Tcpto
path, first, second = sys.argv[1:]
table = Tcpto.open(path)
print("ready", flush=True)
for line in sys.stdin:
    now = float(line)
    for _ in range(300):
        table.timed_out(first, now)
        table.timed_out(second, now)
        table.answered(first)
    table.timed_out(first, now)
    print(table.trouble or "done", flush=True)
"""


def test_processes_lose_nothing_of_each_other(path):
    """All of them change the records of one set at the same time, and there is just room for their addresses."""
    ips = one_set(RECORDS)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, path, *ips[at : at + 2]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for at in range(0, RECORDS, 2)
    ]
    try:
        assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * len(workers)
        table = Tcpto.open(path)
        for step in range(1, 6):
            now = NOW + step * GAP
            for worker in workers:
                worker.stdin.write(f"{now}\n")
                worker.stdin.flush()
            assert [worker.stdout.readline() for worker in workers] == ["done\n"] * len(workers)
            counts = {ip: count for ip, _, count in table.entries(now)}
            assert counts == dict.fromkeys(ips[::2], 1) | dict.fromkeys(ips[1::2], step)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def test_the_size_is_that_of_the_parts():
    assert len(HEAD) + SETS * RECORDS * RECORD == SIZE
    assert SETS * RECORDS == 4096
    assert tcpto.PATH == "queue/tcpto"
