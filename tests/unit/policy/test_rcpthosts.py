import os

import pytest

from quail.cdb.file import Follower
from quail.cdb.maker import Maker
from quail.errors import TemporaryError
from quail.policy.rcpthosts import RecipientHosts


def write_cdb(path, *hosts):
    maker = Maker()
    for host in hosts:
        maker.add(host, b"")
    with open(f"{path}.tmp", "wb") as file:
        file.write(maker.to_bytes())
    os.rename(f"{path}.tmp", path)


LISTED = {
    b"example.com": True,
    b"EXAMPLE.Com": True,
    b"a.example.com": False,
    b"example.com.": False,
    b"xexample.com": False,
    b"below.example": False,
    b"a.below.example": True,
    b"A.b.Below.example": True,
    b".below.example": True,
    b"abelow.example": False,
    b"": False,
    b".": False,
    b"[192.0.2.1]": False,
}


@pytest.mark.parametrize("host", LISTED, ids=repr)
def test_list_and_database_say_the_same(host, tmp_path):
    entries = (b"example.com", b".below.example")
    assert RecipientHosts(entries).accepts(host) is LISTED[host]
    assert RecipientHosts([entry.upper() for entry in entries]).accepts(host) is LISTED[host]
    write_cdb(tmp_path / "more.cdb", *entries)
    assert RecipientHosts((), Follower(str(tmp_path / "more.cdb"))).accepts(host) is LISTED[host]


def test_without_any_list_nobody_is_accepted(tmp_path):
    hosts = RecipientHosts((), Follower(str(tmp_path / "more.cdb")))
    assert not any(hosts.accepts(host) for host in (b"example.com", b"", b"localhost"))


def test_the_database_is_followed(tmp_path):
    path = tmp_path / "more.cdb"
    hosts = RecipientHosts((b"listed.example",), Follower(str(path)))
    assert not hosts.accepts(b"new.example")
    write_cdb(path, b"new.example")
    assert hosts.accepts(b"new.example")
    assert hosts.accepts(b"listed.example")
    write_cdb(path, b"newer.example")
    assert not hosts.accepts(b"new.example")
    path.unlink()
    assert not hosts.accepts(b"newer.example")


def test_a_damaged_database_is_temporary_and_only_for_those_not_listed(tmp_path):
    path = tmp_path / "more.cdb"
    path.write_bytes(b"damaged")
    hosts = RecipientHosts((b"listed.example",), Follower(str(path)))
    assert hosts.accepts(b"listed.example")
    with pytest.raises(TemporaryError, match=r"more\.cdb"):
        hosts.accepts(b"other.example")
