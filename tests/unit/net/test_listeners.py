"""What bind_tcp says about a port that it can't have; Unix sockets anywhere."""

import errno
import os
import socket
import stat

import pytest

from quail.net import listeners


@pytest.mark.parametrize(
    ("port", "remedy"),
    [
        (25, "choose another: the line in control/listen"),
        (2525, "choose another: make run SMTP_PORT=2626, or the line in control/listen"),
    ],
)
def test_a_busy_port_names_who_has_it_and_what_helps_there(monkeypatch, port, remedy):
    """`make run` is for homes without root, and so is no help with a port that is root's."""

    def busy(_):
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(listeners, "_socket_for", busy)
    monkeypatch.setattr(listeners, "owner_of_port", lambda _: "master (pid 106)")
    with pytest.raises(listeners.TemporaryError) as caught:
        listeners.bind_tcp("smtp", "0.0.0.0", port)
    assert str(caught.value) == (
        f"port {port} on 0.0.0.0, wanted for smtp, is in use by master (pid 106); stop that, or {remedy}"
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Paths of sockets must be short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def connect(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_an_address_that_the_machine_has_not(monkeypatch, number):
    """Such as [::], once IPv6 has been switched off: by sysctl the one, on the kernel's command line the other."""

    def refuse(_address):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(listeners, "_socket_for", refuse)
    with pytest.raises(listeners.TemporaryError) as raised:
        listeners.bind_tcp("smtp", "::", 25)
    assert str(raised.value) == "::, wanted for smtp, is no address of this machine; correct the line in control/listen"


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_everybody_may_connect_to_a_path_and_workers_share_it(here, umask):
    before = os.umask(umask)
    try:
        found = listeners.bind_path("lmtp", "lmtp", 3)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    status = os.lstat("lmtp")
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o666
    assert len({listener.fileno() for listener in found}) == 3
    for listener in found:
        assert not listener.getblocking()
        connect("lmtp")
        listener.accept()[0].close()
        listener.close()


def test_what_was_left_over_is_replaced(here):
    for listener in listeners.bind_path("lmtp", "lmtp", 2):
        listener.close()
    (listener,) = listeners.bind_path("lmtp", "lmtp")
    connect("lmtp")
    listener.close()


def test_what_is_in_use_is_left_alone(here):
    (listener,) = listeners.bind_path("lmtp", "lmtp")
    with pytest.raises(
        listeners.TemporaryError, match=r"^lmtp, wanted for lmtp, is in use by another program; stop that"
    ):
        listeners.bind_path("lmtp", "lmtp")
    connect("lmtp")
    listener.close()


@pytest.mark.parametrize("make", [lambda path: path.write_text("mine"), lambda path: path.mkdir(),
                                  lambda path: path.symlink_to("elsewhere")], ids=["file", "folder", "link"])  # fmt: skip
def test_what_is_no_socket_is_left_alone(here, make):
    make(here / "lmtp")
    before = os.lstat("lmtp")
    with pytest.raises(listeners.TemporaryError, match=r"^lmtp, wanted for lmtp, is there and no socket; remove it"):
        listeners.bind_path("lmtp", "lmtp")
    assert os.lstat("lmtp") == before


def test_a_folder_that_is_not_there(here):
    with pytest.raises(
        listeners.TemporaryError, match="unable to listen on none/lmtp for lmtp: No such file or directory"
    ):
        listeners.bind_path("lmtp", "none/lmtp")
