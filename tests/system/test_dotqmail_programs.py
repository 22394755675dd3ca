"""Programs that hang, fork, fill the disk's worth of pipe or kill; and what else a delivery may have to wait for."""

import contextlib
import fcntl
import os
import re
import signal
import threading

import pytest
from tests.system.delivery_home import wait_for_end
from tests.system.dotqmail_cases import MESSAGE, Case
from tests.system.dotqmail_house import ENVIRONMENT, House, Launcher, reports, task

CRASHED = (b"Z", b"qmail-local crashed.\n")


@pytest.fixture(scope="module")
def launcher():
    with contextlib.closing(Launcher()) as launcher:
        yield launcher


class Scene:
    """A house, and workers that end with the test."""

    def __init__(self, launcher, stack):
        self.house = stack.enter_context(contextlib.closing(House(Case("scene", {}), launcher)))
        self.stack = stack

    def worker(self, **how):
        return self.stack.enter_context(self.house.open_worker(**how))

    def dot_qmail(self, ext, content):
        with open(f"{self.house.home}/.qmail-{ext}", "wb") as file:
            file.write(content)

    def send(self, sock, tag, ext, message=MESSAGE):
        task(sock, tag, self.house.home, Case("task", {}, ext=ext, message=message))

    def deliver(self, content, **how):
        self.dot_qmail("x", content)
        sock = self.worker(**how)
        self.send(sock, 1, "x")
        return reports(sock, 1)[1]

    def fifo(self, name):
        os.mkfifo(f"{self.house.home}/{name}")
        return f"{self.house.home}/{name}"

    def read(self, name):
        return self.house.read(name)

    def hang(self, sock, tag, ext="hang"):
        """A delivery whose program waits until something is written to the FIFO that is returned."""
        fifo, started = self.fifo(f"go-{tag}"), self.fifo(f"started-{tag}")
        self.dot_qmail(f"{ext}{tag}", f"|echo $$ > started-{tag}; read word < go-{tag}; echo $word\n".encode())
        self.send(sock, tag, f"{ext}{tag}")
        return fifo, started


@pytest.fixture
def scene(launcher):
    with contextlib.ExitStack() as stack:
        yield Scene(launcher, stack)


def told(fifo):
    """What a program writes to a FIFO."""
    with open(fifo, encoding="ascii") as stream:
        return stream.read().strip()


def tell(fifo, word):
    with open(fifo, "w", encoding="ascii") as stream:
        stream.write(word + "\n")


def late(scene, seconds=1, line=1):
    text = (
        f"{scene.house.home}/.qmail-x line {line}: the program has not ended within {seconds} seconds and was stopped"
    )
    return f"{text} (control/programtimeout). (#4.3.0)\n".encode()


def test_a_program_that_hangs_is_stopped_with_all_its_group(scene):
    content = b"./M/\n|sleep 1000 & echo $! > child; echo $$ > shell; echo hm; wait\n./N/\n"
    assert scene.deliver(content, timeout=1) == (b"Z", b"hm\n" + late(scene, line=2))
    for name in ("child", "shell"):
        wait_for_end(int(scene.read(name)))
    assert len(scene.house.messages("M")) == 1
    assert scene.house.messages("N") == []


def test_a_program_that_does_not_hear_term_is_killed(scene):
    content = b"|trap '' TERM; echo $$ > shell; while :; do sleep 1000; done\n"
    assert scene.deliver(content, timeout=1, limits={"program.GRACE": 0.2}) == (b"Z", late(scene))
    wait_for_end(int(scene.read("shell")))


def test_a_program_that_stops_itself_hears_of_it(scene):
    content = b"|exec 2>&-; trap 'echo bye; exit' TERM; kill -STOP $$\n"
    assert scene.deliver(content, timeout=1) == (b"Z", b"bye\n" + late(scene))


def test_a_program_may_put_its_affairs_in_order(scene):
    content = b"|exec 2>&-; trap 'echo bye; exit 100' TERM; while :; do sleep 0.1; done\n"
    assert scene.deliver(content, timeout=1) == (b"Z", b"bye\n" + late(scene))


def test_without_a_limit_a_program_may_take_its_time(scene):
    sock = scene.worker(timeout=0)
    fifo, started = scene.hang(sock, 1)
    told(started)
    tell(fifo, "done")
    assert reports(sock, 1) == {1: (b"K", b"done\ndid 0+0+1\n")}


