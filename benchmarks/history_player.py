"""One random history: everything that sources, people, clusters and clocks can do, at any moment.

What happens is drawn from a seed, so that a history can be played again. Outcomes come zero, one
or two times, and long after their command was replaced, as after crashes. From time to time a run
is told something out of place; what that leads to is judged and forgotten, so that the world never
holds what nobody decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import accumulate
from random import Random  # noqa: TID251 - a history is drawn from its seed, and can be drawn again
from typing import Final

from benchmarks.history_probes import ANYTHINGS, PlayedWorld, ask_what_is_rare
from benchmarks.history_rules import complain
from benchmarks.history_world import HistoryWorld
from gitopsd.domain.gates import Decision
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import CommandId, LastLook, Run, RunKind, Step
from tests.support.pipeline_state import PRODUCTION, STAGES, STAGING, Content

KEYS: Final = (STAGING, PRODUCTION)
LOOKS: Final = tuple(LastLook)
STEPS: Final = tuple(Step)
MINUTES: Final = (1, 1, 5, 11, 60, 60 * 25)
EVENTS_EACH: Final = 17
"""Events that a history has at least; the last thing that happens in it may be worth many."""


class Player:
    """Plays one history.

    Attributes:
        world: The world of the present one.
        most_live: Most runs that were live at the same time.
    """

    def __init__(self, world: HistoryWorld, seed: int) -> None:
        """Begin a history.

        Args:
            world: Its past; it is changed.
            seed: What happens.
        """
        self.world = world
        self.most_live = 0
        self._random = Random(seed)  # noqa: S311 - nothing is secret about a history

    def play(self, events: int) -> None:
        """Let things happen until the runs were told so many events.

        Raises:
            BrokenRuleError: A rule was broken.
        """
        world, draw = self.world, self._random.choices
        while world.events < events:
            for do in draw(_DEEDS, cum_weights=_WEIGHTS, k=4):
                do(self)
            self.most_live = max(self.most_live, len(world.live))
            self._ask_what_is_rare()

    # ---------------------------------------------------------------- sources

    def offer(self) -> None:
        """A new release is pushed."""
        self.world.offer(Content(self._number(3), self._number(3)))

    def rewind(self) -> None:
        """The branch is forced back to an older release."""
        if self.world.contents:
            self.world.offer_again(self._release())

    # ---------------------------------------------------------------- work and time

    def succeed(self) -> None:
        """A step succeeds."""
        run = self._worker()
        if run is not None:
            self.world.succeed(run)

    def succeed_twice(self) -> None:
        """A step's success is told twice."""
        run = self._worker()
        if run is not None:
            self.world.succeed(run)
            if not self.world.succeed(self.world.runs[run.id], run.command).ignored:
                complain(f"{run.id} succeeded twice in {run.step}")

    def go_on(self) -> None:
        """All work of a stage succeeds, up to a step."""
        self._bring(self._key(), self._random.choice(STEPS))

    def push_and_go_on(self) -> None:
        """A new release comes all the way to production's Gate, or beyond."""
        self.offer()
        self._bring(STAGING, None)
        self._bring(PRODUCTION, self._random.choice(STEPS))

    def wait(self) -> None:
        """A step goes on later; it may know by now how long it was promised."""
        run = self._worker()
        if run is None:
            return
        lasts = self._random.choice((None, None, None, timedelta(minutes=45)))
        look, failing = self._random.choice(LOOKS), self._number(4) == 0
        self.world.wait(run, look, failing=failing, lasts=lasts)

    def err(self) -> None:
        """A step could not find out."""
        run = self._worker()
        if run is not None:
            self.world.err(run, last=self._number(3) == 0)

    def lock_out(self) -> None:
        """The cluster refuses our credential; that is never a verdict."""
        run = self._worker()
        if run is not None:
            self.world.lock_out(run)

    def lock_out_and_abort(self) -> None:
        """The cluster refuses our credential for good, and a person ends what waits for it."""
        back = [run for run in self.world.live_runs() if run.kind is RunKind.ROLLBACK]
        run = self._random.choice(back) if back else self._worker()
        if run is not None:
            self.world.lock_out(run)
            self.world.abort(run.id)
            ask_what_is_rare(self.world, self.world.runs[run.id])

    def fail(self) -> None:
        """A step says no."""
        run = self._worker()
        if run is not None:
            self.world.fail(run, unwritten=self._number(2) == 0)

    def answer_late(self) -> None:
        """An outcome of a command that was replaced long ago changes nothing."""
        old = self.world.old_commands
        if not old:
            return
        run_id, command = old[self._number(len(old))]
        answer = self._random.choice((self.world.succeed, self.world.fail))
        if not answer(self.world.runs[run_id], command).ignored:
            complain(f"{run_id} believed a late answer to {command}")

    def pass_time(self) -> None:
        """Time passes."""
        self.world.pass_time(timedelta(minutes=self._random.choice(MINUTES)))

    def reach_deadline(self) -> None:
        """A run's time is over just now."""
        runs = [run for run in self.world.live_runs() if run.step_deadline is not None]
        if runs:
            deadline = self._random.choice(runs).step_deadline
            if deadline is not None and deadline > self.world.now:
                self.world.pass_time(deadline - self.world.now)

    # ---------------------------------------------------------------- people

    def vote(self) -> None:
        """A release manager votes on what stands at production's Gate."""
        run = self.world.next_of(PRODUCTION)
        if run is not None and run.step is Step.GATE:
            decision = Decision.REJECT if self._number(5) == 0 else Decision.APPROVE
            self.world.vote(PRODUCTION, decision)

    def suspend(self) -> None:
        """A stage is suspended."""
        self.world.suspend(self._key())

    def resume(self) -> None:
        """A stage is resumed."""
        key = self._key()
        stage = self.world.stages[key]
        if stage.suspended or stage.hold or stage.stall:
            self.world.resume(key)

    def promote(self) -> None:
        """A person asks for a release."""
        if self.world.contents:
            self.world.promote(self._key(), self._release())

    def freeze(self) -> None:
        """Somebody presses the stop button."""
        scope = self._random.choice(("*", f"stage:{PRODUCTION}"))
        minutes = self._random.choice((None, 5, 60 * 24))
        self.world.freeze(scope, timedelta(minutes=minutes) if minutes is not None else None)

    def thaw(self) -> None:
        """Somebody lets go of it."""
        if any(item.thawed_at is None for item in self.world.freezes):
            self.world.thaw()

    def lift(self) -> None:
        """A quarantine is lifted."""
        if self.world.quarantines:
            self.world.lift(self._number(len(self.world.quarantines)))

    def abort(self) -> None:
        """A run is aborted."""
        runs = self.world.live_runs()
        if runs:
            run = self._random.choice(runs)
            self.world.abort(run.id, restore=self._number(2) == 0)
            ask_what_is_rare(self.world, self.world.runs[run.id])

    def rollback(self) -> None:
        """A person rolls a stage back, or redirects the rollback under way."""
        self.world.rollback(self._key())

    def sync(self) -> None:
        """Drift is corrected."""
        self.world.sync(self._key())

    def watch_failure(self) -> None:
        """What was verified fails after all."""
        self.world.watch_failure(self._key(), 1 + self._number(3))

    def read_file(self) -> None:
        """Production leaves the application file, comes back, or is to be written elsewhere."""
        moved = replace(STAGES[1], namespace="shop-eu")
        staying = (STAGES, STAGES, (STAGES[0], moved), STAGES[:1])
        self.world.read_file(self._random.choice(staying))

    # ---------------------------------------------------------------- out of place

    def tell_anything(self) -> None:
        """Each live run, and one that has ended, is told what may be out of place there."""
        world, draw = self.world, self._random.choice
        for run in world.live_runs():
            make = draw(ANYTHINGS)
            world.ask(run, make(run, self._command(run), world))
        if world.runs:
            run = world.runs[draw(tuple(world.runs))]
            world.ask(run, draw(ANYTHINGS)(run, self._command(run), world))

    def _ask_what_is_rare(self) -> None:
        """Tell each live run, and the one that ended last, what runs in its place rarely hear."""
        for run in (*self.world.live_runs(), *list(self.world.runs.values())[-1:]):
            ask_what_is_rare(self.world, run)

    # ---------------------------------------------------------------- drawing

    def _bring(self, key: StageKey, until: Step | None) -> None:
        self.world.work(key, until)
        if key == PRODUCTION and until is not Step.GATE and self.world.vote(key):
            self.world.work(key, until)

    def _worker(self) -> Run | None:
        runs = [run for run in self.world.live_runs() if run.command and run.step is not Step.GATE]
        return self._random.choice(runs) if runs else None

    def _command(self, run: Run) -> CommandId:
        fresh = run.command is not None and self._number(2) == 0
        return run.command if fresh and run.command else CommandId("none")

    def _release(self) -> ReleaseId:
        return self._random.choice(tuple(self.world.contents))

    def _key(self) -> StageKey:
        return self._random.choice(KEYS)

    def _number(self, below: int) -> int:
        return int(self._random.random() * below)


