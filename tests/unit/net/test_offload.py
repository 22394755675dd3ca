"""Calls in threads beside a poll loop: results come back in the loop, and what hangs holds up nothing else."""

import signal
import threading

import pytest

from quail.net.offload import Offload
from quail.net.pollloop import Loop


@pytest.fixture
def loop():
    made = Loop()
    yield made
    made.close()


def offload_of(loop, *, threads, waiting, each=100, waiting_each=100):
    return Offload(loop, threads=threads, threads_each=each, waiting=waiting, waiting_each=waiting_each)


def turn(loop, results, count):
    """Go round until so many results are there."""
    while len(results) < count:
        loop.once(10)


@pytest.fixture
def gate():
    """What calls wait for; opened at the end in any case."""
    event = threading.Event()
    yield event
    event.set()


def test_results_and_errors_come_back_in_the_loops_thread(loop):
    offload, results = offload_of(loop, threads=2, waiting=10), []
    error = ValueError("no")

    def fail():
        raise error

    def done(result):
        results.append((result, threading.current_thread()))

    for call in (lambda: 7, fail, lambda: None):
        assert offload.submit(object(), call, done)
    assert results == []
    turn(loop, results, 3)
    assert {result for result, _ in results} == {7, error, None}
    assert {thread for _, thread in results} == {threading.current_thread()}


def test_calls_are_not_made_in_the_loops_thread(loop):
    offload, results = offload_of(loop, threads=1, waiting=10), []
    offload.submit(object(), threading.current_thread, results.append)
    turn(loop, results, 1)
    assert results[0] is not threading.current_thread()


def test_what_hangs_holds_up_nothing_but_its_own_thread(loop, gate):
    offload, results = offload_of(loop, threads=3, waiting=100), []
    for _ in range(2):
        assert offload.submit(object(), gate.wait, results.append)
    for number in range(50):
        assert offload.submit(object(), lambda number=number: number, results.append)
    turn(loop, results, 50)
    assert results == list(range(50))
    gate.set()
    turn(loop, results, 52)
    assert results[50:] == [True, True]


def test_no_more_threads_than_needed_nor_than_allowed(loop, gate):
    offload, results = offload_of(loop, threads=2, waiting=100), []
    for number in range(10):
        offload.submit(object(), threading.current_thread, results.append)
        turn(loop, results, number + 1)
    assert len(set(results)) == 1
    started = threading.active_count()
    for _ in range(10):
        offload.submit(object(), gate.wait, results.append)
    assert threading.active_count() == started + 1
    gate.set()
    turn(loop, results, 20)


def test_too_many_wait(loop, gate):
    offload, results = offload_of(loop, threads=1, waiting=3), []
    taken = [offload.submit(object(), gate.wait, results.append) for _ in range(6)]
    assert taken == [True, True, True, True, False, False]
    gate.set()
    turn(loop, results, 4)
    assert offload.submit(object(), gate.wait, results.append)
    turn(loop, results, 5)


def test_no_thread_to_be_had(loop, monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    offload, results = offload_of(loop, threads=5, waiting=5), []
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert not offload.submit(object(), lambda: 1, results.append)
    assert offload.submit(object(), lambda: 1, results.append)
    turn(loop, results, 1)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert all(
        offload.submit(object(), lambda: 2, results.append) for _ in range(3)
    )  # the one that is there does it all
    turn(loop, results, 4)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_signals_go_to_the_loop(loop):
    offload, results = offload_of(loop, threads=1, waiting=5), []
    offload.submit(object(), lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()), results.append)
    turn(loop, results, 1)
    assert results[0] >= {signal.SIGTERM, signal.SIGHUP}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_a_result_may_ask_for_more(loop):
    offload, results = offload_of(loop, threads=1, waiting=5), []

    def again(result):
        results.append(result)
        if result < 5:
            offload.submit(object(), lambda: result + 1, again)

    offload.submit(object(), lambda: 1, again)
    turn(loop, results, 5)
    assert results == [1, 2, 3, 4, 5]


def test_a_lane_has_few_threads_and_others_go_on(loop, gate):
    offload, results = offload_of(loop, threads=4, waiting=100, each=2), []
    for _ in range(10):
        assert offload.submit("stuck", gate.wait, results.append)
    for number in range(20):
        assert offload.submit(number % 3, lambda number=number: number, results.append)
    turn(loop, results, 20)
    assert sorted(results) == list(range(20))
    gate.set()
    turn(loop, results, 30)
    assert results[20:] == [True] * 10


def test_a_lane_keeps_its_order(loop):
    offload, results = offload_of(loop, threads=4, waiting=100, each=1), []
    for number in range(50):
        offload.submit("lane", lambda number=number: number, results.append)
    turn(loop, results, 50)
    assert results == list(range(50))


def test_too_many_wait_in_a_lane(loop, gate):
    offload, results = offload_of(loop, threads=4, waiting=100, each=1, waiting_each=2), []
    assert [offload.submit("lane", gate.wait, results.append) for _ in range(5)] == [True, True, True, False, False]
    assert offload.submit("other", lambda: 1, results.append)
    turn(loop, results, 1)
    gate.set()
    turn(loop, results, 4)
    assert offload.submit("lane", gate.wait, results.append)
    turn(loop, results, 5)