@pytest.mark.parametrize("by_program", [False, True])
def test_what_goes_on_in_the_background_is_not_waited_for(scene, by_program):
    content = b"|sleep 1000 & echo $! > child; echo hi\n"
    if by_program:
        scene.house.case = Case("background", content.decode())
        scene.dot_qmail("x", content)
        assert scene.house.program() == (0, b"hi\ndid 0+0+1\n")
    else:
        assert scene.deliver(content) == (b"K", b"hi\ndid 0+0+1\n")
    os.kill(int(scene.read("child")), signal.SIGKILL)


def test_a_program_that_writes_without_end_costs_no_memory(scene):
    fifo, started = scene.fifo("go"), scene.fifo("started")
    scene.dot_qmail(
        "x", b"|cut -d' ' -f4 /proc/$PPID/stat > started; head -c 100000000 /dev/zero | tr '\\0' x; read w < go\n"
    )
    sock = scene.worker()
    scene.send(sock, 1, "x")
    worker = told(started)
    tell(fifo, "on")  # it is read when all has been written
    letter, text = reports(sock, 1)[1]
    assert (letter, text) == (b"K", b"x" * 3001)
    with open(f"/proc/{worker}/status", encoding="ascii") as status:
        assert int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) < 100_000


def test_a_program_that_closes_everything(scene):
    assert scene.deliver(b"|exec 0<&- 1>&- 2>&-; echo no; exit 100\n") == (b"D", b"")


def test_what_a_program_says_ends_where_reports_end(scene):
    letter, text = scene.deliver(b"|head -c 2995 /dev/zero | tr '\\0' x; echo\n")
    assert (letter, text) == (b"K", b"x" * 2995 + b"\ndid 0")


def test_the_environment_to_the_last_variable(scene):
    assert scene.deliver(b"|cat /proc/$$/environ > out\n")[0] == b"K"
    found = dict(line.split(b"=", 1) for line in scene.read("out").split(b"\0")[:-1])
    assert re.fullmatch(rb"From s@x\.y \w{3} \w{3} \d\d \d\d:\d\d:\d\d \d{4}\n", found.pop(b"UFLINE"))
    assert found == {
        b"PATH": ENVIRONMENT["PATH"].encode(),
        b"TZ": ENVIRONMENT["TZ"].encode(),
        b"SENDER": b"s@x.y",
        b"NEWSENDER": b"s@x.y",
        b"RECIPIENT": b"u-x@ex.org",
        b"USER": b"u",
        b"HOME": scene.house.home.encode(),
        b"HOST": b"ex.org",
        b"HOST2": b"ex",
        b"HOST3": b"ex",
        b"HOST4": b"ex",
        b"LOCAL": b"u-x",
        b"EXT": b"x",
        b"EXT2": b"",
        b"EXT3": b"",
        b"EXT4": b"",
        b"DTLINE": b"Delivered-To: u-x@ex.org\n",
        b"RPLINE": b"Return-Path: <s@x.y>\n",
    }


@pytest.mark.parametrize("large", [False, True])
def test_the_message_is_only_to_be_read(scene, large):
    """Its descriptor can't be written to; where it is in memory, not even its owner can open it otherwise."""
    body = "A: b\n\n" + "x" * (200_000 if large else 10) + "\n"
    scene.dot_qmail("x", b"|grep flags /proc/$$/fdinfo/0 > flags; (echo no >> /dev/stdin) 2> trouble; cat > body\n")
    sock = scene.worker()
    scene.send(sock, 1, "x", body)
    assert reports(sock, 1)[1][0] == b"K"
    assert int(scene.read("flags").split()[1], 8) & os.O_ACCMODE == os.O_RDONLY
    if not large:  # a large one is the queue's file, which in this test is our own
        assert scene.read("body") == body.encode()
        assert scene.read("trouble") != b""


def test_two_deliveries_of_one_file_do_not_share_a_position(scene):
    body = "A: b\n\n" + "x" * 200_000 + "\n"
    scene.dot_qmail("x", b"|head -c 7; echo; wc -c\n")
    sock = scene.worker()
    for tag in range(8):
        scene.send(sock, tag, "x", body)
    assert {text for _, text in reports(sock, 8).values()} == {b"A: b\n\nx\n200000\ndid 0+0+1\n"}


def test_a_child_that_is_killed_costs_only_its_own_delivery(scene):
    scene.dot_qmail("x", b"|kill -9 $PPID\n")
    scene.dot_qmail("y", b"|true\n./M/\n")
    sock = scene.worker()
    for tag, ext in enumerate("xyx"):
        scene.send(sock, tag, ext)
    assert reports(sock, 3) == {0: CRASHED, 1: (b"K", b"did 1+0+1\n"), 2: CRASHED}
    scene.send(sock, 9, "y")
    assert reports(sock, 1) == {9: (b"K", b"did 1+0+1\n")}


