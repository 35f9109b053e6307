"""What one source may ask: how often, and how many bytes at once."""

from __future__ import annotations

from datetime import timedelta

from gitopsd.entrypoints.http.limits import (
    MOST_SOURCES,
    BodiesUnderWay,
    Rate,
    Room,
    TokenBuckets,
)
from gitopsd.testing.clock import ManualClock


def test_a_burst_is_let_through_then_one_at_a_time() -> None:
    """Three at once, then one each half second; the answer says how long to wait."""
    clock = ManualClock()
    buckets = TokenBuckets(clock, Rate(burst=3, per_second=2))

    assert [buckets.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    clock.advance(timedelta(milliseconds=250))
    assert buckets.take("a") == 0.25
    clock.advance(timedelta(milliseconds=250))
    assert [buckets.take("a"), buckets.take("a")] == [0.0, 0.5]


def test_sources_do_not_pay_for_each_other() -> None:
    """Each address has a bucket of its own, and it never holds more than a burst."""
    clock = ManualClock()
    buckets = TokenBuckets(clock, Rate(burst=1, per_second=1))

    assert [buckets.take("a"), buckets.take("a"), buckets.take("b")] == [0.0, 1.0, 0.0]
    clock.advance(timedelta(hours=1))
    assert [buckets.take("a"), buckets.take("a")] == [0.0, 1.0]


def test_a_badly_signed_request_costs_more() -> None:
    """Whoever keeps sending what cannot be used is soon asked to wait."""
    clock = ManualClock()
    buckets = TokenBuckets(clock, Rate(burst=10, per_second=1, refused=4))
    buckets.punish("a stranger")

    assert buckets.take("a") == 0.0
    buckets.punish("a")
    assert buckets.take("a") == 0.0
    buckets.punish("a")
    assert buckets.take("a") == 1.0
    assert buckets.take("b") == 0.0


def test_a_flood_of_addresses_does_not_fill_the_memory() -> None:
    """The source that was quiet longest is forgotten first."""
    buckets = TokenBuckets(ManualClock(), Rate(burst=1, per_second=0.001))
    buckets.take("first")
    for number in range(MOST_SOURCES - 1):
        buckets.take(str(number))
    assert buckets.take("first") > 0
    for number in range(MOST_SOURCES):
        buckets.take(f"again {number}")

    assert buckets.take("first") == 0.0


def test_bytes_under_way_are_bounded_for_each_and_for_all() -> None:
    """One source leaves room for others, all of them leave room for the process."""
    bodies = BodiesUnderWay(Room(total=10, each=6))

    assert [bodies.take("a", 4), bodies.take("a", 3), bodies.take("a", 2)] == [True, False, True]
    assert [bodies.take("b", 5), bodies.take("b", 4), bodies.take("c", 1)] == [False, True, False]
    bodies.give_back("a", 6)
    assert [bodies.take("c", 6), bodies.take("c", 1), bodies.take("d", 1)] == [True, False, False]


def test_what_was_given_back_leaves_nothing_behind() -> None:
    """However many sources came by, nobody is remembered who sends nothing."""
    bodies = BodiesUnderWay(Room(total=1000, each=1000))
    for number in range(1000):
        assert bodies.take(f"source {number}", 1)
    for number in range(1000):
        bodies.give_back(f"source {number}", 1)
    bodies.give_back("nobody", 0)

    assert bodies.take("a", 1000)
