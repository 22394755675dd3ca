"""How the test root's cache is kept; these tests make no root."""

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
