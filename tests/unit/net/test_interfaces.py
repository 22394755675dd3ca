import socket

import pytest

from quail.errors import TemporaryError
from quail.net import interfaces
from quail.net.interfaces import local_addresses


def test_this_host_knows_itself():
    found = local_addresses()
    assert {b"0.0.0.0", b"127.0.0.1"} <= found
    for text in found:
        packed = socket.inet_pton(socket.AF_INET6 if b":" in text else socket.AF_INET, text.decode())
        assert len(packed) in (4, 16)


def test_more_addresses_than_there_was_room_for(monkeypatch):
    """The kernel fills what it is given and says no more: asked again with more room until some is left."""
    calls = []

    def ioctl(_sock, _number, request):
        size = interfaces.struct.unpack_from("i", request)[0]
        calls.append(size // interfaces._ENTRY)
        return interfaces.struct.pack("iP", min(size, 150 * interfaces._ENTRY), 0)

    monkeypatch.setattr(interfaces.fcntl, "ioctl", ioctl)
    assert b"0.0.0.0" in local_addresses()
    assert calls == [64, 128, 256]


def test_a_kernel_without_ipv6(monkeypatch, tmp_path):
    monkeypatch.setattr(interfaces, "_SIX", str(tmp_path / "none"))
    assert b"127.0.0.1" in local_addresses()


def test_trouble_is_temporary(monkeypatch, tmp_path):
    monkeypatch.setattr(interfaces, "_SIX", str(tmp_path))
    with pytest.raises(TemporaryError, match="unable to figure out my IP addresses"):
        local_addresses()
