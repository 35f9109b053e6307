"""The model world of the pipeline's tests, made fast enough for millions of events.

It decides nothing itself. A stage is reconsidered when something changed that its decisions read,
instead of each stage after each event, and a world can be forked, so that a history begins where
an application already has a past.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Self, TypeAlias

from benchmarks.history_rules import check_transition, complain
from benchmarks.history_stages import (
    check_chosen,
    check_freeze,
    check_leaving_gate,
    check_outbox,
    check_slots,
)
from gitopsd.domain.config import StageSpec
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import Phase, Run, RunId, RunKind, Step
from gitopsd.domain.stages import StageRendering
from gitopsd.domain.verifications import Verification
from gitopsd.pipeline.commands import Command, StartRollback
from gitopsd.pipeline.endings import Transition
from gitopsd.pipeline.events import Event, RollbackRequested
from gitopsd.pipeline.facts import SelectionFacts
from gitopsd.pipeline.machine import decide
from gitopsd.pipeline.table import is_closing
from tests.support.pipeline_state import PRODUCTION, SHOP, STAGING, State
from tests.support.pipeline_world import World

RunState: TypeAlias = tuple[str, str, bool]
"""Kind of run, where it stands, and whether it only waits for its work in flight."""
Situation: TypeAlias = tuple[str, str, bool, str]
"""Kind of run, where it stands, whether it only waits for its work in flight, and the event."""

_MOST_TURNS = 100


class HistoryWorld(World):
    """The world, with every event held against the rules at the moment it happens.

    Attributes:
        events: Events that its runs were told so far.
        hits: How often each situation arose; shared by all worlds forked from one.
        known: States in which everything was heard often enough; shared likewise.
        live: Runs that can still change.
    """

    def __init__(self) -> None:
        self.events = 0
        self.hits: Counter[Situation] = Counter()
        self.known: set[RunState] = set()
        self.live: dict[RunId, None] = {}
        self._specs: dict[StageKey, StageSpec] = {}
        self._last: dict[StageKey, dict[ReleaseId, RunId]] = {
            key: {} for key in (STAGING, PRODUCTION)
        }
        self._stale: set[StageKey] = set()
        self._depth = 0
        self._restored: set[RunId] = set()
        super().__init__()

    def fork(self) -> Self:
        """Make a world with the same past; what is stored are values, so lists are copied only."""
        made = object.__new__(type(self))
        for field in _STORED:
            value = getattr(self, field)
            setattr(made, field, value.copy() if isinstance(value, dict | list) else value)
        made.log = []
        made.events = 0
        made.hits = self.hits
        made.known = self.known
        made.live = self.live.copy()
        made._specs = self._specs
        made._last = {key: last.copy() for key, last in self._last.items()}
        made._stale = set()
        made._depth = 0
        made._restored = self._restored.copy()
        return made

    def ask(self, run: Run, event: Event) -> Transition:
        """Tell what an event would do to a run, by the rules, and forget it."""
        self._count(run, event)
        transition = decide(run, event)
        check_transition(run, event, transition)
        return transition

    def read_file(self, stages: tuple[StageSpec, ...]) -> None:
        """A valid application file is there."""
        self._specs = {StageKey(SHOP, spec.name): spec for spec in stages}
        super().read_file(stages)

    def spec_of(self, key: StageKey) -> StageSpec | None:
        """The stage as configured now."""
        return self._specs.get(key)

    def running(self, key: StageKey) -> Verification | None:
        """The newest verification that stands for where the stage writes now."""
        place = self.stages[key].destination if key in self._specs else None
        for item in reversed(self.verifications):
            if item.stage == key and item.revoked_at is None and item.destination == place:
                return item
        return None

    def last_rollouts(self, key: StageKey) -> Mapping[ReleaseId, Run]:
        """Each release's last Rollout in the stage."""
        return _LastRuns(self._last[key], self.runs)

    def selection_facts(self, key: StageKey) -> SelectionFacts:
        """What the choice for *next* is made from; large parts are looked up when asked for."""
        running, stage = self.running(key), self.stages[key]
        spec = self._specs.get(key)
        waiting = self.runs[stage.next] if stage.next is not None else None
        return SelectionFacts(
            now=self.now,
            stage=stage,
            spec=spec,
            offers=tuple(reversed(self.offers)),
            upstream={STAGING.stage: self._verified()} if spec is not None and spec.after else {},
            renderings=_Renderings(key, self.renderings),
            quarantines=self.held(key) if self.quarantines else (),
            running=running.release if running is not None else None,
            running_rendered=running.rendered if running is not None else None,
            last_runs=self.last_rollouts(key),
            next_run=waiting,
            next_votes=tuple(vote for vote in self.votes if vote.run == stage.next),
            front_run=self.runs[stage.front] if stage.front is not None else None,
        )

    def _verified(self) -> frozenset[ReleaseId]:
        return frozenset(
            item.release
            for item in self.verifications
            if item.stage == STAGING and item.revoked_at is None
        )

    def live_runs(self) -> list[Run]:
        """Every run that can still change."""
        return [self.runs[run] for run in self.live]

    def create(
        self, key: StageKey, release: ReleaseId, kind: RunKind, rendered: Digest | None = None
    ) -> Run:
        """Makes a Pending run under the newest file."""
        run = super().create(key, release, kind, rendered)
        self.live[run.id] = None
        if kind is RunKind.ROLLOUT:
            self._last[key][release] = run.id
        return run

    def do(self, run: Run, command: Command) -> None:
        """Does one command of a transition; a failure is restored once."""
        if isinstance(command, StartRollback) and run.id:
            if run.id in self._restored:
                complain(f"{run.id} starts a second rollback")
            self._restored.add(run.id)
        super().do(run, command)

    def start_rollback(self, key: StageKey, command: StartRollback, number: int) -> None:
        """Puts a Rollback into *front*."""
        if not command.run:
            check_chosen(self, key, command.target)
        super().start_rollback(key, command, number)

    def apply(self, run_id: RunId, event: Event) -> Transition:
        """Stores what an event does, and reconsiders the stages that it means something to."""
        transition = self._advance(run_id, event)
        if not transition.ignored:
            self._settle_stale()
        return transition

    def settle(self) -> None:
        """Reconsiders every stage."""
        self._stale.update(self.stages)
        self._settle_stale()

    def _settle_stale(self) -> None:
        for _ in range(_MOST_TURNS):
            if not self._stale:
                return
            key = self._stale.pop()
            if self._reconsider(key):
                self._stale.add(key)
        complain("the stages do not settle")

    def _advance(self, run_id: RunId, event: Event) -> Transition:
        before = self.runs[run_id]
        self._count(before, event)
        if isinstance(event, RollbackRequested):
            check_chosen(self, before.stage, event.target)
        self._depth += 1
        front = self.stages[before.stage].front
        transition = super()._advance(run_id, event)
        self._depth -= 1
        check_transition(before, event, transition)
        if transition.ignored:
            return transition
        after = transition.run
        if after.phase.terminal:
            self.live.pop(after.id, None)
            self._stale.add(after.stage)
            if after.phase is Phase.SUCCEEDED:
                self._stale.add(PRODUCTION)
        elif self._means_something(before, after):
            self._stale.add(after.stage)
        if after.step is not before.step:
            self._check_step(before, after, front)
        if not self._depth:
            check_slots(self, self.live)
            check_outbox(self, self.live)
        return transition

    def _means_something(self, before: Run, after: Run) -> bool:
        """Whether what a stage takes, or lets through its Gate, can depend on such a change."""
        waiting = self.stages[after.stage].next
        if waiting == after.id:
            return after.step is Step.GATE or before.step is Step.RENDER
        return waiting is not None and self.runs[waiting].step is Step.GATE

    def _check_step(self, before: Run, after: Run, front: RunId | None) -> None:
        if before.step is Step.GATE and after.step is Step.PREPARE:
            check_leaving_gate(self, after, front)
        begins = after.step is Step.PREPARE or after.step is Step.APPLY
        begins = begins and after.kind is RunKind.ROLLOUT
        if begins and self.freezes and self.spec_of(after.stage) is not None:
            check_freeze(self, after, after.stage)

    def _count(self, run: Run, event: Event) -> None:
        self.events += 1
        self.hits[situation_of(run, type(event))] += 1


