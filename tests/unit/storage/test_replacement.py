"""A file that takes another's place when it is whole."""

import os

import pytest

from quail.storage.durable import Replacement, replace_file


def test_the_start_is_written_last_and_readers_see_all_or_nothing(tmp_path):
    path, tmp = f"{tmp_path}/a", f"{tmp_path}/b"
    replace_file(path, b"old")
    new = Replacement(path, tmp)
    new.write(b"????")
    new.write(b" rest")
    new.write_start(b"head")
    assert (tmp_path / "a").read_bytes() == b"old"
    new.commit()
    new.close()
    assert (tmp_path / "a").read_bytes() == b"head rest"
    assert os.listdir(tmp_path) == ["a"]


def test_what_is_closed_without_a_commit_changes_nothing(tmp_path):
    replace_file(f"{tmp_path}/a", b"old")
    new = Replacement(f"{tmp_path}/a", f"{tmp_path}/b")
    new.write(b"new")
    new.close()
    new.close()
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("sizes", [[1, 2, 5], [3, 5]])
def test_short_writes_go_on(tmp_path, monkeypatch, sizes):
    from quail.storage.calls import SystemCalls

    class Short(SystemCalls):
        left = iter(sizes * 5)

        @staticmethod
        def pwritev(fd, buffers, at):
            return os.pwrite(fd, bytes(buffers[0])[: next(Short.left)], at)

    new = Replacement(f"{tmp_path}/a", f"{tmp_path}/b", calls=Short())
    new.write(b"12345678...")
    new.write_start(b"abcdefgh")
    new.commit()
    assert (tmp_path / "a").read_bytes() == b"abcdefgh..."


def test_a_temporary_name_that_is_another_name_of_the_file_is_given_up_first(tmp_path):
    """A crash in the middle of a rename can leave that; writing there would write the file in place."""
    (tmp_path / "a").write_bytes(b"old")
    os.link(tmp_path / "a", tmp_path / "b")
    new = Replacement(f"{tmp_path}/a", f"{tmp_path}/b")
    new.write(b"half")
    assert (tmp_path / "a").read_bytes() == b"old"
    new.close()
