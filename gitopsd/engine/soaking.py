"""Looks at stages while a run of another stage waits for what they were seen to hold.

Nothing is looked at for a soak that no run waits for: idle costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gitopsd.domain.config import Configuration
from gitopsd.domain.gate_specs import SoakGate
from gitopsd.domain.manifests import Health
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import Step
from gitopsd.domain.stages import Soak
from gitopsd.domain.work import WorkItem
from gitopsd.engine.admission import settle
from gitopsd.engine.dependency_facts import find_dependents
from gitopsd.engine.observation import observe
from gitopsd.engine.services import Services
from gitopsd.engine.slots import parse_stage_key
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.store_ports import Transaction

CALM = 3
"""What has soaked in full is still looked at, so many times less often: a failure counts."""

SOON = timedelta(seconds=1)
"""Looks are never closer to each other than this."""


@dataclass(frozen=True, slots=True)
class _Scene:
    """A stage, and who waits for it.

    Attributes:
        waiting: Stage whose run stands at its Gate -> how long it wants this one to be healthy.
        looked_at: When this stage was last looked at.
        health: What that look saw; None before the first.
        soak: How long it was seen healthy with what it runs; None when it runs nothing verified.
    """

    waiting: Mapping[StageKey, timedelta]
    looked_at: datetime | None
    health: Health | None
    soak: Soak | None

    @property
    def failed(self) -> str:
        """What the last definite failure was."""
        return self.soak.failed if self.soak is not None else ""

    @property
    def news(self) -> object:
        """What those who wait are asked again for."""
        return self.failed, self.unsatisfied, self.health

    @property
    def unsatisfied(self) -> frozenset[StageKey]:
        """Who waits for more time."""
        reached = self.soak.accumulated if self.soak is not None else timedelta(0)
        return frozenset(key for key, wanted in self.waiting.items() if reached < wanted)

    @property
    def next_satisfied_at(self) -> datetime | None:
        """When the first of them has waited for long enough; None while nothing counts."""
        if self.soak is None or self.soak.healthy_at is None or not self.unsatisfied:
            return None
        shortest = min(self.waiting[key] for key in self.unsatisfied)
        return self.soak.healthy_at + shortest - self.soak.accumulated


async def soak_look(services: Services, item: WorkItem) -> timedelta | None:
    """Look once at a stage that another one's run waits for.

    Returns when to look again; None when no run waits any more. Safe to repeat: it only looks, and
    a look counts by the time at which it was made.
    """
    key = parse_stage_key(item.subject)
    configuration = services.configuration()
    before = await services.store.read(lambda tx: _load(tx, key, configuration))
    if not before.waiting:
        return None
    now, pace = services.clock.now(), services.pace.watch
    recent = before.looked_at is not None and now - before.looked_at < pace / 2
    if not recent or _is_due(before, now):
        await observe(services, key)

    def follow(tx: Transaction) -> _Scene:
        after = _load(tx, key, configuration)
        if after.news != before.news:
            settle(tx, sorted(after.waiting), configuration)
        return after

    after = await retry_conflicts(services.store, follow)
    await services.doorbell.ring()
    due = after.next_satisfied_at
    if due is not None:
        return min(pace, max(due - services.clock.now(), SOON))
    return pace if after.unsatisfied else CALM * pace


def _is_due(scene: _Scene, now: datetime) -> bool:
    """Tell whether one more healthy look is all that somebody waits for."""
    return scene.next_satisfied_at is not None and now >= scene.next_satisfied_at


def _load(tx: Transaction, key: StageKey, config: Configuration) -> _Scene:
    stage = tx.stages.get(key)
    if stage is None or stage.verified is None:
        return _Scene({}, None, None, None)
    soak = next((one for one in stage.soaks if one.verification == stage.verified), None)
    seen = stage.observation
    return _Scene(
        _find_waiting(tx, key, config),
        seen.at if seen is not None else None,
        seen.health if seen is not None else None,
        soak,
    )


def _find_waiting(
    tx: Transaction, key: StageKey, config: Configuration
) -> Mapping[StageKey, timedelta]:
    application = tx.specs.current(key.application)
    waiting: dict[StageKey, timedelta] = {}
    for spec in application.stages if application is not None else ():
        wanted = [
            gate.duration
            for gate in spec.gates
            if isinstance(gate, SoakGate) and gate.stage == key.stage
        ]
        below = StageKey(key.application, spec.name)
        if wanted and _stands_at_gate(tx, below):
            waiting[below] = max(wanted)
    for below, gate in find_dependents(config, key):
        if gate.healthy and _stands_at_gate(tx, below):
            waiting.setdefault(below, timedelta(0))
    return waiting


def _stands_at_gate(tx: Transaction, key: StageKey) -> bool:
    stage = tx.stages.get(key)
    run = tx.runs.get(stage.next) if stage is not None and stage.next is not None else None
    return run is not None and run.live and run.step is Step.GATE