def test_others_do_not_wait_for_a_program(scene):
    scene.dot_qmail("plain", b"./M/\n")
    scene.dot_qmail("other", b"|echo hi\n")
    sock = scene.worker()
    fifo, started = scene.hang(sock, 1)
    told(started)
    for tag, ext in ((2, "plain"), (3, "other"), (4, "plain")):
        scene.send(sock, tag, ext)
    assert reports(sock, 3) == {2: (b"K", b"did 1+0+0\n"), 3: (b"K", b"hi\ndid 0+0+1\n"), 4: (b"K", b"did 1+0+0\n")}
    tell(fifo, "done")
    assert reports(sock, 1) == {1: (b"K", b"done\ndid 0+0+1\n")}


class Burst:
    """Stands for a worker's socket, for what it is to get at once."""

    def __init__(self):
        self.data = b""

    def sendall(self, data):
        self.data += data


def test_what_came_beyond_a_batch_does_not_wait_for_a_program(scene):
    scene.dot_qmail("plain", b"./M/\n")
    sock = scene.worker(limits={"worker.BATCH": 2})
    burst = Burst()
    fifo, started = scene.hang(burst, 1)
    for tag in range(2, 7):
        scene.send(burst, tag, "plain")
    sock.sendall(burst.data)
    told(started)
    assert reports(sock, 5) == dict.fromkeys(range(2, 7), (b"K", b"did 1+0+0\n"))
    tell(fifo, "done")
    assert reports(sock, 1) == {1: (b"K", b"done\ndid 0+0+1\n")}


def test_so_many_at_a_time_and_the_others_in_turn(scene):
    scene.dot_qmail("next", b"|cat > next; echo next\n")
    scene.dot_qmail("plain", b"./M/\n")
    sock = scene.worker(limits={"children.MOST": 2})
    running = [scene.hang(sock, tag) for tag in (1, 2)]
    for _, started in running:
        told(started)
    scene.send(sock, 3, "next")
    scene.send(sock, 4, "plain")
    assert reports(sock, 1) == {4: (b"K", b"did 1+0+0\n")}
    assert not os.path.exists(f"{scene.house.home}/next")
    tell(running[0][0], "done")
    assert reports(sock, 2) == {1: (b"K", b"done\ndid 0+0+1\n"), 3: (b"K", b"next\ndid 0+0+1\n")}
    tell(running[1][0], "done")
    assert reports(sock, 1)[2][0] == b"K"


def test_who_waits_too_long_for_a_turn_is_put_off(scene):
    scene.dot_qmail("next", b"|cat > next\n")
    sock = scene.worker(limits={"children.MOST": 1, "children.PATIENCE": 0.5})
    fifo, started = scene.hang(sock, 1)
    told(started)
    scene.send(sock, 2, "next")
    text = b"1 other deliveries of this user have not ended within 0 seconds: tried again later. (#4.3.2)\n"
    assert reports(sock, 1) == {2: (b"Z", text)}
    tell(fifo, "done")
    assert reports(sock, 1)[1][0] == b"K"
    assert not os.path.exists(f"{scene.house.home}/next")


def test_programs_end_when_lspawn_hangs_up(scene):
    scene.dot_qmail(
        "x", b"|exec 2>&-; trap 'echo term > out; exit' TERM; echo $$ > started; while :; do sleep 0.1; done\n"
    )
    started = scene.fifo("started")
    sock = scene.worker()
    scene.send(sock, 1, "x")
    pid = int(told(started))
    sock.close()
    wait_for_end(pid)
    assert scene.read("out") == b"term\n"


def test_programs_end_when_the_worker_is_killed(scene):
    worker_of = b"$(cut -d' ' -f4 /proc/$PPID/stat)"
    sock = scene.worker()
    pids = []
    for tag in range(3):  # the later ones must not keep the pipes of the earlier ones open
        started = scene.fifo(f"started{tag}")
        scene.dot_qmail(f"x{tag}", b"|echo $$ %b > started%d; exec sleep 1000\n" % (worker_of, tag))
        scene.send(sock, tag, f"x{tag}")
        pid, worker = map(int, told(started).split())
        pids.append(pid)
    os.kill(worker, signal.SIGKILL)
    for pid in pids:
        wait_for_end(pid)


