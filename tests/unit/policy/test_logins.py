"""Wrong passwords, with a clock of the test's own."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.policy import logins
from quail.policy.logins import Guard

A, B = "192.0.2.1", "192.0.2.2"


def fail(guard, times, peer=A, user=b"jane", now=0.0):
    """So many different guesses."""
    return [guard.failed(peer, user, b"guess %d" % next(_GUESSES), now) for _ in range(times)]


_GUESSES = itertools.count()


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
        fail(guard, 1, f"2001:db8::{number:x}", b"u%d" % number)
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
        fail(guard, 1, f"198.51.100.{number}", b"Jane")
    assert guard.refused_for(B, b"jane", 0) == 0
    fail(guard, 1, "198.51.100.29", b"JANE")
    assert guard.refused_for(B, b"jane", 0) == 60
    assert guard.refused_for(B, b"joe", 0) == 0
    for number in range(100):
        fail(guard, 1, f"203.0.113.{number}")
    assert guard.refused_for(B, b"jane", 0) == logins.LONGEST_REFUSAL_OF_USER


def test_a_right_password_takes_back_what_its_user_has_mistyped_there():
    """Forty people behind one address mistype now and then, and none of them is kept out by that."""
    guard = Guard()
    for number in range(40):
        user = b"user%d" % number
        assert guard.refused_for(A, user, number) == 0
        assert fail(guard, 2, A, user, number) == [0, 0]
        guard.succeeded(A, user, number)
    assert guard.refused_for(A, b"jane", 40) == 0


def test_an_account_of_one_s_own_does_not_wash_an_address_clean():
    guard = Guard()
    for _ in range(5):
        fail(guard, 2, A, b"jane")
        guard.succeeded(A, b"mallory", 0)
    assert guard.refused_for(A, b"jane", 0) == 60
    fail(guard, 4, B, b"mallory")  # nor is there more to take back than was put in
    fail(guard, 9, B, b"jane")
    guard.succeeded(B, b"mallory", 0)
    fail(guard, 1, B, b"jane")
    assert guard.refused_for(B, b"jane", 0) == 60


def test_looking_for_mail_does_not_wash_a_name_clean():
    guard = Guard()
    for number in range(30):
        fail(guard, 1, f"198.51.100.{number}")
        guard.succeeded(A, b"jane", 0)
    assert guard.refused_for(B, b"jane", 0) == 60
    assert guard.refused_for(A, b"jane", 0) == 0


def test_who_guesses_next_to_the_user_gets_no_more_back_than_a_few():
    """Behind one address they can't be told apart."""
    guard = Guard()
    fail(guard, 9)
    guard.succeeded(A, b"jane", 0)
    fail(guard, 6)
    assert guard.refused_for(A, b"joe", 0) > 0


def test_the_same_wrong_password_again_is_no_new_guess():
    """A telephone with the password of last year, which asks every minute: it is refused, and nobody else."""
    guard = Guard()
    delays = [guard.failed(A, b"jane", b"last year's", 0) for _ in range(10)]
    assert delays == [0, 0, 0, 1, 2, 4, 8, 16, 30, 30]
    assert guard.refused_for(A, b"jane", 0) == 60
    assert guard.refused_for(A, b"joe", 0) == 0
    assert guard.refused_for(B, b"jane", 0) == 0
    assert fail(guard, 9, A, b"joe")[-1] == 30
    assert guard.refused_for(A, b"jim", 0) == 60


def test_the_telephone_does_not_keep_out_its_owner_either():
    guard = Guard()
    guard.succeeded(A, b"jane", 0)
    for minute in range(600):
        if guard.begin(A, b"jane", minute * 60) == 0:
            guard.failed(A, b"jane", b"last year's", minute * 60)
        if minute % 5 == 0 and guard.begin(A, b"jane", minute * 60 + 30) == 0:
            guard.succeeded(A, b"jane", minute * 60 + 30)
    assert guard.refused_for(A, b"jane", 36_000) == 0
    assert guard.refused_for(A, b"joe", 36_000) == 0


