"""A cluster in memory whose API server is in trouble, place by place along a run.

A place is a step, or a hook within one. `Lasting` trouble holds one step up for good; `Rolling`
trouble comes at each place of a run, for a while from the first request that is made there.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

from gitopsd.domain.manifests import ObjectRef
from gitopsd.domain.runs import LastLook, RunKind, Step
from gitopsd.errors import GitopsdError, TemporaryError
from gitopsd.store_ports import Transaction
from tests.support.engine_world import STAGING, World

REQUEST = timedelta(seconds=10)
PATIENCE = timedelta(seconds=7)
A_MINUTE = timedelta(seconds=60)
BEFORE, DURING, AFTER = "before", "during", "after"
"""Names of the Jobs that are hooks of PreSync, Sync and PostSync."""

_WRITES = frozenset({"apply", "apply unforced", "create", "replace", "patch", "delete"})


def everything(method: str) -> bool:
    """Concern every request but watches."""
    return method != "watch"


def writes(method: str) -> bool:
    """Concern what would change something, dry-runs too: they are PATCH requests as well."""
    return method in _WRITES


def watches(method: str) -> bool:
    """Concern watches alone."""
    return method == "watch"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the API server does.

    Attributes:
        error: What its client raises; None for a request that is never answered, and never ends.
        hangs: How long that takes.
        broken: Whether the connection is what broke, rather than an answer that came.
        concerns: Which methods.
        share: How many of a hundred requests fail.
        lasts: How long it lasts at one place; None for as long as the run does.
    """

    error: TemporaryError | None
    hangs: timedelta = timedelta(0)
    broken: bool = False
    concerns: Callable[[str], bool] = everything
    share: int = 100
    lasts: timedelta | None = A_MINUTE

    def make_error(self) -> TemporaryError:
        """Make the error anew, as a client does for each request."""
        error = self.error or TemporaryError("one: it said nothing")
        made = TemporaryError(error.message, retry_after=error.retry_after, reason=error.reason)
        made.__cause__ = OSError(error.message) if self.broken else None
        return made


TROUBLES: Mapping[str, Trouble] = {
    "refuses connections": Trouble(TemporaryError("one: connection refused"), broken=True),
    "accepts, never answers": Trouble(
        TemporaryError("one: no answer within 10 s"), hangs=REQUEST, broken=True
    ),
    "reads, cannot write": Trouble(TemporaryError("one: 503: no leader"), concerns=writes),
    "30 % random 500": Trouble(TemporaryError("one: internal error"), share=30, lasts=None),
    "500": Trouble(TemporaryError("one: etcdserver: leader changed")),
    "429 with Retry-After": Trouble(TemporaryError("one: too many requests", retry_after=PATIENCE)),
    "silent watches": Trouble(None, concerns=watches, lasts=None),
    "watches end at once": Trouble(
        TemporaryError("one: connection reset"), broken=True, concerns=watches, lasts=None
    ),
}
CREDENTIAL_REFUSED = Trouble(
    TemporaryError(
        "one: the cluster refuses our credential", retry_after=A_MINUTE, reason="Credential"
    ),
    lasts=None,
)


