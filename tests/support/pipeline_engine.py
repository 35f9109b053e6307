"""The engine in small: stores transitions, does commands, fills slots, opens gates."""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.config import StageSpec
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import (
    ReleaseId,
    StageKey,
)
from gitopsd.domain.runs import (
    AbortReason,
    Phase,
    Run,
    RunId,
    RunKind,
    Step,
)
from gitopsd.domain.stages import AppliedSet, Stage, Stall
from gitopsd.domain.verifications import (
    RestoreTarget,
    StallReason,
    Verification,
    VerificationId,
)
from gitopsd.pipeline.apply_hold import has_clock_stopped
from gitopsd.pipeline.commands import (
    AgreeInGit,
    Command,
    ExecuteStep,
    MarkStalled,
    Notify,
    Reconsider,
    RecordVerified,
    StartRollback,
    StoreQuarantine,
)
from gitopsd.pipeline.events import (
    AbortRequested,
    AppliedChanged,
    ApprovalComplete,
    ClockStarted,
    ClockStopped,
    Event,
    GateRefused,
    RunAdmitted,
    StepSucceeded,
    Superseded,
)
from gitopsd.pipeline.gates import (
    all_open,
    evaluate_gates,
    first_refusal,
    is_plan_current,
    lacks_approval,
)
from gitopsd.pipeline.machine import Transition, decide
from gitopsd.pipeline.quarantine import compute_quarantine
from gitopsd.pipeline.rollback import (
    choose_restore,
    detect_loop,
)
from gitopsd.pipeline.selection import compute_handover, count_superseded, select
from gitopsd.pipeline.steps import NEXT_STEPS, timeouts_for
from tests.support.pipeline_state import State, destination_of


