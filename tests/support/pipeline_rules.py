"""Random histories of the model world, held against what must always be true.

`PipelineRules` is a Hypothesis state machine: each rule is one thing that sources, people, the
cluster or the clock can do, at any moment and as often as they like. Outcomes come zero, one or two
times, and long after their command was replaced, as after crashes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from gitopsd.domain.gates import Decision
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import LastLook, Phase, Run, RunId, RunKind, Step
from gitopsd.pipeline.commands import ExecuteStep, RecordVerified, StartRollback, StoreQuarantine
from gitopsd.pipeline.endings import Transition
from gitopsd.pipeline.events import DeadlineReached, Event, RollbackRequested
from gitopsd.pipeline.quarantine import is_quarantined
from gitopsd.pipeline.steps import NEXT_STEPS, timeout_of
from tests.support.pipeline_state import PRODUCTION, STAGES, STAGING, Content
from tests.support.pipeline_world import World

_KEYS = st.sampled_from([STAGING, PRODUCTION])
_STEPS = st.sampled_from(Step)
_NOTHING = timedelta(0)
_NUMBERS = st.integers(0, 2**16)
_CONTENTS = st.builds(Content, st.integers(0, 2), st.integers(0, 2))


class CheckedWorld(World):
    """The model world, checking every transition at the moment it is stored."""

    def _advance(self, run_id: RunId, event: Event) -> Transition:
        before = self.runs[run_id]
        transition = super()._advance(run_id, event)
        check_transition(before, event, transition)
        after = transition.run
        entered = after.step is Step.PREPARE and before.step is Step.GATE
        if entered:
            self._check_leaving_gate(after)
        begins = entered or (after.step is Step.APPLY and before.step is Step.PREPARE)
        if begins and after.kind is RunKind.ROLLOUT and self.spec_of(after.stage) is not None:
            assert not self.frozen(after.stage), "it began while it was frozen"
        late = before.clock_stopped_at is not None and isinstance(event, DeadlineReached)
        assert not late or transition.ignored, "it expired while it was frozen"
        return transition

    def _check_leaving_gate(self, run: Run) -> None:
        content = self.contents[run.release]
        applied = self.stages[run.stage].applied
        base = applied.rendered if applied is not None else None
        assert run.plan_base == base, "planned against another set"
        assert not is_quarantined(content.digest, content.images, self.held(run.stage))
        stall = self.stages[run.stage].stall
        assert stall is None or not stall.reason.closes_gates
        if run.stage != PRODUCTION:
            return
        verified = [
            item
            for item in self.verifications
            if item.stage == STAGING and item.release == run.release and item.revoked_at is None
        ]
        assert verified, "promoted without a verification upstream"
        votes = [
            vote
            for vote in self.votes
            if vote.run == run.id and vote.plan == run.plan and vote.decision is Decision.APPROVE
        ]
        assert votes or run.plan_empty, "production without an approval of this plan"


def check_transition(before: Run, event: Event, transition: Transition) -> None:
    """Holds one transition against what is true of all."""
    after, commands = transition.run, transition.commands
    if transition.ignored:
        assert after is before
        assert commands == ()
        return
    assert before.live, "a terminal run changed"
    assert after.version == before.version + 1
    assert after.live == (after.ended_at is None)
    executes = [command for command in commands if isinstance(command, ExecuteStep)]
    assert len(executes) <= 1
    if executes:
        assert executes[0].id == after.command
        assert executes[0].step is after.step
    assert after.live or (after.command is None and not executes)
    assert after.phase is not Phase.RUNNING or after.step_deadline is not None
    for command in commands:
        match command:
            case StoreQuarantine():
                assert after.phase is Phase.FAILED
                assert after.kind is RunKind.ROLLOUT
            case RecordVerified():
                assert after.phase is Phase.SUCCEEDED
                assert before.step in (Step.CERTIFY, Step.DIFF)
            case StartRollback():
                _check_rollback(before, event, after, command)
            case _:
                pass


def _check_rollback(before: Run, event: Event, after: Run, command: StartRollback) -> None:
    redirected = before.redirect is not None or isinstance(event, RollbackRequested)
    if after.kind is RunKind.ROLLBACK:
        assert redirected or (command.again and after.phase is Phase.ERRORED)
        return
    assert before.mutated
    assert after.mutated
    if not (redirected and after.kind is RunKind.SYNC):  # a person may restore what a Sync brings
        assert command.target.rendered != after.rendered
    wanted = after.aborting or redirected
    assert after.phase is Phase.FAILED or (after.phase is Phase.ABORTED and wanted)


class PipelineRules(RuleBasedStateMachine):
    """Everything that can happen to two stages of one application."""

    def __init__(self) -> None:
        super().__init__()
        self.world = CheckedWorld()

    @initialize(releases=st.integers(0, 3))
    def establish(self, releases: int) -> None:
        """Some releases were brought to production before."""
        for number in range(releases):
            self.world.offer(Content(number % 2, number))
            self._bring(STAGING)
            self._bring(PRODUCTION)

    # ---------------------------------------------------------------- sources

    @rule(content=_CONTENTS)
    def offer(self, content: Content) -> None:
        """A new release is pushed."""
        self.world.offer(content)

    @precondition(lambda self: self.world.contents)
    @rule(number=_NUMBERS)
    def rewind(self, number: int) -> None:
        """The branch is forced back to an older release."""
        self.world.offer_again(self._release(number))

    # ---------------------------------------------------------------- work and time

    @precondition(lambda self: self._working())
    @rule(number=_NUMBERS, twice=st.booleans())
    def succeed(self, number: int, twice: bool) -> None:
        """A step succeeds; its outcome may come twice."""
        run = self._worker(number)
        command = run.command
        self.world.succeed(run)
        if twice:
            assert self.world.succeed(self.world.runs[run.id], command).ignored

    @rule(key=_KEYS, until=_STEPS)
    def go_on(self, key: StageKey, until: Step) -> None:
        """All work of a stage succeeds, up to a step."""
        self._bring(key, until)

    @rule(key=_KEYS)
    def bring(self, key: StageKey) -> None:
        """All work of a stage succeeds."""
        self._bring(key)

    @rule(key=_KEYS, content=_CONTENTS, until=_STEPS)
    def push_and_go_on(self, key: StageKey, content: Content, until: Step) -> None:
        """A new release comes a long way at once."""
        self.world.offer(content)
        self._bring(STAGING, None if key == PRODUCTION else until)
        self._bring(key, until)

    @precondition(lambda self: self._working())
    @rule(
        number=_NUMBERS,
        look=st.sampled_from(LastLook),
        failing=st.booleans(),
        minutes=st.sampled_from([None, 1, 45]),
    )
    def wait(self, number: int, look: LastLook, failing: bool, minutes: int | None) -> None:
        """A step goes on later, and may know what it was promised; that is given once."""
        run = self._worker(number)
        lasts = timedelta(minutes=minutes) if minutes is not None else None
        after = self.world.wait(run, look, failing=failing, lasts=lasts).run
        if after.live and run.step_deadline is not None and after.step_deadline is not None:
            more = max((lasts or _NOTHING) - timeout_of(run, after.step or Step.APPLY), _NOTHING)
            assert after.step_deadline == run.step_deadline + more

    @precondition(lambda self: self._working())
    @rule(number=_NUMBERS, last=st.booleans())
    def err(self, number: int, last: bool) -> None:
        """A step could not find out."""
        self.world.err(self._worker(number), last=last)

    @precondition(lambda self: self._working())
    @rule(number=_NUMBERS)
    def lock_out(self, number: int) -> None:
        """A step is refused; it keeps at least the time that it had left."""
        run = self._worker(number)
        after = self.world.lock_out(run).run
        assert after.phase is not Phase.FAILED
        if after.live and run.step_deadline is not None and after.step_deadline is not None:
            assert after.step_deadline >= run.step_deadline

    @precondition(lambda self: self._working())
    @rule(number=_NUMBERS, unwritten=st.booleans())
    def fail(self, number: int, unwritten: bool) -> None:
        """A step says no; Prepare may know that nothing was written, which nobody undoes."""
        run, begun = self._worker(number), len(self.world.rollbacks)
        after = self.world.fail(run, unwritten=unwritten).run
        if unwritten and run.step is Step.PREPARE and after.phase is Phase.FAILED:
            assert not after.mutated
            assert len(self.world.rollbacks) == begun

    @precondition(lambda self: self.world.old_commands)
    @rule(number=_NUMBERS, which=st.integers(0, 2))
    def answer_late(self, number: int, which: int) -> None:
        """An outcome of a command that was replaced long ago changes nothing."""
        run_id, command = self.world.old_commands[number % len(self.world.old_commands)]
        run = self.world.runs[run_id]
        answer = (self.world.succeed, self.world.fail, self._err_late)[which]
        assert answer(run, command).ignored

    @rule(minutes=st.sampled_from([1, 5, 11, 60, 60 * 25]))
    def pass_time(self, minutes: int) -> None:
        """Time passes."""
        self.world.pass_time(timedelta(minutes=minutes))

    # ---------------------------------------------------------------- people

    @rule(decision=st.sampled_from([Decision.APPROVE, Decision.APPROVE, Decision.REJECT]))
    def vote(self, decision: Decision) -> None:
        """A release manager votes on what stands at production's Gate."""
        self.world.vote(PRODUCTION, decision)

    @rule(key=_KEYS)
    def suspend(self, key: StageKey) -> None:
        """A stage is suspended."""
        self.world.suspend(key)

    @rule(key=_KEYS)
    def resume(self, key: StageKey) -> None:
        """A stage is resumed."""
        self.world.resume(key)

    @precondition(lambda self: self.world.contents)
    @rule(key=_KEYS, number=_NUMBERS)
    def promote(self, key: StageKey, number: int) -> None:
        """A person asks for a release."""
        self.world.promote(key, self._release(number))

    @rule(
        scope=st.sampled_from(["*", f"stage:{PRODUCTION}"]),
        minutes=st.sampled_from([None, 5, 60 * 24]),
    )
    def freeze(self, scope: str, minutes: int | None) -> None:
        """Somebody presses the stop button."""
        lasts = timedelta(minutes=minutes) if minutes is not None else None
        self.world.freeze(scope, lasts)

    @rule()
    def thaw(self) -> None:
        """Somebody lets go of it."""
        self.world.thaw()

    @precondition(lambda self: self.world.quarantines)
    @rule(number=_NUMBERS)
    def lift(self, number: int) -> None:
        """A quarantine is lifted."""
        self.world.lift(number % len(self.world.quarantines))

    @precondition(lambda self: self.world.live_runs())
    @rule(number=_NUMBERS, restore=st.booleans())
    def abort(self, number: int, restore: bool) -> None:
        """A run is aborted."""
        runs = self.world.live_runs()
        self.world.abort(runs[number % len(runs)].id, restore=restore)

    @rule(key=_KEYS)
    def rollback(self, key: StageKey) -> None:
        """A person rolls a stage back, or redirects what is under way."""
        self.world.rollback(key)

    @rule(key=_KEYS)
    def sync(self, key: StageKey) -> None:
        """Drift is corrected."""
        self.world.sync(key)

    @rule(key=_KEYS, together=st.integers(1, 3))
    def watch_failure(self, key: StageKey, together: int) -> None:
        """What was verified fails after all."""
        self.world.watch_failure(key, together)

    @rule(known=st.integers(1, 2))
    def read_file(self, known: int) -> None:
        """Production leaves the application file, or comes back."""
        self.world.read_file(STAGES[:known])

    @rule(namespace=st.sampled_from(["shop", "shop-eu"]))
    def move(self, namespace: str) -> None:
        """Production is to be written to another namespace from now on."""
        self.world.read_file((STAGES[0], replace(STAGES[1], namespace=namespace)))

    # ---------------------------------------------------------------- what is always true

    @invariant()
    def slots_hold_what_they_may(self) -> None:
        """A stage has one run that may write, one Rollout before its Gate, and no other."""
        for key, stage in self.world.stages.items():
            live = [run for run in self.world.live_runs() if run.stage == key]
            waiting = [run.id for run in live if _is_waiting(run)]
            writing = [run.id for run in live if not _is_waiting(run)]
            assert waiting == ([stage.next] if stage.next is not None else [])
            assert writing == ([stage.front] if stage.front is not None else [])

    @invariant()
    def the_outbox_holds_what_is_outstanding(self) -> None:
        """Each running run has exactly its one command in the outbox."""
        outstanding = {run.command for run in self.world.live_runs() if run.command is not None}
        assert set(self.world.outbox) == outstanding

    @invariant()
    def one_failure_is_restored_once(self) -> None:
        """No run starts a second rollback, and two within an hour stall the stage."""
        started = [run for run, _ in self.world.rollbacks if run]
        assert len(started) == len(set(started))

    def teardown(self) -> None:
        """Once all is well again, the next push reaches production."""
        world = self.world
        world.read_file(STAGES)
        world.thaw()
        fix = world.offer(Content(99, 99))
        for number in range(60):
            for key in (STAGING, PRODUCTION):
                world.resume(key)
                world.work(key)
            world.vote(PRODUCTION)
            # A vote keeps what it was given for at its Gate until that expires.
            world.pass_time(timedelta(days=8) if number == 30 else timedelta(minutes=11))
            running = world.running(PRODUCTION)
            if running is not None and running.release == fix:
                return
        raise AssertionError(f"{fix} does not reach production: {world.stages}")

    def _bring(self, key: StageKey, until: Step | None = None) -> None:
        self.world.work(key, until)
        if key == PRODUCTION and until is not Step.GATE and self.world.vote(key):
            self.world.work(key, until)

    def _working(self) -> list[Run]:
        return [run for run in self.world.live_runs() if run.command and run.step is not Step.GATE]

    def _worker(self, number: int) -> Run:
        runs = self._working()
        return runs[number % len(runs)]

    def _release(self, number: int) -> ReleaseId:
        releases = list(self.world.contents)
        return releases[number % len(releases)]

    def _err_late(self, run: Run, command: str) -> Transition:
        old = next(item for _, item in self.world.old_commands if item == command)
        return self.world.err(run, command=old)


def _is_waiting(run: Run) -> bool:
    pending = run.phase is Phase.PENDING
    return run.kind is RunKind.ROLLOUT and (pending or run.step in NEXT_STEPS)
