"""Our supervise and svscan as processes of this machine: what a service gets, and what supervise lives through.

What both sides have in common is compared in test_root_supervise_cross.py. Not tested here: a machine out of memory, in which
a fork fails (tests/unit/supervise).
"""

import errno
import fcntl
import os
import signal
import subprocess
import time

import pytest
from tests import signals
from tests.daemontools.supervise_house import here, until
from tests.lacking import without

pytestmark = pytest.mark.timeout(240)
UP, DOWN = ord("u"), ord("d")
TELLER = """#!/bin/sh
{{ env; umask; readlink /proc/self/cwd; grep -E '^Sig(Blk|Ign)|^PPid' /proc/self/status; ls /proc/$$/fd; echo "$0 $#"; }} > told
echo start $$ >> diary
exec sleep 1000
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@pytest.fixture
def street(programs, tmp_path):
    folder = tmp_path / "street"
    folder.mkdir()
    with here(folder, programs) as street:
        yield street


def svc(street, *words):
    assert street.run("ours", "svc", *words) == (0, "", "")


class TestWhatAServiceGets:
    @pytest.fixture(params=["supervise", "svscan"])
    def told(self, request, street):
        """Alone from a shell, and forked by svscan without exec."""
        service = street.service("tree/s", TELLER)
        read, end = os.pipe()
        write = fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 100)
        os.close(end)
        try:
            words = ("supervise", "tree/s") if request.param == "supervise" else ("svscan", "tree")
            street.popen("ours", *words, pass_fds=(write,))
            service.told(1)
        finally:
            os.close(read)
            os.close(write)
        return (service.folder / "told").read_text().splitlines(), write, service

    def test_it(self, told, street):
        lines, fd, service = told
        environment = {line for line in lines if "=" in line and not line.startswith(("PWD=", "_="))}
        programs = street.sides["ours"]
        assert environment == {f"PATH={programs}:/usr/bin:/bin"}
        assert str(service.folder) in lines
        assert "SigBlk:\t0000000000000000" in lines
        (ignored,) = (signals.of_mask(line.split()[1]) for line in lines if line.startswith("SigIgn:"))
        assert not ignored  # the interpreter ignores two
        assert lines[-1] == "./run 0"
        shells = set(range(10, 20))
        assert {int(line) for line in lines if line.isdigit() and len(line) < 4} - shells == {0, 1, 2, fd}


def test_supervise_makes_its_files_in_the_old_order(street):
    """Who finds one of them may rely on those before it."""
    street.service("s", down=True)
    trace = street.folder / "trace"
    words = ["strace", "-f", "-e", "trace=openat,mknod,mknodat,mkdir,rename,flock", "-o", str(trace), "supervise", "s"]
    path = f"{street.sides['ours']}:{os.environ['PATH']}"
    try:
        process = subprocess.Popen(words, cwd=street.folder, env={"PATH": path})
    except FileNotFoundError:
        without("strace")
    street.started(process)
    until(lambda: 'openat(AT_FDCWD, "supervise/ok"' in trace.read_text() if trace.exists() else False, "the trace")
    calls = [line for line in trace.read_text().splitlines() if '"supervise' in line or "flock" in line]
    wanted = [
        'mkdir("supervise', 'openat(AT_FDCWD, "supervise/lock', "flock(", 'mknod[at]*(.*"supervise/control',
        'openat(AT_FDCWD, "supervise/control", O_RDONLY', 'openat(AT_FDCWD, "supervise/control", O_WRONLY',
        'openat(AT_FDCWD, "supervise/status.new', 'rename("supervise/status.new", "supervise/status")',
        "mknod", 'openat(AT_FDCWD, "supervise/ok", O_RDONLY',
    ]  # fmt: skip
    assert len(calls) == len(wanted)
    for call, want in zip(calls, wanted, strict=True):
        assert want.partition("[")[0] in call, calls


def test_bad_bytes_and_a_flood(street):
    """A writer who never ends is heard, and so are the others; bytes that mean nothing do nothing."""
    service = street.service("s")
    supervise = street.popen("ours", "supervise", "s")
    service.told(1)
    control = os.open(service.folder / "supervise/control", os.O_WRONLY)
    try:
        os.write(control, bytes(set(range(256)) - set(b"udopchaitkx")) * 100)
        os.write(control, b"pc" * 50_000)
        assert service.reaches(0, UP, up=True)
        svc(street, "-h", "s")
        service.told(1, "SIGHUP")
        assert [line for line in service.log() if line not in ("SIGCONT", "SIGHUP")] == [f"start {service.pid()}"]
    finally:
        os.close(control)
    os.kill(supervise.pid, signal.SIGCHLD)
    svc(street, "-dx", "s")
    assert supervise.wait(60) == 0


def test_starts_are_paced(street):
    """However often it is told, and however soon the service ends: one start a second."""
    service = street.service("s", "#!/bin/sh\necho start >> diary\n")
    street.popen("ours", "supervise", "s")
    service.told(1)
    begin = time.monotonic()
    while time.monotonic() < begin + 1.5:
        svc(street, "-ou", "s")
    starts = sum(line.startswith("start") for line in service.log())
    assert 2 <= starts <= time.monotonic() - begin + 2


def test_a_directory_that_vanishes(street):
    """Its service goes on; when that ends, another is tried in vain, until somebody makes supervise go."""
    service = street.service("s")
    supervise = street.popen("ours", "supervise", "s")
    service.told(1)
    control = os.open(service.folder / "supervise/control", os.O_WRONLY)
    try:
        for path in [*(service.folder / "supervise").iterdir(), service.folder / "run", service.folder / "diary"]:
            path.unlink()
        (service.folder / "supervise").rmdir()
        service.folder.rmdir()
        os.write(control, b"t")
        texts = {supervise.stderr.readline() for _ in range(4)}
        assert texts == {
            b"supervise: warning: unable to open s/supervise/status.new: file does not exist\n",
            b"supervise: fatal: unable to start s/run: file does not exist\n",
        }
        os.write(control, b"dx")
        assert supervise.wait(60) == 0
    finally:
        os.close(control)


def test_a_status_that_cannot_be_written(street):
    """A warning for each change, and the service runs; when it can be written again it is true again."""
    service = street.service("s")
    blocked = service.folder / "supervise/status.new"
    blocked.mkdir(parents=True)
    supervise = street.popen("ours", "supervise", "s")
    service.told(1)
    assert supervise.stderr.readline() == b"supervise: warning: unable to open s/supervise/status.new: is a directory\n"
    assert not (service.folder / "supervise/status").exists()
    blocked.rmdir()
    svc(street, "-h", "s")
    service.reaches(0, UP, up=True)


def test_a_fifo_in_the_place_of_the_new_status(street):
    """Opening it must not wait for ever."""
    service = street.service("s")
    (service.folder / "supervise").mkdir()
    os.mkfifo(service.folder / "supervise/status.new")
    supervise = street.popen("ours", "supervise", "s")
    service.told(1)
    assert b"unable to open s/supervise/status.new: device not configured" in supervise.stderr.readline()


def test_a_file_in_the_place_of_control(street):
    service = street.service("s")
    service.write("supervise/control", "")
    told = street.run("ours", "supervise", "s")
    assert told == (111, "", "supervise: fatal: unable to read s/supervise/control: not a FIFO\n")


def test_a_log_that_is_gone_does_not_end_it(street):
    """Nobody reads its standard error any more."""
    service = street.service("s")
    (service.folder / "run").unlink()
    supervise = street.popen("ours", "supervise", "s")
    supervise.stderr.readline()
    supervise.stderr.close()
    service.write("run", "#!/bin/sh\necho start $$ >> diary\n")
    service.told(2)
    svc(street, "-dx", "s")
    assert supervise.wait(60) == 0


def test_its_signals_are_those_of_any_program(street):
    service = street.service("s")
    supervise = street.popen("ours", "supervise", "s")
    service.told(1)
    supervise.terminate()
    assert supervise.wait(60) == -signal.SIGTERM
    service.dead()
    assert service.log() == [f"start {service.pid()}"]  # which goes on


def test_the_clock_goes_back(street):
    """The time that svstat tells is never negative."""
    service = street.service("s")
    street.popen("ours", "supervise", "s")
    service.told(1)
    data = service.reaches(0, UP, up=True)
    later = (int.from_bytes(data[:8], "big") + 3600).to_bytes(8, "big") + data[8:]
    (service.folder / "supervise/status").write_bytes(later)
    code, out, _ = street.run("ours", "svstat", "s")
    assert (code, out) == (0, f"s: up (pid {service.pid()}) 0 seconds\n")


def test_names_of_any_bytes(street):
    service = street.service("tree/s")
    folder = os.fsencode(street.folder) + b"/tree/\xff name"
    try:
        os.rename(os.fsencode(service.folder), folder)
    except OSError as error:
        if error.errno == errno.EILSEQ:
            without("a file system whose names may have any bytes")
        raise
    street.popen("ours", "svscan", "tree")
    service.folder = street.folder / os.fsdecode(b"tree/\xff name")
    service.told(1)
    process = street.popen("ours", "svstat", b"tree/\xff name", stdout=subprocess.PIPE)
    assert process.communicate()[0].startswith(b"tree/\xff name: up (pid ")


def test_many_services_of_one_svscan(street):
    """Fifty, half of them with logs: none is without its supervise, and each is small."""
    services = [
        street.service(f"tree/s{number}", "#!/bin/sh\necho start $$ >> diary\nexec sleep 1000\n")
        for number in range(50)
    ]
    for service in services[::2]:
        service.write("log/run", "#!/bin/sh\nexec cat\n")
    svscan = street.popen("ours", "svscan", "tree")
    for service in services:
        service.told(1)
        service.lives()
    until((services[48].folder / "log/supervise/status").exists, "the last log")
    with open(f"/proc/{svscan.pid}/task/{svscan.pid}/children", encoding="ascii") as file:
        pids = file.read().split()
    assert len(pids) == 75
    sizes, shown = [], set()
    for pid in pids:
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            assert file.read() == "supervise\n"
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            shown.add(file.read().rstrip(b"\0").replace(b"\0", b" "))
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            sizes.append(next(int(line.split()[1]) for line in file if line.startswith("Pss:")))
        held = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        assert len(held) <= 3 + 6, held  # lock, both ends of control, ok, and the two of its own pipe
    assert shown == {b"supervise log", *(b"supervise s%d" % number for number in range(50))}
    assert sorted(sizes)[len(sizes) // 2] < 2048  # KiB
