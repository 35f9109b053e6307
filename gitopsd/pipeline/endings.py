"""How runs end: the state they end in, what follows, and what people are told.

Theory: only a Failed Rollout quarantines. What had mutated is restored when it failed, or when
the person who aborted it asked for that; a target with the failed bytes is never restored. An
Errored run gave no verdict: it is tried again, and a person is called if it had mutated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gitopsd.domain.runs import HOOK_OUTCOME_UNKNOWN, Failure, Phase, Run, RunKind
from gitopsd.domain.verifications import RestoreTarget, StallReason
from gitopsd.pipeline.commands import (
    AgreeInGit,
    Command,
    MarkStalled,
    Notify,
    Reconsider,
    RecordVerified,
    Scope,
    StartRollback,
    StoreQuarantine,
    Trigger,
)
from gitopsd.pipeline.steps import retry_delay


@dataclass(frozen=True, slots=True)
class Transition:
    """What one event does to a run.

    Attributes:
        run: The run after it; the very same object when the event was ignored.
        commands: What to do now.
        ignored: Why nothing changed; empty when something did.
    """

    run: Run
    commands: tuple[Command, ...] = ()
    ignored: str = ""


_WHY_NOT: Mapping[StallReason, str] = {
    StallReason.NO_TARGET: "nothing was verified here before that could be restored",
    StallReason.MANUAL: "policy leaves restoring to a person",
    StallReason.SAME_BYTES: "what could be restored has the same bytes",
    StallReason.DESTINATION_CHANGED: "what was verified before was written to another destination",
}


def succeed(run: Run, at: datetime) -> Transition:
    """End a run whose last step succeeded."""
    after = _end(run, at, Phase.SUCCEEDED, None)
    verified: tuple[Command, ...] = () if run.kind is RunKind.SYNC else (RecordVerified(run.id),)
    agreed = (AgreeInGit(run.id),) if run.kind is RunKind.ROLLBACK else ()
    trigger = Trigger.ROLLBACK_SUCCEEDED if run.kind is RunKind.ROLLBACK else Trigger.DEPLOYED
    sentence = {
        RunKind.ROLLOUT: f"{run.stage} runs {run.release}, verified",
        RunKind.ROLLBACK: f"{run.stage} is back on {run.release}, verified",
        RunKind.SYNC: f"{run.stage} had {run.release} applied again and is healthy",
    }[run.kind]
    return Transition(
        after,
        (
            *verified,
            *agreed,
            Reconsider(run.id, Scope.STAGE_AND_DOWNSTREAM),
            Notify(run.id, trigger, sentence),
        ),
    )


def succeed_unchanged(run: Run, at: datetime) -> Transition:
    """End a Rollout that would change nothing of what the stage runs verified."""
    return Transition(
        _end(run, at, Phase.SUCCEEDED, None),
        (RecordVerified(run.id), Reconsider(run.id, Scope.STAGE_AND_DOWNSTREAM)),
    )


def fail(run: Run, at: datetime, failure: Failure) -> Transition:
    """End a run with a definite verdict against what it applies."""
    after = _end(run, at, Phase.FAILED, failure)
    verdict = f"{_subject(run)} failed{_place(failure)}: {failure.message}"
    if run.kind is RunKind.ROLLBACK:
        key = run.stage
        resume = f"a fix waits for: gitopsd resume {key.application} {key.stage}"
        message = f"{verdict}; nothing more is tried, {_ask(run)}; {resume}"
        told = Notify(run.id, Trigger.ROLLBACK_FAILED, message)
        stalled = MarkStalled(run.id, StallReason.ROLLBACK_FAILED, message)
        return Transition(after, (stalled, Reconsider(run.id), told))
    if run.kind is RunKind.SYNC:
        told = Notify(run.id, Trigger.HEALTH_DEGRADED, verdict)
        return Transition(after, (Reconsider(run.id), told))
    restoring, outlook = _restore(run, verdict) if run.mutated else ((), "nothing was changed")
    told = Notify(run.id, Trigger.VERIFICATION_FAILED, f"{verdict}; {outlook}")
    quarantined = StoreQuarantine(run.id, failure.message)
    return Transition(after, (quarantined, *restoring, Reconsider(run.id), told))


def give_up(run: Run, at: datetime, failure: Failure) -> Transition:
    """End a run that could not find out: no verdict, no quarantine, tried again later."""
    after = _end(run, at, Phase.ERRORED, failure)
    delay = retry_delay(run.attempt_number)
    unknown = failure.reason == HOOK_OUTCOME_UNKNOWN and run.kind is RunKind.ROLLOUT
    later = f"it is tried again in {_say(delay)}"
    following = "it is not tried again by itself" if unknown else later
    message = f"{_subject(run)} has no verdict{_place(failure)}: {failure.message}; {following}"
    commands: list[Command] = []
    if run.mutated:
        commands.append(MarkStalled(run.id, StallReason.UNREACHABLE, message))
    # A Rollback carries what it brings back as its own restore target.
    if run.kind is RunKind.ROLLBACK and run.restore_target is not None:
        commands.append(StartRollback(run.id, run.restore_target, delay=delay, again=True))
    else:
        commands.append(Reconsider(run.id, delay=delay))
    commands.append(Notify(run.id, Trigger.RUN_ERRORED, message))
    return Transition(after, tuple(commands))


def call_locked_out(run: Run) -> tuple[Command, ...]:
    """Call a person for a run that waits because its cluster lets us ask nothing.

    It has not ended: it goes on by itself when it is let in. The person is told whether or not the
    stage is stalled by it, or was stalled before.
    """
    where = f" in {run.step.value}" if run.step is not None else ""
    message = (
        f"{_subject(run)} waits{where}: {run.waiting_for}; replace the cluster's credential file, "
        f"or its CA, and it goes on at once; to end it instead: gitopsd abort {run.id} --leave"
    )
    told = Notify(run.id, Trigger.STALLED, message)
    stalled = MarkStalled(run.id, StallReason.UNREACHABLE, message)
    return (stalled, told) if run.mutated else (told,)


def abort(run: Run, at: datetime, failure: Failure, *more: Command) -> Transition:
    """End a run that somebody or something else put an end to: no verdict, no quarantine."""
    told = Notify(run.id, Trigger.RUN_ABORTED, f"{_subject(run)} ended: {failure.message}")
    after = _end(run, at, Phase.ABORTED, failure)
    return Transition(after, (*more, Reconsider(run.id), told))


def end_closing(run: Run, at: datetime, failure: Failure) -> Transition:
    """End a run that only waited for its work in flight to report."""
    if run.redirect is not None:
        redirected = StartRollback(run.id, run.redirect, requested_by=run.ended_by)
        return abort(run, at, failure, redirected)
    if run.aborting_restore:
        restoring, _ = _restore(run, f"{_subject(run)} was {failure.message}")
        return abort(run, at, failure, *restoring)
    return abort(run, at, failure)


def _end(run: Run, at: datetime, phase: Phase, failure: Failure | None) -> Run:
    return replace(
        run,
        phase=phase,
        command=None,
        step_deadline=None,
        clock_stopped_at=None,
        ended_at=at,
        failure=failure,
        version=run.version + 1,
    )


def _restore(run: Run, verdict: str) -> tuple[tuple[Command, ...], str]:
    """Restore what was verified last, or call a person; says which in one clause."""
    target = _restorable(run)
    if isinstance(target, RestoreTarget):
        restored = StartRollback(run.id, target, requested_by=run.ended_by)
        return (restored,), f"restoring {target.release}"
    outlook = f"{_WHY_NOT.get(target, target.value)}, {_ask(run)}"
    return (MarkStalled(run.id, target, f"{verdict}; {outlook}"),), outlook


def _restorable(run: Run) -> RestoreTarget | StallReason:
    target = run.restore_target
    if target is None:
        return run.no_restore or StallReason.NO_TARGET
    return StallReason.SAME_BYTES if target.rendered == run.rendered else target


def _subject(run: Run) -> str:
    noun = {
        RunKind.ROLLOUT: f"{run.release}",
        RunKind.ROLLBACK: f"the rollback to {run.release}",
        RunKind.SYNC: f"applying {run.release} again",
    }[run.kind]
    return f"{run.stage}: {noun}"


def _place(failure: Failure) -> str:
    return f" in {failure.step.value}" if failure.step is not None else ""


def _ask(run: Run) -> str:
    key = run.stage
    return f"push a fix or choose with: gitopsd rollback {key.application} {key.stage}"


def _say(delay: timedelta) -> str:
    return f"{delay // timedelta(minutes=1)} min"