class Engine(State):
    """Moves runs on, inside one imagined transaction a call."""

    def apply(self, run_id: RunId, event: Event) -> Transition:
        """Stores what an event does, all that follows from it, and settles the stages."""
        transition = self._advance(run_id, event)
        if not transition.ignored:
            self.settle()
        return transition

    def settle(self) -> None:
        """Fills slots and opens gates until nothing more follows."""
        for _ in range(100):
            moved = [self._reconsider(key) for key in tuple(self.stages)]
            if not any(moved):
                return
        raise AssertionError("the stages do not settle")

    def _advance(self, run_id: RunId, event: Event) -> Transition:
        before = self.runs[run_id]
        transition = decide(before, event)
        self.log.append((before, event, transition))
        after = transition.run
        self.runs[run_id] = after
        if transition.ignored:
            return transition
        if before.command is not None and before.command != after.command:
            self.outbox.pop(before.command, None)
            self.old_commands.append((run_id, before.command))
        self._move(before, after)
        for command in transition.commands:
            self.do(after, command)
        return transition

    def _move(self, before: Run, after: Run) -> None:
        stage = self.stages[after.stage]
        waiting = stage.next
        if after.live and after.step not in NEXT_STEPS and stage.next == after.id:
            stage = replace(stage, next=None, front=after.id)
        if after.live and after.step is Step.APPLY and before.step is not Step.APPLY:
            assert after.rendered is not None
            same = stage.applied is not None and stage.applied.rendered == after.rendered
            applied = AppliedSet(after.release, after.rendered, after.id, self.now)
            stage = replace(stage, applied=applied, verified=stage.verified if same else None)
        if not after.live:
            stage = self._vacate(stage, after)
        self.put(stage)
        if waiting is None or waiting == after.id or _applies(before) == _applies(after):
            return
        if after.live or after.superseded_by != waiting:
            self._advance(waiting, AppliedChanged(self.now))

    def _vacate(self, stage: Stage, ended: Run) -> Stage:
        if stage.front == ended.id:
            stage = replace(stage, front=None)
        if stage.next == ended.id:
            stage = replace(stage, next=None)
        overdue = ended.failure is not None and ended.failure.reason == AbortReason.OVERDUE.value
        tried_again = ended.phase is Phase.ERRORED or overdue
        if stage.requested == ended.release and not tried_again:
            stage = replace(stage, requested=None)
        if ended.kind is RunKind.ROLLOUT:
            count = count_superseded(stage.superseded_waiting, ended)
            stage = replace(stage, superseded_waiting=count)
        mild = stage.stall is not None and not stage.stall.reason.closes_gates
        return replace(stage, stall=None) if ended.phase is Phase.SUCCEEDED and mild else stage

    def do(self, run: Run, command: Command) -> None:
        """Does one command of a transition."""
        match command:
            case ExecuteStep():
                self.outbox[command.id] = command
            case RecordVerified():
                self._record(run)
            case StoreQuarantine():
                self._quarantine(run, command.reason)
            case StartRollback():
                self.rollbacks.append((run.id, command))
                number = run.attempt_number + 1 if command.again else 1
                self.start_rollback(run.stage, command, number)
            case MarkStalled():
                self._stall(run, command.reason, command.message)
            case Notify():
                self.told.append(command)
            case Reconsider() | AgreeInGit():
                pass  # the model reconsiders every stage after every event

    def _record(self, run: Run) -> None:
        spec = self.files[run.spec].stage(run.stage.stage)
        assert run.rendered is not None
        assert spec is not None
        verification = Verification(
            id=VerificationId(f"v-{run.id}"),
            stage=run.stage,
            release=run.release,
            rendered=run.rendered,
            destination=destination_of(spec),
            spec=run.spec,
            recorded_at=self.now,
            sequence=len(self.verifications) + 1,
            restore=run.restore_target,
        )
        self.verifications.append(verification)
        self.put(replace(self.stages[run.stage], verified=verification.id))

    def _quarantine(self, run: Run, reason: str) -> None:
        target = run.restore_target
        restored = None
        if target is not None:
            restored = self.contents[target.release].rendered
        failed = self.contents[run.release].rendered
        found = compute_quarantine(run, reason, self.now, failed=failed, restored=restored)
        if found is not None:
            self.quarantines.append(found)

    def _stall(self, run: Run, reason: StallReason, message: str) -> None:
        stage = self.stages[run.stage]
        if stage.stall is None or reason.closes_gates or not stage.stall.reason.closes_gates:
            self.put(replace(stage, stall=Stall(reason, message, self.now, run.id)))

    def start_rollback(self, key: StageKey, command: StartRollback, number: int) -> None:
        """Puts a Rollback into *front*, which is free."""
        target = command.target
        run = self.create(key, target.release, RunKind.ROLLBACK, rendered=target.rendered)
        run = replace(
            run,
            spec=target.spec,
            restore_target=target,
            requested_by=command.requested_by,
            attempt_number=number,
        )
        self.runs[run.id] = run
        self.put(replace(self.stages[key], front=run.id))
        if (
            not command.requested_by
            and not command.again
            and detect_loop(self.recent_rollbacks(key))
        ):
            self._stall(run, StallReason.ROLLBACK_LOOP, "back and forth")
        if command.delay:
            self.waiting_for_time[run.id] = self.now + command.delay
        else:
            self.admit(run)

    def create(
        self, key: StageKey, release: ReleaseId, kind: RunKind, rendered: Digest | None = None
    ) -> Run:
        """Makes a Pending run under the newest file."""
        assert self.file is not None
        run = Run(
            RunId(f"run-{len(self.runs) + 1}"),
            key,
            release,
            kind,
            created_at=self.now,
            spec=self.file.revision,
            rendered=rendered,
        )
        self.runs[run.id] = run
        return run

    def admit(self, run: Run) -> None:
        """Lets a Pending run begin."""
        spec = self.files[run.spec].stage(run.stage.stage)
        assert spec is not None
        self._advance(run.id, RunAdmitted(self.now, timeouts_for(spec, run.kind)))

    def _reconsider(self, key: StageKey) -> bool:
        front = self.front_of(key)
        pending = front is not None and front.phase is Phase.PENDING
        if front is not None and pending and self.now >= self.waiting_for_time[front.id]:
            self.admit(front)
            return True
        if self._fill_next(key):
            return True
        waiting, spec = self.next_of(key), self.spec_of(key)
        if waiting is None or spec is None:
            return False
        if waiting.step is Step.GATE and not is_plan_current(waiting, self.stages[key]):
            return not self._advance(waiting.id, AppliedChanged(self.now)).ignored
        return waiting.step is Step.GATE and self._try_gate(waiting, spec)

    def _fill_next(self, key: StageKey) -> bool:
        waiting = self.next_of(key)
        choice = select(self.selection_facts(key))
        if choice.end_next is not None and waiting is not None:
            gone = AbortRequested(self.now, "gitopsd", reason=choice.end_next)
            return not self._advance(waiting.id, gone).ignored
        if choice.release is None:
            return False
        if waiting is not None:
            newer = Superseded(self.now, RunId(f"run-{len(self.runs) + 1}"))
            return not self._advance(waiting.id, newer).ignored
        last = self.last_rollouts(key).get(choice.release)
        run = self.create(key, choice.release, RunKind.ROLLOUT)
        if last is not None and last.phase is Phase.ERRORED:
            run = replace(run, attempt_number=last.attempt_number + 1)
            self.runs[run.id] = run
        self.put(replace(self.stages[key], next=run.id))
        self.admit(run)
        return True

    def _try_gate(self, run: Run, spec: StageSpec) -> bool:
        states = evaluate_gates(self.gate_facts(run, spec))
        refusal = first_refusal(states)
        if refusal is not None:
            return not self._advance(run.id, GateRefused(self.now, refusal)).ignored
        if all_open(states) and run.command is not None and run.rendered is not None:
            choice = choose_restore(
                self.restore_facts(run.stage, run.rendered, inherited=self.inherited_by(run))
            )
            event = StepSucceeded(self.now, run.command)
            if isinstance(choice, RestoreTarget):
                event = replace(event, restore=choice)
            else:
                event = replace(event, no_restore=choice)
            return not self._advance(run.id, event).ignored
        stopped = has_clock_stopped(run, states)
        if stopped != (run.clock_stopped_at is not None):
            run = self._advance(
                run.id, ClockStopped(self.now) if stopped else ClockStarted(self.now)
            ).run
        if not run.approved and not lacks_approval(states):
            run = self._advance(run.id, ApprovalComplete(self.now)).run
        front = self.front_of(run.stage)
        failing = front is not None and front.failing
        handover = compute_handover(
            front, run, states, self.stages[run.stage], failing, moved=self._is_elsewhere(front)
        )
        if front is None or not handover.now:
            return False
        taken = Superseded(self.now, run.id, failing=failing, protected=handover.protected)
        return not self._advance(front.id, taken).ignored

    def _is_elsewhere(self, front: Run | None) -> bool:
        spec = self.files[front.spec].stage(front.stage.stage) if front is not None else None
        if front is None or spec is None:
            return False
        return destination_of(spec) != self.stages[front.stage].destination


def _applies(run: Run) -> bool:
    return run.live and run.step is Step.APPLY
