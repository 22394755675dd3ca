"""svscan of either side over a directory of services: what it starts, leaves alone, starts again and forgets; log pipes.

Each scan is five seconds after the other, so these tests wait for a few.
"""

import os
import re
import signal
import subprocess

import pytest
from tests.daemontools.supervise_house import SERVICE, move_in, there, until
from tests.root.testroot import QUAIL_ENVIRONMENT

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
SIDES = ("ours", "debian")
SPEAKER = '#!/bin/sh\necho "$0 speaks" && echo aside >&2 && exec {python} -IS ./serve\n'
LOGGER = "#!/bin/sh\nexec cat >> written\n"


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


class Scan:
    """A running svscan; the lines of its standard error, which its children share."""

    def __init__(self, street, side):
        self.process = street.popen(side, "svscan", "tree", stdout=subprocess.DEVNULL)

    def line(self, wanted):
        """Read on until this line has come."""
        seen = []
        for line in iter(self.process.stderr.readline, b""):
            seen.append(line.decode().rstrip("\n"))
            if seen[-1] == wanted:
                return seen
        raise AssertionError(f"ended without {wanted!r}: {seen}")


def supervisors(service):
    """Pids, as this machine knows them, of processes that hold the lock of a service."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if any(link.endswith(f"/{service.street.folder.name}/{service.name}/supervise/lock") for link in links):
            found.append(int(pid))
    return found


@pytest.mark.parametrize("side", SIDES)
def test_what_is_a_service(street, side):
    """Folders, also by links, once each; nothing else, nothing hidden."""
    service, linked = street.service("tree/a"), street.service("b")
    hidden = street.service("tree/.hidden")
    (street.folder / "tree/file").touch()
    os.symlink("../b", street.folder / "tree/b")
    os.symlink("../b", street.folder / "tree/again")
    os.symlink("nowhere", street.folder / "tree/dangling")
    scan = Scan(street, side)
    service.told(1)
    linked.told(1)
    scan.line("svscan: warning: unable to stat dangling: file does not exist")
    scan.line("svscan: warning: unable to stat dangling: file does not exist")  # the next scan
    assert (len(service.log()), len(linked.log()), hidden.log()) == (1, 1, [])
    assert not (hidden.folder / "supervise").exists()
    assert {path.name for path in (street.folder / "tree").iterdir()} == {
        "a", "b", "again", ".hidden", "file", "dangling",
    }  # fmt: skip


@pytest.mark.parametrize("side", SIDES)
def test_logs_and_deaths(street, side):
    """What the service writes reaches its log, whichever of the four processes is killed meanwhile."""
    service = street.service("tree/s", SPEAKER)
    service.write("serve", SERVICE)
    log = street.service("tree/s/log", LOGGER)
    written = log.folder / "written"

    def spoken(count):
        until(lambda: written.exists() and written.read_text() == "./run speaks\n" * count, written.read_text)

    scan = Scan(street, side)
    service.told(1)
    scan.line("aside")
    spoken(1)
    assert street.run("ours", "svc", "-t", "tree/s") == (0, "", "")
    spoken(2)
    street.run("ours", "svc", "-k", "tree/s/log")  # the pipe stays
    street.run("ours", "svc", "-t", "tree/s")
    spoken(3)
    for killed in (service, log):
        (supervise,) = supervisors(killed)
        os.kill(supervise, signal.SIGKILL)
        killed.dead()
        killed.lives()  # by the next scan
    # The services of the killed ones still run: two read the one pipe, two write to it.
    service.told(4)
    spoken(4)
    scan.process.send_signal(signal.SIGKILL)
    street.run("ours", "svc", "-t", "tree/s")
    spoken(5)
    assert len(supervisors(service)) == len(supervisors(log)) == 1


@pytest.mark.parametrize("side", SIDES)
def test_a_service_that_moves_and_one_that_goes(street, side):
    service, leaving = street.service("tree/s"), street.service("tree/leaving")
    scan = Scan(street, side)
    service.told(1)
    leaving.told(1)
    (street.folder / "tree/s").rename(street.folder / "tree/t")
    (street.folder / "tree/leaving").rename(street.folder / "gone")
    service.folder, leaving.folder = street.folder / "tree/t", street.folder / "gone"
    os.symlink("nowhere", street.folder / "tree/z")
    for _ in range(2):
        scan.line("svscan: warning: unable to stat z: file does not exist")
    assert len(service.log()) == len(leaving.log()) == 1  # both go on
    street.run("ours", "svc", "-dx", "gone")
    street.run("ours", "svc", "-dx", "tree/t")
    leaving.dead()
    service.told(2)  # under its new name: what svscan finds is to run
    for _ in range(2):
        scan.line("svscan: warning: unable to stat z: file does not exist")
    assert len(leaving.log()) == 2  # start and TERM: it was not started again
    (street.folder / "gone").rename(street.folder / "tree/back")
    leaving.folder = street.folder / "tree/back"
    leaving.told(2)


@pytest.mark.parametrize("side", SIDES)
def test_what_can_not_run(street, side):
    """A log that is no folder, and one that can't be looked at."""
    street.service("tree/flat")
    (street.folder / "tree/flat/log").touch()
    street.service("tree/loop")
    os.symlink("log", street.folder / "tree/loop/log")
    scan = Scan(street, side)
    scan.line("supervise: fatal: unable to chdir to log: not a directory")
    scan.line("supervise: fatal: unable to chdir to log: not a directory")
    assert not (street.folder / "tree/loop/supervise").exists()


@pytest.mark.parametrize("side", SIDES)
def test_without_a_supervise(street, side, box):
    street.service("tree/s")
    street.service("tree/s/log")
    words = ["sh", "-c", f"PATH=/nonexistent; exec {street.sides[side]}/svscan tree"]
    scan = box.popen(words, cwd=f"/srv/{street.folder.name}", stderr=subprocess.PIPE)
    lines = {scan.stderr.readline() for _ in range(4)}
    assert lines == {
        b"svscan: warning: unable to start supervise s: file does not exist\n",
        b"svscan: warning: unable to start supervise s/log: file does not exist\n",
    }
    scan.send_signal(signal.SIGKILL)


def test_a_folder_that_is_not_there(street):
    for words in (("missing",), ("missing", "more")):
        told = [street.run(side, "svscan", *words) for side in SIDES]
        assert told[0] == told[1] == (111, "", "svscan: fatal: unable to chdir to missing: file does not exist\n")


@pytest.mark.parametrize(("scanner", "keeper"), [("ours", "debian"), ("debian", "ours")])
def test_each_starts_the_other_sides_supervise(street, scanner, keeper, box):
    """Whose supervise it is, PATH says."""
    service = street.service("tree/s")
    path = f"{street.sides[keeper]}:/usr/bin:/bin"
    program = f"{street.sides[scanner]}/svscan"
    scan = box.popen([program, "tree"], cwd=f"/srv/{street.folder.name}", env={"PATH": path}, stderr=subprocess.DEVNULL)
    service.told(1)
    (pid,) = supervisors(service)
    assert os.path.basename(os.readlink(f"/proc/{pid}/exe")).startswith("python" if keeper == "ours" else "supervise")
    scan.send_signal(signal.SIGKILL)
    street.run("ours", "svc", "-dx", "tree/s")
    service.dead()