class Ailing:
    """The trouble of a world's cluster.

    Args:
        world: The world.
        kind: Kind of the runs that it meets.
        trouble: What the server does.
        salt: Lots for a share of the requests are drawn anew with each.

    Attributes:
        failed: When each request that failed was sent, in virtual seconds, by place.
        passed: What a run of the kind was answered well: (method, name).
    """

    def __init__(self, world: World, kind: RunKind, trouble: Trouble, *, salt: int = 0) -> None:
        self.failed: dict[str, list[float]] = {}
        self.passed: list[tuple[str, str]] = []
        self._world = world
        self._kind = kind
        self._trouble = trouble
        self._current: Step | None = None
        self._asked = 0
        self._salt = salt
        self._last_look = LastLook.NONE

    def begin(self) -> None:
        """Begin with it."""
        self._world.store.observe = self._note
        self._world.cluster.before = self._hold
        self._world.cluster.fault = self._fail

    def end(self) -> None:
        """Be well again."""
        self._world.cluster.before = self._world.cluster.fault = None

    def has_met(self, place: str) -> bool:
        """Whether a request failed at a place."""
        return place in self.failed

    def pauses(self, place: str) -> list[float]:
        """Tell how long each burst of failed requests at a place was followed by none."""
        least = max(self._trouble.hangs.total_seconds(), 0.0) + 0.75
        gaps = [later - sooner for sooner, later in pairwise(self.failed[place])]
        return [gap for gap in gaps if gap > least]

    def is_ill(self, place: str) -> bool:
        """Whether the trouble is at a place now."""
        raise NotImplementedError

    def place_of(self, ref: ObjectRef | None) -> str:
        """Name the place that a request is made at; empty for none of the run's."""
        if self._current is None:
            return ""
        if self._current is Step.PREPARE:
            return "PreSync hook"
        if self._current is Step.VERIFY:
            check = ref is None or ref.key.kind == "Service"
            return Step.VERIFY.value if check else "PostSync hook"
        name = ref.key.name if ref is not None else ""
        hook = self._current is Step.APPLY and name == DURING
        return "Sync hook" if hook else self._current.value

    def _note(self, tx: Transaction) -> None:
        live = [run for run in tx.runs.live() if (run.kind, run.stage) == (self._kind, STAGING)]
        self._current = live[-1].step if live else None
        self._last_look = live[-1].last_look if live else LastLook.NONE

    def _meets(self, method: str, ref: ObjectRef | None) -> str:
        place = self.place_of(ref)
        return place if place and self._trouble.concerns(method) and self.is_ill(place) else ""

    async def _hold(self, method: str, ref: ObjectRef | None) -> None:
        place = self._meets(method, ref)
        if place and self._trouble.error is None:
            self.failed.setdefault(place, []).append(self._world.clock.monotonic())
            await self._world.clock.sleep(timedelta(days=1))
        elif place and self._trouble.hangs:
            await self._world.clock.sleep(self._trouble.hangs)

    def _fail(self, method: str, ref: ObjectRef | None) -> GitopsdError | None:
        place = self._meets(method, ref)
        if not place or self._is_spared():
            if self.place_of(ref):
                self.passed.append((method, ref.key.name if ref is not None else ""))
            return None
        hung = self._trouble.hangs.total_seconds()
        self.failed.setdefault(place, []).append(self._world.clock.monotonic() - hung)
        return self._trouble.make_error()

    def _is_spared(self) -> bool:
        """Draw lots, the same with each salt."""
        self._asked += 1
        lot = zlib.crc32(f"request {self._asked} {self._salt}".encode())
        return lot % 100 >= self._trouble.share


class Lasting(Ailing):
    """Trouble at one place, until it is ended.

    Args:
        world: The world.
        kind: Kind of the runs that it meets.
        place: Where.
        trouble: What the server does.
        after_look: Whether it begins only when a look there has said *not healthy*.
    """

    def __init__(
        self, world: World, kind: RunKind, place: str, trouble: Trouble, *, after_look: bool = False
    ) -> None:
        super().__init__(world, kind, trouble)
        self._place = place
        self._begun = not after_look

    def is_ill(self, place: str) -> bool:
        """Whether it is the place, and the time."""
        if place == self._place and self._last_look is LastLook.NOT_HEALTHY:
            self._begun = True
        return place == self._place and self._begun


@dataclass(slots=True)
class _Visit:
    """When trouble came to a place, and whether it is over there."""

    since: float
    over: bool = field(default=False)


class Rolling(Ailing):
    """Trouble that begins anew at each place of a run."""

    def __init__(self, world: World, kind: RunKind, trouble: Trouble, *, salt: int = 0) -> None:
        super().__init__(world, kind, trouble, salt=salt)
        self._visits: dict[str, _Visit] = {}

    def heal(self, place: str) -> None:
        """End it at a place."""
        self._visits[place].over = True

    def is_ill(self, place: str) -> bool:
        """Whether its time at a place is not over."""
        now = self._world.clock.monotonic()
        visit = self._visits.setdefault(place, _Visit(now))
        lasts = self._trouble.lasts
        over = lasts is not None and now - visit.since >= lasts.total_seconds()
        return not (over or visit.over)
