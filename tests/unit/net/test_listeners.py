"""What bind_tcp says about a port that it can't have."""

import errno

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
