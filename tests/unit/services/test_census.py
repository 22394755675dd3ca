"""Connections counted over all workers."""

from quail.services.inbound.census import ROWS, Census, make


def test_all_workers_count_together():
    table = make(3)
    workers = [Census(table, worker) for worker in range(3)]
    for worker in workers:
        worker.enter("192.0.2.1")
    workers[0].enter("192.0.2.2")
    for worker in workers:
        assert worker.from_address("192.0.2.1") == 3
        assert worker.from_address("192.0.2.2") == 1
        assert worker.total() == 4
    workers[1].leave("192.0.2.1")
    workers[0].leave("192.0.2.2")
    assert workers[2].from_address("192.0.2.1") == 2
    assert workers[2].from_address("192.0.2.2") == 0
    assert workers[2].total() == 2


def test_a_new_worker_forgets_what_its_predecessor_had():
    table = make(2)
    first, second = Census(table, 0), Census(table, 1)
    for _ in range(5):
        first.enter("192.0.2.1")
    second.enter("192.0.2.1")
    again = Census(table, 0)
    assert again.from_address("192.0.2.1") == 1
    assert again.total() == 1


def test_the_table_is_as_large_as_it_says():
    assert len(make(2)) == 2 * (ROWS + 1)


def test_a_64_counts_as_one_address():
    """Else whoever has one would have 2**64 times the limit."""
    census = Census(make(1), 0)
    for number in range(100):
        census.enter(f"2001:db8::{number:x}")
    assert census.from_address("2001:db8::ffff:1") == 100
    assert census.from_address("2001:db8:0:1::1") == 0
    for number in range(100):
        census.leave(f"2001:db8::{number:x}")
    assert census.from_address("2001:db8::ffff:1") == 0
