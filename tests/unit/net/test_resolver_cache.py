"""What a resolver remembers."""

import pytest

from quail.net.resolver_cache import Cache


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_until_its_time_is_over(clock):
    cache = Cache(10, clock)
    cache.put("a", 1, 5)
    cache.put("b", 2, 6)
    clock.now += 4.9
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, 2, None)
    clock.now += 0.1
    assert (cache.get("a"), cache.get("b")) == (None, 2)
    assert len(cache) == 1


def test_the_least_recently_used_goes_first(clock):
    cache = Cache(3, clock)
    for key in "abc":
        cache.put(key, key, 60)
    assert cache.get("a") == "a"
    cache.put("d", "d", 60)
    assert [cache.get(key) for key in "abcd"] == ["a", None, "c", "d"]


def test_the_bound_is_in_records(clock):
    cache = Cache(10, clock)
    cache.put("small", 1, 60, 0)
    cache.put("large", 2, 60, 9)
    assert cache.get("small") == 1
    cache.put("other", 3, 60, 2)
    assert [cache.get(key) for key in ("small", "large", "other")] == [1, None, 3]
    cache.put("huge", 4, 60, 11)  # never kept, and it takes the rest with it
    assert len(cache) == 0
    cache.put("after", 5, 60, 10)
    assert cache.get("after") == 5


def test_a_new_value_takes_the_place_of_the_old(clock):
    cache = Cache(10, clock)
    for records in (3, 9, 2):
        cache.put("a", records, 60, records)
    cache.put("b", 1, 60, 8)
    assert (cache.get("a"), cache.get("b")) == (2, 1)
