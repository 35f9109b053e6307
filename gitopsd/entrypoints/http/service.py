"""What every route works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aiohttp import web

from gitopsd.domain.config import HeldRemoval
from gitopsd.domain.sources import ReceiverName
from gitopsd.engine.actions import Actions
from gitopsd.engine.changes import Changes
from gitopsd.engine.services import Services
from gitopsd.entrypoints.http.limits import BodiesUnderWay, TokenBuckets
from gitopsd.errors import ConfigError

MOST_CLOCK_DIFFERENCE = timedelta(seconds=2)
"""A replica whose own clock is off the database's by more is not ready."""


@dataclass(slots=True)
class ProcessState:
    """Where the process stands between start and end.

    Attributes:
        started: Whether it works, or serves, as it should.
        ending: Whether it was asked to end.
        receivers: What was said last to be wrong with each receiver.
    """

    started: bool = False
    ending: bool = False
    receivers: dict[ReceiverName, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Service:
    """The running service as the routes see it.

    Attributes:
        services: The ports.
        actions: What people do.
        changes: Tells when something stored changed.
        state: Where the process stands.
        problems: What is wrong in the configuration folder now.
        buckets: How often one source may send deliveries.
        sole: Whether the database's clock is this process's own.
        removals: Files that vanished at once and whose removal waits for a person.
        bodies: How many bytes of deliveries are in memory.
    """

    services: Services
    actions: Actions
    changes: Changes
    state: ProcessState
    problems: Callable[[], tuple[ConfigError, ...]]
    buckets: TokenBuckets
    sole: bool = field(default=True)
    removals: Callable[[], tuple[HeldRemoval, ...]] = field(default=tuple)
    bodies: BodiesUnderWay = field(default_factory=BodiesUnderWay)

    def find_clock_problem(self, stored: datetime) -> str:
        """Say how far this machine's clock is off the database's, when that is too far."""
        if self.sole:
            return ""
        difference = abs(self.services.clock.now() - stored)
        if difference <= MOST_CLOCK_DIFFERENCE:
            return ""
        return f"this machine's clock is off the database's by {difference.total_seconds():.1f} s"


SERVICE = web.AppKey("service", Service)
