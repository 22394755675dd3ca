"""Wrong passwords, with a clock of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.policy import logins
from quail.policy.logins import Guard

A, B = "192.0.2.1", "192.0.2.2"


def fail(guard, times, peer=A, user=b"jane", now=0.0):
    return [guard.failed(peer, user, now) for _ in range(times)]


def test_answers_wait_longer_and_longer_then_there_are_none():
    guard = Guard()
    assert fail(guard, 9) == [0, 0, 0, 1, 2, 4, 8, 16, 30]
    assert guard.refused_for(A, b"jane", 0) == 0
    assert fail(guard, 1) == [30]
    assert guard.refused_for(A, b"jane", 0) == 60
    assert guard.refused_for(A, b"joe", 0) == 60
    assert guard.refused_for(A, b"jane", 59.5) == 0.5
    assert guard.refused_for(A, b"jane", 60) == 0
    assert guard.refused_for(B, b"jane", 0) == 0
    fail(guard, 1, now=60)
    assert guard.refused_for(A, b"jane", 60) == 120
    fail(guard, 50, now=200)
    assert guard.refused_for(A, b"jane", 200) == logins.LONGEST_REFUSAL


def test_all_of_a_64_counts_as_one():
    guard = Guard()
    for number in range(10):
        guard.failed(f"2001:db8::{number:x}", b"u%d" % number, 0)
    assert guard.refused_for("2001:db8::ffff:1", b"jane", 0) == 60
    assert guard.refused_for("2001:db8:0:1::1", b"jane", 0) == 0
    fail(guard, 10, "::ffff:192.0.2.1")
    assert guard.refused_for(A, b"joe", 0) == 60
    fail(guard, 10, "fe80::1%eth0")
    assert guard.refused_for("fe80::2", b"joe", 0) == 60
    fail(guard, 10, "no address")
    assert guard.refused_for("no address", b"joe", 0) == 60


def test_one_user_from_everywhere():
    guard = Guard()
    for number in range(29):
        guard.failed(f"198.51.100.{number}", b"Jane", 0)
    assert guard.refused_for(B, b"jane", 0) == 0
    guard.failed("198.51.100.29", b"JANE", 0)
    assert guard.refused_for(B, b"jane", 0) == 60
    assert guard.refused_for(B, b"joe", 0) == 0
    for number in range(100):
        guard.failed(f"203.0.113.{number}", b"jane", 0)
    assert guard.refused_for(B, b"jane", 0) == logins.LONGEST_REFUSAL_OF_USER


def test_the_right_password_resets():
    guard = Guard()
    fail(guard, 9)
    guard.succeeded(A, b"jane", 0)
    assert fail(guard, 3) == [0, 0, 0]


def test_whoever_has_been_here_before_is_let_in():
    guard = Guard()
    guard.succeeded(A, b"jane", 0)
    fail(guard, 20, A, b"joe")
    for number in range(60):
        guard.failed(f"203.0.113.{number}", b"jane", 1)
    assert guard.refused_for(A, b"joe", 1) > 0
    assert guard.refused_for(B, b"jane", 1) > 0
    assert guard.refused_for(A, b"jane", 1) == 0
    fail(guard, 4, A, b"jane", 1)
    assert guard.refused_for(A, b"jane", 1) == 0
    fail(guard, 1, A, b"jane", 1)
    assert guard.refused_for(A, b"jane", 1) > 0


def test_an_hour_of_peace():
    guard = Guard()
    fail(guard, 10)
    assert guard.refused_for(A, b"jane", logins.FORGOTTEN_AFTER + 1) == 0
    assert fail(guard, 1, now=logins.FORGOTTEN_AFTER + 1) == [0]


def test_trust_ends_after_a_day_without_a_log_in():
    guard = Guard()
    guard.succeeded(A, b"jane", 0)
    now = 86_401.0 + logins.FORGOTTEN_AFTER
    fail(guard, 20, A, b"joe", now)
    assert guard.refused_for(A, b"jane", now) > 0


def test_memory_is_bounded():
    guard = Guard(50)
    for number in range(1000):
        guard.failed(f"192.0.{number >> 8}.{number & 255}", b"user%d" % number + b"x" * 5000, number / 1000)
        guard.succeeded(f"198.51.{number >> 8}.{number & 255}", b"good%d" % number, number / 1000)
    assert len(guard) <= 150
    assert all(len(key) <= 200 for table in (guard._addresses, guard._users, guard._trusted) for key in table._counts)


def test_who_was_touched_last_stays():
    guard = Guard(10)
    fail(guard, 10)
    for number in range(100):
        guard.failed(f"198.51.100.{number}", b"jane", 0)
        guard.failed(A, b"jane", 0)
    assert guard.refused_for(A, b"joe", 0) > 0


@given(st.lists(st.tuples(st.sampled_from([A, B, "2001:db8::1"]), st.sampled_from([b"a", b"b"]), st.floats(0, 1000))))
def test_a_refusal_always_ends(steps):
    guard = Guard()
    now = 0.0
    for peer, user, seconds in steps:
        now += seconds
        assert 0 <= guard.failed(peer, user, now) <= logins.LONGEST_DELAY
        assert 0 <= guard.refused_for(peer, user, now) <= logins.LONGEST_REFUSAL
    assert guard.refused_for(A, b"a", now + logins.LONGEST_REFUSAL) == 0


@pytest.mark.parametrize("user", [b"", b"\0", b"\xff" * 10_000], ids=["empty", "nul", "long"])
def test_any_name(user):
    guard = Guard()
    fail(guard, 10, user=user)
    assert guard.refused_for(A, user, 0) == 60