def test_signals_for_the_whole_group_do_not_end_a_delivery(scene):
    sock = scene.worker()
    scene.dot_qmail("x", b"|for s in TERM INT HUP; do kill -$s $PPID; done; echo $?\n")
    scene.send(sock, 1, "x")
    assert reports(sock, 1) == {1: (b"K", b"0\ndid 0+0+1\n")}


def test_causes_come_to_the_log(scene):
    scene.dot_qmail("x", b"|true\n./None/\n")
    sock = scene.worker()
    log = []
    scene.send(sock, 1, "x")
    assert reports(sock, 1, log) == {1: (b"Z", b"Unable to chdir to maildir. (#4.2.1)\n")}
    scene.dot_qmail("y", b"|true\n")
    scene.send(sock, 2, "y")
    reports(sock, 1, log)
    assert any(b"None: Unable to chdir to maildir. (#4.2.1) [Errno 2]" in line for line in log)


def test_qmailqueue_takes_what_is_forwarded(scene):
    program = f"{scene.house.root}/filter"
    with open(program, "w", encoding="ascii") as script:
        script.write(
            f"#!/bin/sh\ncat > {scene.house.root}/got\ntr '\\0' . <&1 > {scene.house.root}/envelope\nexit 31\n"
        )
    os.chmod(program, 0o755)
    scene.dot_qmail("x", b"&a@b\n")
    sock = scene.worker(environment=ENVIRONMENT | {"QMAILQUEUE": program})
    scene.send(sock, 1, "x")
    text = b"Unable to forward message: mail server permanently rejected message (#5.3.0).\n"
    assert reports(sock, 1) == {1: (b"D", text)}
    assert scene.read("../envelope") == b"Fs@x.y.Ta@b.."
    assert scene.read("../got") == b"Delivered-To: u-x@ex.org\n" + MESSAGE.encode()
    assert scene.house.queue.taken == []


# Mbox files of others


def test_a_locked_mbox_holds_up_nobody_else(scene):
    scene.dot_qmail("box", b"./box\n")
    scene.dot_qmail("plain", b"./M/\n")
    sock = scene.worker()
    with open(f"{scene.house.home}/box", "wb") as box:
        fcntl.flock(box, fcntl.LOCK_EX)
        scene.send(sock, 1, "box")
        scene.send(sock, 2, "plain")
        assert reports(sock, 1) == {2: (b"K", b"did 1+0+0\n")}
        assert scene.read("box") == b""
    assert reports(sock, 1) == {1: (b"K", b"did 1+0+0\n")}
    assert scene.read("box").endswith(MESSAGE.encode() + b"\n")


def test_many_deliveries_to_one_mbox(scene):
    scene.dot_qmail("box", b"./box\n")
    first, second = scene.worker(), scene.worker()
    body = "".join(f"line {number}\n" for number in range(2000))
    for tag in range(30):
        scene.send(first if tag % 2 else second, tag, "box", f"N: {tag}\n\n{body}")
    assert {letter for sock in (first, second) for letter, _ in reports(sock, 15).values()} == {b"K"}
    messages = re.split(rb"^From s@x\.y .*\n", scene.read("box"), flags=re.MULTILINE)[1:]
    head = b"Return-Path: <s@x.y>\nDelivered-To: u-box@ex.org\n"
    assert sorted(messages) == sorted(head + b"N: %d\n\n" % tag + body.encode() + b"\n" for tag in range(30))


def test_a_fifo_for_an_mbox_does_not_hang(scene):
    scene.fifo("box")
    text = b"Unable to open ./box: device not configured. (#4.2.1)\n"
    assert scene.deliver(b"./box\n") == (b"Z", text)


def test_a_fifo_that_nobody_empties_does_not_hang(scene):
    reader = os.open(scene.fifo("box"), os.O_RDONLY | os.O_NONBLOCK)
    scene.dot_qmail("x", b"./box\n")
    sock = scene.worker()
    scene.send(sock, 1, "x", "\n" + "x" * 100_000)
    assert reports(sock, 1) == {1: (b"Z", b"Unable to write ./box: temporary failure. (#4.3.0)\n")}
    os.close(reader)


def test_a_fifo_with_a_reader_gets_the_message(scene):
    box = scene.fifo("box")
    got = []
    thread = threading.Thread(target=lambda: got.append(told(box)))
    thread.start()
    while scene.deliver(b"./box\n")[0] == b"Z":
        pass  # the reader is not there yet
    thread.join()
    assert got[0].endswith("Subject: hello\n\nbody")