_STORED = tuple(field.name for field in fields(State) if field.name != "log")


class _LastRuns(Mapping[ReleaseId, Run]):
    """A stage's last Rollouts, each looked up when it is asked for."""

    def __init__(self, last: Mapping[ReleaseId, RunId], runs: Mapping[RunId, Run]) -> None:
        self._last = last
        self._runs = runs

    def __getitem__(self, release: ReleaseId) -> Run:
        return self._runs[self._last[release]]

    def __iter__(self) -> Iterator[ReleaseId]:
        return iter(self._last)

    def __len__(self) -> int:
        return len(self._last)


class _Renderings(Mapping[ReleaseId, StageRendering]):
    """What releases rendered to in one stage, each looked up when it is asked for."""

    def __init__(
        self, key: StageKey, known: Mapping[tuple[StageKey, ReleaseId], StageRendering]
    ) -> None:
        self._key = key
        self._known = known

    def __getitem__(self, release: ReleaseId) -> StageRendering:
        return self._known[self._key, release]

    def __iter__(self) -> Iterator[ReleaseId]:
        return (release for key, release in self._known if key == self._key)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def situation_of(run: Run, event: type[Event]) -> Situation:
    """Name a run's state and an event."""
    return *state_of(run), event.__name__


def state_of(run: Run) -> RunState:
    """Name a run's state: its kind, where it stands, whether it only waits for its last report."""
    # `_value_` is what `.value` looks up; this is read for every event.
    if run.phase is not Phase.RUNNING or run.step is None:
        return run.kind._value_, run.phase._value_, False
    return run.kind._value_, run.step._value_, is_closing(run)
