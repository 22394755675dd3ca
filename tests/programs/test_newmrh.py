"""qmail-newmrh as a process."""

import pytest
from launch import launch

from quail.cdb.reader import Reader


@pytest.fixture
def home(tmp_path):
    (tmp_path / "control").mkdir()
    return tmp_path


def newmrh(home):
    done = launch("qmail-newmrh", env={"QMAILHOME": str(home)})
    return done.returncode, done.stdout, done.stderr


def test_compiles(home):
    text = b"Example.ORG \t\n\n# no\n.Sub.example.net\n  \n leading\nlast"
    (home / "control/morercpthosts").write_bytes(text)
    assert newmrh(home) == (0, b"", b"")
    records = [(b"example.org", b""), (b".sub.example.net", b""), (b" leading", b""), (b"last", b"")]
    assert list(Reader((home / "control/morercpthosts.cdb").read_bytes()).items()) == records
    assert sorted(path.name for path in (home / "control").iterdir()) == ["morercpthosts", "morercpthosts.cdb"]
    assert (home / "control/morercpthosts.cdb").stat().st_mode & 0o777 == 0o644


def test_without_the_text_the_old_cdb_stays(home):
    (home / "control/morercpthosts.cdb").write_bytes(b"old")
    text = b"qmail-newmrh: fatal: unable to read control/morercpthosts: file does not exist\n"
    assert newmrh(home) == (111, b"", text)
    assert (home / "control/morercpthosts.cdb").read_bytes() == b"old"


def test_without_a_home(tmp_path):
    text = f"qmail-newmrh: fatal: unable to chdir to {tmp_path}/none: file does not exist\n".encode()
    assert newmrh(tmp_path / "none") == (111, b"", text)


def test_where_it_cannot_write(home):
    (home / "control/morercpthosts").write_bytes(b"a.example\n")
    (home / "control/morercpthosts.tmp").mkdir()
    text = b"qmail-newmrh: fatal: unable to create control/morercpthosts.tmp: is a directory\n"
    assert newmrh(home) == (111, b"", text)


def test_where_it_cannot_move(home):
    (home / "control/morercpthosts").write_bytes(b"a.example\n")
    (home / "control/morercpthosts.cdb").mkdir()
    words = b"unable to move control/morercpthosts.tmp to control/morercpthosts.cdb: is a directory"
    assert newmrh(home) == (111, b"", b"qmail-newmrh: fatal: " + words + b"\n")


def test_a_full_disk(home):
    (home / "control/morercpthosts").write_bytes(b"a.example\n")
    (home / "control/morercpthosts.cdb").write_bytes(b"old")
    (home / "control/morercpthosts.tmp").symlink_to("/dev/full")
    text = b"qmail-newmrh: fatal: unable to write to control/morercpthosts.tmp: out of disk space\n"
    assert newmrh(home) == (111, b"", text)
    assert (home / "control/morercpthosts.cdb").read_bytes() == b"old"


def test_a_text_that_cannot_be_read(home):
    (home / "control/morercpthosts").mkdir()
    text = b"qmail-newmrh: fatal: unable to read control/morercpthosts: is a directory\n"
    assert newmrh(home) == (111, b"", text)


def test_an_empty_list_and_arguments_that_do_not_count(home):
    (home / "control/morercpthosts").write_bytes(b"")
    done = launch("qmail-newmrh", "ignored", env={"QMAILHOME": str(home)})
    assert (done.returncode, done.stderr) == (0, b"")
    assert list(Reader((home / "control/morercpthosts.cdb").read_bytes()).items()) == []
