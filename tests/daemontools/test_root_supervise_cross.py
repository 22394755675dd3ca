"""Our supervise under Debian's svc, svok and svstat, and theirs under ours: the same files, bytes, texts and exit codes.

Not compared: how long things take, but for the second between two starts.
"""

import os
import re
import signal
import struct
import time

import pytest
from tests.daemontools.supervise_house import move_in, there, until
from tests.root.testroot import QUAIL_ENVIRONMENT

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
SIDES = ("ours", "debian")
PAIRS = [(keeper, tools) for keeper in SIDES for tools in SIDES]
UP, DOWN, ONCE = ord("u"), ord("d"), 0


@pytest.fixture(scope="module")
def box(test_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    folder.chmod(0o755)
    with test_root.enter({str(folder): "/srv"}) as box:
        move_in(box, QUAIL_ENVIRONMENT)
        box.shared = folder
        yield box


@pytest.fixture
def street(box, request):
    name = re.sub(r"\W+", "_", request.node.name)
    folder = box.shared / name
    folder.mkdir()
    with there(folder, box, f"/srv/{name}") as street:
        yield street


def says(street, tools, name="s"):
    code, out, err = street.run(tools, "svstat", name)
    assert (code, err) == (0, "")
    return re.sub(r"\d+", "N", out.removeprefix(f"{name}: ")).removesuffix("\n")


@pytest.mark.parametrize(("keeper", "tools"), PAIRS)
def test_a_life(street, keeper, tools):
    """Every command that changes the standing; svstat's sentence and the bytes after each."""
    service = street.service("s")
    supervise = street.popen(keeper, "supervise", "s")
    service.told(1)

    def control(*options):
        assert street.run(tools, "svc", *options, "s") == (0, "", "")

    service.reaches(0, UP, up=True)
    assert street.run(tools, "svok", "s") == (0, "", "")
    assert says(street, tools) == "up (pid N) N seconds"
    control("-p")
    service.reaches(1, UP, up=True)
    assert says(street, tools) == "up (pid N) N seconds, paused"
    control("-c")
    service.reaches(0, UP, up=True)
    service.told(1, "SIGCONT")
    control("-pd")
    service.told(1, "SIGTERM")
    service.reaches(0, DOWN, up=False)
    assert says(street, tools) == "down N seconds, normally up"
    control("-p")
    control("-h")
    assert says(street, tools) == "down N seconds, normally up"
    control("-u")
    service.told(2)
    service.reaches(0, UP, up=True)
    control("-o")
    service.reaches(0, ONCE, up=True)
    assert says(street, tools) == "up (pid N) N seconds"
    control("-t")
    service.told(2, "SIGTERM")
    service.reaches(0, ONCE, up=False)
    assert says(street, tools) == "down N seconds, normally up"
    control("-o")
    service.told(3)
    service.reaches(0, ONCE, up=True)
    control("-u")
    service.reaches(0, UP, up=True)
    control("-k")
    service.told(4)
    assert supervise.poll() is None
    control("-x")
    control("-d")
    assert supervise.wait(60) == 0
    service.reaches(0, DOWN, up=False)
    assert street.run(tools, "svok", "s") == (100, "", "")
    assert says(street, tools) == "supervise not running"
    assert street.run(tools, "svc", "-u", "s") == (0, "", "svc: warning: unable to control s: supervise not running\n")
    assert supervise.stderr.read() == b""


@pytest.mark.parametrize(("keeper", "tools"), PAIRS)
def test_signals_and_pauses(street, keeper, tools):
    service = street.service("s")
    street.popen(keeper, "supervise", "s")
    service.told(1)
    for count, (option, name) in enumerate((("-h", "SIGHUP"), ("-a", "SIGALRM"), ("-i", "SIGINT"), ("-c", "SIGCONT"))):
        assert street.run(tools, "svc", option, "s") == (0, "", "")
        assert service.told(1, name)[1 + count] == name
    assert street.run(tools, "svc", "-t", "s") == (0, "", "")
    service.told(2)  # started again
    assert street.run(tools, "svc", "-dx", "s") == (0, "", "")
    service.dead()


@pytest.mark.parametrize(("keeper", "tools"), PAIRS)
def test_a_service_that_is_normally_down(street, keeper, tools):
    service = street.service("s", down=True)
    street.popen(keeper, "supervise", "s")
    service.lives()
    service.reaches(0, DOWN, up=False)
    assert says(street, tools) == "down N seconds"
    street.run(tools, "svc", "-u", "s")
    service.told(1)
    service.reaches(0, UP, up=True)
    assert says(street, tools) == "up (pid N) N seconds, normally down"
    street.run(tools, "svc", "-dx", "s")
    service.dead()


@pytest.mark.parametrize("keeper", SIDES)
def test_the_files(street, keeper):
    """Names, kinds, modes, and the layout of the status."""
    service = street.service("s")
    before = time.time()
    street.popen(keeper, "supervise", "s")
    service.told(1)
    data = service.reaches(0, UP, up=True)
    folder = service.folder / "supervise"
    assert folder.stat().st_mode == 0o40700
    modes = {path.name: path.stat().st_mode for path in folder.iterdir()}
    assert modes == {"control": 0o10600, "ok": 0o10600, "lock": 0o100600, "status": 0o100644}
    assert (folder / "lock").stat().st_size == 0
    seconds, nanoseconds = struct.unpack(">QI", data[:12])
    label = seconds - (1 << 62) - 10 + nanoseconds / 1e9
    assert before - 1 < label < time.time() + 1
    assert nanoseconds % 1000 == 500
    assert struct.unpack("<I", data[12:16]) == (service.pid(),)
    assert len(data) == 18


@pytest.mark.parametrize("keeper", SIDES)
def test_a_second_supervise(street, keeper):
    service = street.service("s")
    street.popen(keeper, "supervise", "s")
    service.lives()
    refused = (111, "", "supervise: fatal: unable to acquire s/supervise/lock: temporary failure\n")
    for other in SIDES:
        assert street.run(other, "supervise", "s") == refused


@pytest.mark.parametrize(("first", "second"), [("ours", "debian"), ("debian", "ours")])
def test_one_takes_over_from_the_other(street, first, second):
    """Killed, it leaves its service running; the next one has the same files, and starts a service of its own."""
    service = street.service("s")
    supervise = street.popen(first, "supervise", "s")
    service.told(1)
    supervise.send_signal(signal.SIGKILL)
    supervise.wait(60)
    service.dead()
    assert service.log()[-1].startswith("start ")  # not even told
    street.popen(second, "supervise", "s")
    service.told(2)
    service.reaches(0, UP, up=True)
    assert street.run(first, "svc", "-dx", "s") == (0, "", "")
    service.dead()


@pytest.mark.parametrize("keeper", SIDES)
def test_a_run_that_cannot_be_started(street, keeper):
    service = street.service("s")
    (service.folder / "run").unlink()
    supervise = street.popen(keeper, "supervise", "s")
    began = time.monotonic()
    for _ in range(3):
        assert supervise.stderr.readline() == b"supervise: fatal: unable to start s/run: file does not exist\n"
    assert time.monotonic() - began > 1.5  # once a second
    service.write("run", "not a program")
    texts = iter(supervise.stderr.readline, b"")
    until(lambda: next(texts) == b"supervise: fatal: unable to start s/run: exec format error\n", "the other text")
    (service.folder / "run").chmod(0o644)
    until(lambda: next(texts) == b"supervise: fatal: unable to start s/run: access denied\n", "the third text")


def prepare_folder_link(service):
    os.symlink("../elsewhere", service.folder / "supervise")


def prepare_loop(service):
    os.symlink("supervise", service.folder / "supervise")


def prepare_file(service):
    (service.folder / "supervise").touch()


def prepare_lock_folder(service):
    (service.folder / "supervise/lock").mkdir(parents=True)


def prepare_control_folder(service):
    (service.folder / "supervise/control").mkdir(parents=True)


def prepare_down_loop(service):
    os.symlink("down", service.folder / "down")


def prepare_nothing(service):
    (service.folder / "run").unlink()
    service.folder.rmdir()


STARTS = [prepare_loop, prepare_file, prepare_lock_folder, prepare_control_folder, prepare_down_loop, prepare_nothing]


@pytest.mark.parametrize("prepare", STARTS, ids=lambda prepare: prepare.__name__.removeprefix("prepare_"))
def test_what_stops_a_start(street, prepare):
    service = street.service("s")
    prepare(service)
    results = [street.run(side, "supervise", "s") for side in SIDES]
    assert results[0] == results[1]
    assert results[0][0] == 111
    assert results[0][2].startswith("supervise: fatal: unable to ")


@pytest.mark.parametrize("keeper", SIDES)
def test_a_folder_elsewhere(street, keeper):
    """Where supervise is a link, its target is made."""
    service = street.service("s")
    prepare_folder_link(service)
    street.popen(keeper, "supervise", "s")
    service.told(1)
    assert (street.folder / "elsewhere").stat().st_mode == 0o40700
    assert sorted(os.listdir(street.folder / "elsewhere")) == ["control", "lock", "ok", "status"]


@pytest.mark.parametrize("words", [(), ("a", "b"), ("--", "s"), ("missing",)], ids=str)
def test_calls_of_supervise(street, words):
    assert street.run("ours", "supervise", *words) == street.run("debian", "supervise", *words)


def odd_street(street):
    """Directories that are not supervised, each in a way of its own."""
    for name in ("plain", "empty", "dead", "noctl", "badstat"):
        (street.folder / name).mkdir()
    (street.folder / "file").touch()
    for name in ("empty", "dead", "badstat"):
        (street.folder / name / "supervise").mkdir()
    for name in ("dead", "badstat"):
        for fifo in ("ok", "control"):
            os.mkfifo(street.folder / name / "supervise" / fifo)
    (street.folder / "noctl" / "supervise").touch()
    os.symlink("loop", street.folder / "loop")
    return ["plain", "empty", "dead", "noctl", "badstat", "file", "loop", "missing", "-", "", "./plain/", "x" * 300]


CALLS = [
    ("svstat",), ("svstat", "-x"), ("svok",), ("svok", "plain", "dead"), ("svok", "--", "plain"), ("svc",), ("svc", "-u"),
    ("svc", "-q", "plain"), ("svc", "-uz", "plain"), ("svc", "-u", "-d", "plain", "-x"), ("svc", "-u", "--", "-d"),
    ("svc", "--z", "plain"), ("svc", "--", "plain"), ("svc", "-", "plain"), ("svc", "plain", "-u"),
]  # fmt: skip


def test_calls_of_the_tools(street):
    """The same words, bytes and exit codes, whatever the directory is."""
    names = odd_street(street)
    calls = [*CALLS, ("svstat", *names), ("svc", "-u", *names), *(("svok", name) for name in names)]
    for call in calls:
        assert street.run("ours", *call) == street.run("debian", *call), call


STATUSES = [
    b"", b"short", bytes(17), bytes(18), bytes(19), b"\xff" * 18,
    b"\x40\0\0\0\x90\0\0\0\0\0\0\0\0\0\0\0\0u", b"\x40\0\0\0\x90\0\0\0\0\0\0\0\x01\0\0\0\x05d",
    b"\x40\0\0\0\x90\0\0\0\0\0\0\0\xff\xff\xff\xff\0x", b"\x40\0\0\1\0\0\0\0\0\0\0\0\0\0\0\x80\1u",
]  # fmt: skip


@pytest.mark.parametrize("down", [False, True])
def test_every_status(street, down):
    """Whatever 18 bytes there are, both tell the same; only times of the past would differ by when each is asked."""
    service = street.service("s", down=down)
    (service.folder / "supervise").mkdir()
    os.mkfifo(service.folder / "supervise/ok")
    held = os.open(service.folder / "supervise/ok", os.O_RDONLY | os.O_NONBLOCK)
    try:
        for data in STATUSES:
            (service.folder / "supervise/status").write_bytes(data)
            told = [street.run(side, "svstat", "s") for side in SIDES]
            assert told[0] == told[1] or re.sub(r"\d+ sec", "", told[0][1]) == re.sub(r"\d+ sec", "", told[1][1]), data
        (service.folder / "supervise/status").unlink()
        assert street.run("ours", "svstat", "s") == street.run("debian", "svstat", "s")
    finally:
        os.close(held)


def test_somebody_else_may_not_look(street):
    """Nor tell: the same words for an account that is not the service's."""
    street.folder.chmod(0o755)
    service = street.service("s")
    street.popen("ours", "supervise", "s")
    service.told(1)
    for call in (("svstat", "s"), ("svok", "s"), ("svc", "-d", "s")):
        told = [street.run(side, *call, user=1000) for side in SIDES]
        assert told[0] == told[1], call
        assert re.search(r"unable to (open|control) s.*: access denied\n$", told[0][1] + told[0][2])
    assert service.log()[-1].startswith("start ")
