import os
import signal
import socket

import pytest

from quail.net import descriptors
from quail.net.frames import frame
from quail.net.pollloop import FrameStream, Listener, Loop


@pytest.fixture
def loop():
    made = Loop()
    yield made
    made.close()


class Side:
    """A FrameStream and all that it told."""

    def __init__(self, loop, sock, limit=1 << 20, **how):
        self.frames = []
        self.ends = []
        self.stream = FrameStream(
            loop, sock, limit, lambda _, new: self.frames.extend(new), lambda _, why: self.ends.append(why), **how
        )


@pytest.fixture
def pair():
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


def turn(loop, until, times=10_000):
    for _ in range(times):
        if until():
            return
        loop.once(1)
    pytest.fail("it never came")


def test_frames_both_ways_and_the_end(loop, pair):
    one, two = Side(loop, pair[0]), Side(loop, pair[1])
    for number in range(500):
        one.stream.send(frame(b"%d" % number))
    two.stream.send(frame(b"back"))
    turn(loop, lambda: len(two.frames) == 500 and one.frames)
    assert two.frames == [b"%d" % number for number in range(500)]
    one.stream.close()
    turn(loop, lambda: two.ends)
    assert (one.ends, two.ends) == ([], [""])


def test_large_frames_pass_a_small_socket(loop, pair):
    one, two = Side(loop, pair[0]), Side(loop, pair[1])
    contents = [bytes([number]) * 700_000 for number in range(5)]
    for content in contents:
        one.stream.send(frame(content))
    assert one.stream.unsent == 5 * 700_004
    turn(loop, lambda: len(two.frames) == 5)
    assert two.frames == contents
    assert one.stream.unsent == 0


def test_descriptors_come_in_the_order_of_their_frames(loop, pair):
    one, two = Side(loop, pair[0]), Side(loop, pair[1], takes_descriptors=True)
    for number in range(30):
        fd = os.memfd_create("x") if number % 3 == 0 else -1
        if fd >= 0:
            os.write(fd, b"%d" % number)
        one.stream.send(frame(b"%d" % number * 20_000), fd)
    turn(loop, lambda: len(two.frames) == 30)
    got = [os.pread(fd, 9, 0) for fd in two.stream.descriptors]
    assert got == [b"%d" % number for number in range(0, 30, 3)]
    assert not any(os.get_inheritable(fd) for fd in two.stream.descriptors)


def count_descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_closing_gives_every_descriptor_back(loop, pair):
    before = count_descriptors()
    one, two = Side(loop, pair[0]), Side(loop, pair[1], takes_descriptors=True)
    for _ in range(5):
        one.stream.send(frame(b"x"), os.memfd_create("x"))
    one.stream.flush()
    one.stream.send(frame(b"x"), os.memfd_create("x"))
    turn(loop, lambda: len(two.stream.descriptors) == 6)
    one.stream.send(frame(b"x"), os.memfd_create("x"))
    one.stream.close()
    one.stream.send(frame(b"x"), os.memfd_create("x"))
    two.stream.close()
    assert count_descriptors() == before - 2


def test_a_peer_that_must_not_send_descriptors_leaves_none_here(loop, pair):
    """A worker, which is a user's process, could take all that lspawn may have."""
    side = Side(loop, pair[1])
    with open(os.devnull) as null:
        before = count_descriptors()
        socket.send_fds(pair[0], [frame(b"x")], [null.fileno()] * 10)
        turn(loop, lambda: side.ends)
    assert "not asked for" in side.ends[0]
    assert side.frames == []
    assert count_descriptors() == before - 2  # the stream's own socket, and the null device


def test_more_descriptors_than_one_read_takes_end_the_stream(loop, pair):
    two = Side(loop, pair[1], takes_descriptors=True)
    with open(os.devnull, "rb") as null:
        many = [null.fileno()] * (descriptors.MAX_AT_ONCE + 1)
        socket.send_fds(pair[0], [frame(b"x")], many)
        turn(loop, lambda: two.ends)
    assert "descriptors were lost" in two.ends[0]


@pytest.mark.parametrize("paused", [False, True])
def test_what_the_peer_sent_before_it_went_is_read(loop, pair, paused):
    one = Side(loop, pair[0])
    one.stream.pause(paused)
    pair[1].sendall(frame(b"last words"))
    pair[1].close()
    for _ in range(3):
        one.stream.send(frame(b"into the void"))
    turn(loop, lambda: one.ends)
    assert one.frames == [b"last words"]


def test_too_long_a_frame_ends_the_stream(loop, pair):
    one = Side(loop, pair[0], limit=10)
    pair[1].sendall(frame(b"x" * 11))
    turn(loop, lambda: one.ends)
    assert "11 bytes" in one.ends[0]


def test_pause_and_high_water_leave_it_to_the_socket(loop, pair):
    one = Side(loop, pair[0], high_water=100)
    one.stream.send(frame(b"x" * (4 << 20)))
    pair[1].sendall(frame(b"first"))
    for _ in range(5):
        loop.once(0)
    assert one.frames == []
    two = Side(loop, pair[1], limit=8 << 20)
    turn(loop, lambda: one.frames)
    one.stream.pause(True)
    two.stream.send(frame(b"second"))
    for _ in range(5):
        loop.once(0)
    assert one.frames == [b"first"]
    one.stream.pause(False)
    turn(loop, lambda: len(one.frames) == 2)


def test_listener_waits_when_descriptors_are_out(loop, monkeypatch):
    class Exhausted:
        def __init__(self, real):
            self.real = real
            self.refusals = 0

        def fileno(self):
            return self.real.fileno()

        def accept(self):
            self.refusals += 1
            if self.refusals == 1:
                raise OSError(24, "Too many open files")
            return self.real.accept()

    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        accepted = []
        exhausted = Exhausted(server)
        listener = Listener(loop, exhausted, accepted.append)
        client.connect(server.getsockname())
        for _ in range(5):
            loop.once(0)
        assert (accepted, exhausted.refusals) == ([], 1)
        listener.resume()
        turn(loop, lambda: accepted)
        accepted[0].close()
        listener.stop()


def test_signals_are_served_between_callbacks():
    loop = Loop()
    before = signal.getsignal(signal.SIGUSR1)
    arrived = []
    try:
        loop.on_signal(signal.SIGUSR1, lambda: arrived.append(1))
        os.kill(os.getpid(), signal.SIGUSR1)
        assert arrived == []
        loop.once(10)
        assert arrived == [1]
    finally:
        loop.close()
        signal.signal(signal.SIGUSR1, before)
