"""How the test root's cache is kept (those tests make no root), and which oracles it holds."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.root import image


def whole(folder):
    return os.path.exists(folder + "/done")


def make(folder):
    assert os.listdir(folder) == []
    with open(folder + "/done", "w", encoding="utf-8"):
        pass


def test_made_once_and_kept(tmp_path):
    path = str(tmp_path / "cache" / "thing")
    made = []
    for _ in range(2):
        os.close(image.kept(path, lambda folder: (made.append(folder), make(folder)), whole))
    assert made == [path + ".making"]
    assert whole(path)


def test_a_broken_one_and_the_rest_of_an_interrupted_one_are_made_anew(tmp_path):
    path = str(tmp_path / "thing")
    os.makedirs(path + ".making")
    os.makedirs(path + "/half")
    os.close(image.kept(path, make, whole))
    assert os.listdir(path) == ["done"]
    assert not os.path.exists(path + ".making")


def test_a_failure_is_told_and_the_next_try_succeeds(tmp_path):
    path = str(tmp_path / "thing")

    def fail(_folder):
        raise image.RootUnavailableError("no network")

    with pytest.raises(image.RootUnavailableError, match="no network"):
        image.kept(path, fail, whole)
    os.close(image.kept(path, make, whole))
    assert whole(path)


def test_many_at_once_make_it_once(tmp_path):
    path = str(tmp_path / "thing")
    made = []

    def slow(folder):
        made.append(folder)
        make(folder)

    with ThreadPoolExecutor(8) as pool:
        locks = [*pool.map(lambda _: image.kept(path, slow, whole), range(8))]
    for lock in locks:
        os.close(lock)
    assert made == [path + ".making"]


def test_without_root_the_reason_is_plain(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert image.reason_against().startswith("needs uid 0")
    with pytest.raises(image.RootUnavailableError, match="needs uid 0"):
        image.Image()


def test_a_missing_tool_is_named(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    assert image.reason_against() == "needs the command apt-get"


def touch(folder, name):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8"):
        pass


@pytest.mark.parametrize("missing", [name for name in image.NEEDED if name.startswith("opt/oracles/")])
def test_a_root_without_an_oracle_is_not_whole(tmp_path, missing):
    for name in ["../made.json", *image.NEEDED]:
        touch(tmp_path / "root", name)
    assert image._root_is_whole(str(tmp_path))
    os.unlink(tmp_path / "root" / missing)
    assert not image._root_is_whole(str(tmp_path))


def test_every_oracle_is_needed():
    assert {name.split("/")[2] for name in image.NEEDED if name.startswith("opt/oracles/")} == {*image.ORACLES}


def test_oracles_lie_beside_and_find_their_libraries(test_root):
    with test_root.enter() as box:
        found = box.run(["find", "/opt/oracles", "-type", "f", "-path", "*/bin/*"]).stdout.split()
        assert {path.split("/")[3] for path in found} == {*image.ORACLES}
        # The scripts among them, and what needs no library at all, are no business of ldd's.
        libraries = box.run(["ldd", *found], check=False).stdout
        assert "libc.so.6 => /" in libraries
        assert "not found" not in libraries
        assert box.run(["dpkg-query", "--show", *image.ORACLES], check=False).stdout == ""


@pytest.mark.parametrize(
    ("program", "code", "answer"),
    [
        ("daemontools/usr/bin/setlock", 100, "setlock: usage: setlock [ -nNxX ] file program [ arg ... ]"),
        ("freecdb/usr/bin/cdbmake", 100, "usage: /opt/oracles/freecdb/usr/bin/cdbmake cdb cdb.tmp"),
        ("ucspi-tcp-ipv6/usr/bin/tcprules", 100, "tcprules: usage: tcprules rules.cdb rules.tmp"),
    ],
)
def test_oracles_run(test_root, program, code, answer):
    with test_root.enter() as box:
        done = box.run(["/opt/oracles/" + program], check=False)
        assert (done.returncode, done.stderr.strip()) == (code, answer)


def test_the_library_of_tinycdb_and_the_tools_for_networks_are_there(test_root):
    with test_root.enter() as box:
        box.run(["python3", "-c", "import ctypes; ctypes.CDLL('libcdb.so.1').cdb_make_start"])
        assert "lo:" in box.run(["ip", "link", "show"]).stdout
        assert box.run(["cdb", "-h"], check=False).stdout
        assert box.run(["tcprules"], check=False).returncode == 100