_CHANCES: Final[Mapping[Callable[[Player], None], int]] = {
    Player.succeed: 30,
    Player.succeed_twice: 3,
    Player.go_on: 2,
    Player.push_and_go_on: 1,
    Player.wait: 10,
    Player.err: 6,
    Player.lock_out: 4,
    Player.lock_out_and_abort: 3,
    Player.fail: 6,
    Player.answer_late: 12,
    Player.pass_time: 5,
    Player.reach_deadline: 3,
    Player.offer: 5,
    Player.rewind: 1,
    Player.vote: 4,
    Player.suspend: 1,
    Player.resume: 5,
    Player.promote: 1,
    Player.freeze: 2,
    Player.thaw: 3,
    Player.lift: 1,
    Player.abort: 5,
    Player.rollback: 5,
    Player.sync: 5,
    Player.watch_failure: 4,
    Player.read_file: 2,
    Player.tell_anything: 50,
}
_DEEDS: Final = tuple(_CHANCES)
_WEIGHTS: Final = tuple(accumulate(_CHANCES.values()))


def make_pasts() -> tuple[HistoryWorld, ...]:
    """Make worlds in which an application already went through something.

    Nothing yet; up to three releases brought to production; and each step at which a release, or
    its rollback, can be met.
    """
    pasts: list[HistoryWorld] = [PlayedWorld()]
    pasts[0].hits.clear()
    for number in range(3):
        world = pasts[-1].fork()
        world.offer(Content(number % 2, number))
        _bring_all(world)
        pasts.append(world)
    settled = pasts[-1]
    for step in STEPS:
        world = settled.fork()
        world.offer(Content(5, 5))
        world.work(STAGING)
        world.work(PRODUCTION, step)
        if step not in _BEFORE_WRITING:
            world.vote(PRODUCTION)
            world.work(PRODUCTION, step)
        pasts.append(world)
        front = world.front_of(PRODUCTION)
        if front is None or front.kind is not RunKind.ROLLOUT:
            continue
        for until in _FRONT:
            back = world.fork()
            back.fail(front)
            back.work(PRODUCTION, until)
            pasts.append(back)
        break
    return tuple(pasts)


def find_broken(seeds: Iterable[int], events: int = EVENTS_EACH) -> int | None:
    """Tell how many histories it takes until one breaks a rule, or the world itself; None if none.

    That the past cannot be made at all is found by the first one.
    """
    played = 0
    try:
        pasts = make_pasts()
        for seed in seeds:
            played += 1
            Player(pasts[seed % len(pasts)].fork(), seed).play(events)
    except Exception:  # noqa: BLE001 - whatever goes wrong is a fault that was noticed
        return max(played, 1)
    return None


_BEFORE_WRITING = (Step.RENDER, Step.VALIDATE, Step.DIFF, Step.GATE)
_FRONT = tuple(step for step in STEPS if step not in _BEFORE_WRITING)


def _bring_all(world: HistoryWorld) -> None:
    world.work(STAGING)
    world.work(PRODUCTION)
    world.vote(PRODUCTION)
    world.work(PRODUCTION)