def test_nor_in_the_morning():
    """When the owner has not been there all night, nor logged in since."""
    guard = Guard()
    guard.succeeded(A, b"jane", 0)
    for minute in range(600):
        if guard.begin(A, b"jane", minute * 60, b"last year's") == 0:
            guard.failed(A, b"jane", b"last year's", minute * 60)
    assert guard.begin(A, b"jane", 36_000, b"last year's") > 0
    assert guard.begin(A, b"jane", 36_000, b"right") == 0
    guard.succeeded(A, b"jane", 36_000)
    assert guard.begin(A, b"jane", 36_001, b"last year's") == 0


def test_repetitions_bring_no_guesses():
    """Each guess four times, and with the next one whenever that is not refused: not more of them than without."""
    guard = Guard()
    now, guesses = 500.0, 0
    while now < 86_900:
        secret = b"%d" % guesses
        if guard.begin(A, b"jane", now, secret) == 0:
            guesses += 1
            for _ in range(4):
                guard.failed(A, b"jane", secret, now)
                guard.begin(A, b"jane", now, secret)
        now += 7
    assert guesses <= 10 + 24 * 10 + 6


def test_whoever_has_been_here_before_is_let_in():
    guard = Guard()
    guard.succeeded(A, b"jane", 0)
    fail(guard, 20, A, b"joe")
    for number in range(60):
        fail(guard, 1, f"203.0.113.{number}", now=1)
    assert guard.refused_for(A, b"joe", 1) > 0
    assert guard.refused_for(B, b"jane", 1) > 0
    assert guard.refused_for(A, b"jane", 1) == 0
    fail(guard, 4, A, b"jane", 1)
    assert guard.refused_for(A, b"jane", 1) == 0
    fail(guard, 1, A, b"jane", 1)
    assert guard.refused_for(A, b"jane", 1) > 0


def test_counts_age():
    """In an hour as many failures are forgotten as there may be."""
    guard = Guard()
    fail(guard, 10)
    assert guard.refused_for(A, b"jane", 3601) == 0
    assert fail(guard, 1, now=3601) == [0]
    assert fail(guard, 8, now=3601)[-1] == 30
    assert guard.refused_for(A, b"joe", 3601) == 0
    assert fail(guard, 1, now=3601 + 400) == [30]
    assert guard.refused_for(A, b"joe", 3601 + 400) == 0
    fail(guard, 1, now=3601 + 400)
    assert guard.refused_for(A, b"joe", 3601 + 400) == 60
    for number in range(29):
        fail(guard, 1, f"198.51.100.{number}", now=5000)
    fail(guard, 1, "198.51.100.29", now=5130)
    assert guard.refused_for(B, b"jane", 5130) == 0


@pytest.mark.parametrize("pause", [0.0, 1.0, 100.0, 360.0])
def test_the_guesses_of_a_day(pause):
    """Ten at first and ten an hour, whatever pauses somebody makes, and with an account of his own besides."""
    guard = Guard()
    now, guesses = 500.0, 0
    while now < 86_900:
        wait = guard.begin(A, b"jane", now)
        if wait > 0:
            now += wait
            continue
        guesses += 1
        now += pause + 1 + guard.failed(A, b"jane", b"%d" % guesses, now)
        if guesses % 4 == 0 and guard.begin(A, b"mallory", now) == 0:
            guard.failed(A, b"mallory", b"mine", now)
            guard.succeeded(A, b"mallory", now)
    assert guesses <= 10 + 24 * 10 + 6  # what refusals have not grown up to yet


# Many at once


def test_what_is_being_judged_counts_as_failed():
    guard = Guard()
    begun = [guard.begin(A, b"user%d" % number, 0) for number in range(100)]
    assert begun == [0] * 10 + [logins.BUSY] * 90
    for number in range(10):
        guard.failed(A, b"user%d" % number, b"x", 0)
    assert guard.begin(A, b"jane", 0) == 60
    assert guard.begin(A, b"jane", 60) == 0
    assert guard.begin(A, b"joe", 60) == logins.BUSY  # one at a time
    guard.succeeded(A, b"jane", 60)
    assert guard.begin(A, b"joe", 60) == 0


