"""How channels fare: one that is in trouble is left alone for a while, whatever waits for it.

Without this each waiting message would ask a dead channel by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from gitopsd.domain.channels import ChannelSpec

AT_ONCE = 2
"""Messages under way to one channel."""

AT_ONCE_EVERYWHERE = 12
"""Messages under way to all channels: however many hang, most of a worker is left for steps."""

LONGEST = timedelta(minutes=5)
"""A channel that does not answer is asked again at least this often."""

MISCONFIGURED = timedelta(minutes=10)
"""How often it is tried whether a person has mended what keeps a channel from working."""

_DOUBLINGS = 9


@dataclass
class Pause:
    """How one channel fares in this process.

    Attributes:
        spec: What its file said when this was noted; another file begins anew.
        failures: Failures in a row.
        until: Monotonic second until which it is left alone.
        under_way: Messages under way to it now.
        problem: What was said of it last; empty while it works.
        parts: Part of the channel, a repository -> until when it is left alone, and why.
    """

    spec: ChannelSpec
    failures: int = 0
    until: float = 0.0
    under_way: int = 0
    problem: str = ""
    parts: dict[str, tuple[float, str]] = field(default_factory=dict)

    @property
    def told(self) -> str:
        """All that is wrong with it, in words; empty while it works."""
        problems = (self.problem, *(why for _, why in self.parts.values()))
        return "; ".join(dict.fromkeys(filter(None, problems)))

    def rest(self, now: float) -> timedelta:
        """Tell how long the channel is still left alone."""
        return timedelta(seconds=max(self.until - now, 0.0))

    def fail(self, now: float, asked: timedelta | None) -> timedelta:
        """Note a failure; returns how long the channel is left alone now.

        Failures of messages that were under way together count as one.

        Args:
            now: Monotonic second.
            asked: How long the channel asked to be left alone; None when it did not say.
        """
        if now >= self.until:
            self.failures += 1
        backoff = min(LONGEST, timedelta(seconds=2 ** min(self.failures - 1, _DOUBLINGS)))
        wait = backoff if asked is None else max(asked, backoff)
        self.until = max(self.until, now + wait.total_seconds())
        return self.rest(now)

    def leave_alone(self, now: float) -> timedelta:
        """Note that a person must mend it; returns how long it is left alone."""
        self.failures += 1
        self.until = max(self.until, now + MISCONFIGURED.total_seconds())
        return self.rest(now)

    def rest_of(self, part: str, now: float) -> timedelta:
        """Tell how long one part is still left alone."""
        until, _ = self.parts.get(part, (0.0, ""))
        return timedelta(seconds=max(until - now, 0.0))

    def leave_part_alone(self, part: str, now: float, why: str) -> timedelta:
        """Note that a person must mend one part; returns how long it is left alone."""
        self.parts[part] = (now + MISCONFIGURED.total_seconds(), why)
        return MISCONFIGURED

    def work(self, now: float) -> bool:
        """Note that it took a message; False while it is left alone because of another one."""
        if now < self.until:
            return False
        self.failures = 0
        return True
