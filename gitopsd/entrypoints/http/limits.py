"""What one source may ask of the process: how often, and how much at once.

Both are asked before a signature can be checked, so they hold for strangers.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass

from gitopsd.ports import Clock

MOST_SOURCES = 10_000
"""Sources that are remembered; the one that was quiet longest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How much one source may ask.

    Attributes:
        burst: Requests at once. Generous, because everybody behind one proxy is one source.
        per_second: Requests a second in the long run.
        refused: What a badly signed request costs: each is a write to the database.
    """

    burst: float = 1000.0
    per_second: float = 100.0
    refused: float = 20.0


@dataclass(frozen=True, slots=True)
class Room:
    """How many bytes of bodies may be in memory at once.

    Attributes:
        total: Of all sources.
        each: Of one source; at least one body of the largest size.
    """

    total: int = 128 * 1024 * 1024
    each: int = 32 * 1024 * 1024


class BodiesUnderWay:
    """Counts the bytes of bodies that were received and not answered yet.

    Args:
        room: How many there may be.
    """

    def __init__(self, room: Room | None = None) -> None:
        self._room = room or Room()
        self._held: Counter[str] = Counter()
        self._total = 0

    def take(self, source: str, size: int) -> bool:
        """Take room for bytes; False, and nothing taken, when there is not enough."""
        room, each = self._room, self._held[source] + size
        if each > room.each or self._total + size > room.total:
            return False
        self._held[source] = each
        self._total += size
        return True

    def give_back(self, source: str, size: int) -> None:
        """Give room back that was taken."""
        self._total -= size
        self._held[source] -= size
        if self._held[source] <= 0:
            del self._held[source]


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class TokenBuckets:
    """A token bucket for each source.

    Args:
        clock: Tells how much time passed.
        rate: What one source may ask.
    """

    def __init__(self, clock: Clock, rate: Rate | None = None) -> None:
        self._clock = clock
        self._rate = rate or Rate()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def punish(self, source: str) -> None:
        """Let a source pay for a badly signed request; what it owes keeps it waiting longer."""
        bucket = self._buckets.get(source)
        if bucket is not None:
            bucket.left = max(bucket.left - self._rate.refused, 0.0)

    def take(self, source: str) -> float:
        """Take one token; returns 0.0, or how many seconds to wait for the next."""
        now = self._clock.monotonic()
        bucket = self._buckets.pop(source, None) or _Bucket(self._rate.burst, now)
        grown = bucket.left + (now - bucket.at) * self._rate.per_second
        bucket.left, bucket.at = min(self._rate.burst, grown), now
        self._buckets[source] = bucket
        if len(self._buckets) > MOST_SOURCES:
            self._buckets.popitem(last=False)
        if bucket.left < 1:
            return (1 - bucket.left) / self._rate.per_second
        bucket.left -= 1
        return 0.0
