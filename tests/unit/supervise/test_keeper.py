"""One kept process, without processes: every command in every standing, and when the next start is due."""

import itertools
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quail.supervise.keeper import AGAIN_AFTER, DOWN, NO_FORK_WAIT, ONCE, UP, Keeper

LONGEST = 10.0


def running(want=UP):
    keeper = Keeper(0.0, UP)
    keeper.started(7, 0.0)
    keeper.want = want
    return keeper


def say(keeper, letters, now=5.0):
    return [number for letter in letters for number in keeper.command(letter, now)]


def test_what_is_wanted_is_due_at_once():
    assert Keeper(3.0).due == 3.0
    assert Keeper(3.0, DOWN).due is None


def test_it_starts_again_no_sooner_than_a_second_after_its_last_start():
    keeper = running()
    keeper.ended(0.25)
    assert (keeper.pid, keeper.due) == (0, AGAIN_AFTER)
    keeper.started(8, 1.0)
    keeper.ended(100.0)
    assert keeper.due == 100.0


def test_giving_up_waits_longer_each_time():
    keeper, waits, now = Keeper(0.0, longest=LONGEST), [], 0.0
    for _ in range(6):
        keeper.started(7, now)
        keeper.ended(now + 0.1, by_itself=True)
        waits.append(keeper.due - now)
        now = keeper.due
    assert waits == pytest.approx([2.0, 4.0, 8.0, LONGEST, LONGEST, LONGEST])
    keeper.started(7, now)
    keeper.ended(now + 0.1)  # killed
    assert keeper.due == now + AGAIN_AFTER
    keeper.started(7, now)
    keeper.ended(now + LONGEST, by_itself=True)  # after a long life
    assert keeper.due == now + LONGEST


def test_supervise_does_not_wait_longer():
    keeper = Keeper(0.0)
    for now in range(5):
        keeper.started(7, float(now))
        keeper.ended(now + 0.1, by_itself=True)
        assert keeper.due == now + AGAIN_AFTER


def test_a_fork_that_fails():
    keeper = Keeper(0.0)
    keeper.not_started(0.0)
    assert keeper.due == NO_FORK_WAIT
    assert say(keeper, b"u", 1.0) == []
    assert keeper.due == NO_FORK_WAIT  # nobody can ask for more than the machine has
    say(keeper, b"d", 2.0)
    assert keeper.due is None


SIGNALS = [
    (b"h", [signal.SIGHUP]),
    (b"a", [signal.SIGALRM]),
    (b"i", [signal.SIGINT]),
    (b"t", [signal.SIGTERM]),
    (b"k", [signal.SIGKILL]),
    (b"p", [signal.SIGSTOP]),
    (b"c", [signal.SIGCONT]),
    (b"d", [signal.SIGTERM, signal.SIGCONT]),
    (b"u", []),
    (b"o", []),
    (b"x", []),
    (b"\0\n\xffz?", []),
    (b"dxtk", [signal.SIGTERM, signal.SIGCONT, signal.SIGTERM, signal.SIGKILL]),
]


@pytest.mark.parametrize(("letters", "numbers"), SIGNALS)
def test_signals(letters, numbers):
    assert say(running(), letters) == numbers
    assert say(Keeper(0.0, DOWN), letters) == []


def test_down_and_up():
    keeper = running()
    say(keeper, b"d")
    assert (keeper.want, keeper.pid) == (DOWN, 7)
    keeper.ended(6.0)
    assert keeper.due is None
    say(keeper, b"u", 7.0)
    assert (keeper.want, keeper.due) == (UP, 7.0)


def test_up_while_it_is_ending():
    keeper = running()
    say(keeper, b"du")
    keeper.ended(6.0)
    assert keeper.due == 6.0


def test_once():
    keeper = running()
    say(keeper, b"o")
    assert keeper.want == ONCE
    keeper.ended(6.0)
    assert keeper.due is None
    say(keeper, b"o", 7.0)
    assert keeper.due == 7.0


def test_a_start_that_is_asked_for_is_paced_too():
    keeper = running(DOWN)
    keeper.ended(0.25)
    say(keeper, b"o", 0.5)
    assert keeper.due == AGAIN_AFTER
    say(keeper, b"d", 0.6)
    assert keeper.due is None


def test_pause_lasts_until_it_goes_on_or_is_another():
    keeper = running()
    say(keeper, b"p")
    assert keeper.paused
    say(keeper, b"c")
    assert not keeper.paused
    say(keeper, b"pd")
    assert not keeper.paused
    say(keeper, b"pk")
    keeper.ended(6.0)
    keeper.started(8, 6.0)
    assert not keeper.paused


def test_exit_waits_for_the_end():
    keeper = running()
    say(keeper, b"x")
    assert not keeper.done
    keeper.ended(6.0)
    assert keeper.done  # although it is wanted up
    assert keeper.due is None


def test_exit_of_what_does_not_run():
    keeper = Keeper(0.0, DOWN)
    say(keeper, b"x")
    assert keeper.done


def test_exit_forgets_a_start_that_follows_a_death_but_none_that_was_asked_for():
    keeper = running()
    keeper.ended(0.25)
    say(keeper, b"x", 0.5)
    assert keeper.done
    keeper = running(DOWN)
    keeper.ended(0.25)
    say(keeper, b"ox", 0.5)
    assert not keeper.done
    keeper.started(8, keeper.due)
    keeper.ended(9.0)
    assert keeper.done


steps = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.binary(min_size=1, max_size=4)),
        st.tuples(st.just("say"), st.lists(st.sampled_from(list(b"udopcx")), min_size=1, max_size=3)),
        st.tuples(st.just("wait"), st.floats(0, 3)),
        st.tuples(st.just("die"), st.booleans()),
        st.tuples(st.just("no fork"), st.none()),
    ),
    max_size=40,
)


@given(steps, st.sampled_from([UP, DOWN]))
def test_laws(plan, want):
    """It is started only when due, at most once a second, never twice at once, never when it is wanted down."""
    keeper, now, starts, no_fork = Keeper(0.0, want), 0.0, [], False
    for step, value in plan:
        if step == "say":
            say(keeper, bytes(value), now)
        elif step == "wait":
            now += value
        elif step == "die" and keeper.pid:
            keeper.ended(now, by_itself=value)
        elif step == "no fork":
            no_fork = True
        assert not (keeper.pid and keeper.due is not None)
        assert not (keeper.want == DOWN and keeper.due is not None)
        if keeper.want == UP and not keeper.pid:
            assert keeper.leaving or keeper.due is not None
        assert keeper.done == (keeper.leaving and not keeper.pid and keeper.due is None)
        if keeper.due is not None and keeper.due <= now:
            if no_fork:
                keeper.not_started(now)
                assert keeper.due == now + NO_FORK_WAIT
            else:
                keeper.started(len(starts) + 1, now)
                starts.append(now)
            no_fork = False
    assert all(later - earlier >= AGAIN_AFTER for earlier, later in itertools.pairwise(starts))