def test_one_name_from_everywhere_at_once():
    guard = Guard()
    begun = [guard.begin(f"198.51.100.{number}", b"jane", 0) for number in range(100)]
    assert begun.count(0) == 30
    for number in range(30):
        guard.failed(f"198.51.100.{number}", b"jane", b"x", 0)
    assert guard.begin(B, b"jane", 0) == 60


@pytest.mark.parametrize("how", ["succeeded", "undecided"])
def test_right_passwords_at_once_make_room_for_others(how):
    guard = Guard()
    for number in range(10):
        assert guard.begin(A, b"user%d" % number, 0) == 0
    assert guard.begin(A, b"jane", 0) == logins.BUSY
    if how == "succeeded":
        guard.succeeded(A, b"user3", 0)
    else:
        guard.undecided(A, b"user3")
    assert guard.begin(A, b"jane", 0) == 0
    assert guard.begin(A, b"joe", 0) == logins.BUSY


def test_at_once_where_one_has_been_before():
    """While others guess there: no more at once than may be wrong, and nobody is refused."""
    guard = Guard()
    guard.succeeded(A, b"jane", 0)
    fail(guard, 20, A, b"joe", 1)
    assert [guard.begin(A, b"jane", 1) for _ in range(7)] == [0] * 5 + [logins.BUSY] * 2
    guard.succeeded(A, b"jane", 1)
    assert guard.begin(A, b"jane", 1) == 0
    for _ in range(5):
        guard.failed(A, b"jane", b"x", 1)
    assert guard.begin(A, b"jane", 1) > 0


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.sampled_from([b"a", b"b"]), st.sampled_from("bfsu"))))
def test_nothing_stays_of_what_was_judged(steps):
    guard = Guard()
    begun = []
    for peer, user, step in steps:
        if step == "b":
            if guard.begin(peer, user, 0) == 0:
                begun.append((peer, user))
        elif begun:
            end_one(guard, *begun.pop(0), step)
    for peer, user in begun:
        end_one(guard, peer, user, "f")
    assert not any(table._judged for table in (guard._addresses, guard._users, guard._pairs))


def end_one(guard, peer, user, how):
    if how == "f":
        guard.failed(peer, user, b"x", 0)
    elif how == "s":
        guard.succeeded(peer, user, 0)
    else:
        guard.undecided(peer, user)


def test_trust_ends_after_a_day_without_a_log_in():
    guard = Guard()
    guard.succeeded(A, b"jane", 0)
    now = 86_401.0
    fail(guard, 20, A, b"joe", now)
    assert guard.refused_for(A, b"jane", now) > 0


def test_memory_is_bounded():
    guard = Guard(50)
    for number in range(1000):
        fail(guard, 1, f"192.0.{number >> 8}.{number & 255}", b"user%d" % number + b"x" * 5000, number / 1000)
        guard.succeeded(f"198.51.{number >> 8}.{number & 255}", b"good%d" % number, number / 1000)
    assert len(guard) <= 200
    assert all(len(key) <= 200 for table in (guard._addresses, guard._users, guard._pairs) for key in table._counts)


def test_who_was_touched_last_stays():
    guard = Guard(10)
    fail(guard, 10)
    for number in range(100):
        fail(guard, 1, f"198.51.100.{number}")
        fail(guard, 1)
    assert guard.refused_for(A, b"joe", 0) > 0


@given(st.lists(st.tuples(st.sampled_from([A, B, "2001:db8::1"]), st.sampled_from([b"a", b"b"]), st.floats(0, 1000))))
def test_a_refusal_always_ends(steps):
    guard = Guard()
    now = 0.0
    for peer, user, seconds in steps:
        now += seconds
        assert 0 <= fail(guard, 1, peer, user, now)[0] <= logins.LONGEST_DELAY
        assert 0 <= guard.refused_for(peer, user, now) <= logins.LONGEST_REFUSAL
    assert guard.refused_for(A, b"a", now + logins.LONGEST_REFUSAL) == 0


@pytest.mark.parametrize("user", [b"", b"\0", b"\xff" * 10_000], ids=["empty", "nul", "long"])
def test_any_name(user):
    guard = Guard()
    fail(guard, 10, user=user)
    assert guard.refused_for(A, user, 0) == 60
