"""What is said of one run: why it stands where it does, and what makes it go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from gitopsd.domain.gates import Closed, GateState, Open
from gitopsd.domain.runs import AbortReason, LastLook, Phase, Run, RunKind, Step
from gitopsd.pipeline.apply_hold import FREEZE, is_held_before_apply
from gitopsd.pipeline.explained_ending import (
    say_ended_by_people,
    say_errored,
    say_failed,
    say_quarantined,
    say_retired,
    say_succeeded,
    say_superseded,
    say_unchanged,
)
from gitopsd.pipeline.explanation import (
    Explanation,
    State,
    Wait,
)
from gitopsd.pipeline.explanation_text import say_moment
from gitopsd.pipeline.gates import first_refusal
from gitopsd.pipeline.lockouts import is_locked_out
from gitopsd.pipeline.run_phrases import RunFacts, Said, say_cause, say_limit, say_what, say_where
from gitopsd.pipeline.steps import next_step, retry_delay
from gitopsd.pipeline.table import is_closing

_MINUTE = timedelta(minutes=1)
_LOOKING = frozenset({Step.APPLY, Step.WAIT_HEALTHY, Step.VERIFY, Step.CERTIFY})
"""Steps whose last look says how the objects are."""


def explain_run(facts: RunFacts) -> Explanation:
    """Explain a run."""
    run, state = facts.run, judge_run(facts)
    said = _SAID[state](facts)
    return Explanation(
        subject=run.id,
        at=facts.now,
        state=state.value,
        since=facts.since if run.live else run.ended_at,
        because=said.because,
        ignored=facts.ignored,
        waiting_for=said.waiting_for,
        next=said.following,
        run=run.id,
        foresight=facts.foresight,
    )


def judge_run(facts: RunFacts) -> State:
    """Say how a run stands, in one word."""
    run = facts.run
    if not run.live:
        return _judge_ended(run)
    if run.phase is Phase.PENDING:
        return State.PENDING
    if is_closing(run):
        return State.ENDING
    if is_locked_out(run):
        return State.LOCKED_OUT
    if run.step is Step.GATE or is_held_before_apply(run):
        frozen = any(state.implicit and state.name == FREEZE for state in _closed(facts))
        return State.FROZEN if frozen else State.HELD
    if run.last_look is LastLook.UNKNOWN:
        return State.UNREACHABLE
    if run.last_look is LastLook.NOT_HEALTHY and run.step in _LOOKING:
        return State.UNHEALTHY
    return State.RUNNING


_ABORTED: Mapping[str, State] = {
    AbortReason.SUPERSEDED.value: State.SUPERSEDED,
    AbortReason.REJECTED.value: State.REJECTED,
    AbortReason.EXPIRED.value: State.EXPIRED,
    AbortReason.OVERDUE.value: State.OVERDUE,
    AbortReason.REDIRECTED.value: State.REDIRECTED,
    AbortReason.QUARANTINED.value: State.QUARANTINED,
    AbortReason.STAGE_REMOVED.value: State.RETIRED,
}


def _judge_ended(run: Run) -> State:
    if run.phase is Phase.SUCCEEDED:
        unchanged = run.kind is RunKind.ROLLOUT and run.step is Step.DIFF
        return State.UNCHANGED if unchanged else State.SUCCEEDED
    if run.phase is Phase.ABORTED:
        return _ABORTED.get(run.failure.reason if run.failure is not None else "", State.ABORTED)
    return State.FAILED if run.phase is Phase.FAILED else State.ERRORED


def _pending(facts: RunFacts) -> Said:
    because = (f"{say_what(facts)} has not begun", *say_cause(facts))
    return Said(because, "it begins by itself")


def _running(facts: RunFacts) -> Said:
    run = facts.run
    last = f"; last said: {run.waiting_for}" if run.waiting_for else ""
    taken = (f"{run.superseded_by} takes over when it has ended",) if run.superseded_by else ()
    following = f"{_following(run)} follows by itself{say_limit(facts)}"
    return Said((f"{say_where(facts)}{last}", *taken, *say_cause(facts)), following)


def _held(facts: RunFacts) -> Said:
    run, closed = facts.run, _closed(facts)
    place = "at its Gate" if run.step is Step.GATE else "before Apply, its Prepare is done"
    opened = len(facts.gates) - len(closed)
    because = f"{say_what(facts)} stands {place}: {opened} of {len(facts.gates)} gates are open"
    waits = tuple(
        Wait(f"{state.name}: {state.answer.reason}", state.answer.opener, state.answer.until)
        for state in closed
        if isinstance(state.answer, Closed)
    )
    return Said((because,), _after_gates(facts, closed), waits)


def _after_gates(facts: RunFacts, closed: tuple[GateState, ...]) -> str:
    run, now = facts.run, facts.now
    where = "Prepare" if run.step is Step.GATE else "Apply"
    refusal = first_refusal(facts.gates)
    if refusal is not None:
        return f"it ends Rejected: {refusal}"
    if not closed:
        return f"{where} follows by itself, as soon as its gates were read again"
    by_clock = [state.name for state in closed if getattr(state.answer, "until", None) is not None]
    opens_at = facts.opens_at if len(by_clock) == len(closed) else None
    if opens_at is not None:
        following = f"{where} follows by itself at {say_moment(opens_at, now)}"
    else:
        following = f"{where} follows by itself as soon as {_list(closed)} opened"
    if run.clock_stopped_at is not None:
        return f"{following}; until then its deadline stands still"
    if run.step_deadline is None:
        return following
    ends = say_moment(run.step_deadline, now)
    if opens_at is not None and opens_at > run.step_deadline:
        return f"it expires at {ends}, before its gates open at {say_moment(opens_at, now)}"
    return f"{following}; it expires if that is not so by {ends}"


def _unhealthy(facts: RunFacts) -> Said:
    run = facts.run
    cause = run.waiting_for or "its objects are not healthy"
    looked = f" (looked at {say_moment(run.looked_at, facts.now)})" if run.looked_at else ""
    wait = Wait("healthy objects", f"mend them, or give up now: {_give_up(run)}")
    by = f" by {say_moment(run.step_deadline, facts.now)}" if run.step_deadline else ""
    following = f"it is looked at again by itself; if it is not healthy{by}, {_verdict(facts)}"
    because = (f"{cause}{looked}", say_where(facts), *say_cause(facts))
    return Said(because, following, (wait,))


def _unreachable(facts: RunFacts) -> Said:
    run = facts.run
    cause = run.waiting_for or "nothing could be seen"
    wait = Wait(f"an answer, attempt {run.attempt} is under way", _keeper(facts))
    by = f" by {say_moment(run.step_deadline, facts.now)}" if run.step_deadline else ""
    called = ", a person is called" if run.mutated else ""
    following = (
        f"it is asked again by itself; without an answer{by} it ends without a verdict: nothing "
        f"is rolled back{called}, and it is tried again "
        f"{retry_delay(run.attempt_number) // _MINUTE} min later"
    )
    return Said((cause, say_where(facts), *say_cause(facts)), following, (wait,))


def _locked_out(facts: RunFacts) -> Said:
    run = facts.run
    again = run.locked_out_until
    wait = Wait(
        f"a credential or CA that works, refused {run.lockouts} times",
        f"replace the file that cluster {facts.cluster} names; to end the run instead: "
        f"gitopsd abort {run.id} --leave",
    )
    tried = f"; tried again by itself at {say_moment(again, facts.now)}" if again else ""
    following = f"it goes on at once when the file changes, its time stands still{tried}"
    cause = run.waiting_for or "the cluster lets nothing in"
    return Said((cause, say_where(facts), *say_cause(facts)), following, (wait,))


def _ending(facts: RunFacts) -> Said:
    run = facts.run
    why = run.failure.message if run.failure is not None else f"superseded by {run.superseded_by}"
    restores = run.aborting_restore and facts.target
    then = f"; then {facts.target} is restored" if restores else ""
    step = run.step.value if run.step is not None else run.phase.value
    return Said(
        (f"{say_what(facts)} ends: {why}",),
        f"it ends as soon as what {step} has under way reports{then}{say_limit(facts)}",
    )


_SAID: Mapping[State, Callable[[RunFacts], Said]] = {
    State.PENDING: _pending,
    State.RUNNING: _running,
    State.HELD: _held,
    State.FROZEN: _held,
    State.UNHEALTHY: _unhealthy,
    State.UNREACHABLE: _unreachable,
    State.LOCKED_OUT: _locked_out,
    State.ENDING: _ending,
    State.SUCCEEDED: say_succeeded,
    State.UNCHANGED: say_unchanged,
    State.FAILED: say_failed,
    State.ERRORED: say_errored,
    State.SUPERSEDED: say_superseded,
    State.REDIRECTED: say_superseded,
    State.REJECTED: say_ended_by_people,
    State.EXPIRED: say_ended_by_people,
    State.OVERDUE: say_ended_by_people,
    State.ABORTED: say_ended_by_people,
    State.QUARANTINED: say_quarantined,
    State.RETIRED: say_retired,
}
"""What is said in each state that a run can be in."""


def _closed(facts: RunFacts) -> tuple[GateState, ...]:
    return tuple(state for state in facts.gates if not isinstance(state.answer, Open))


def _following(run: Run) -> str:
    following = next_step(run.kind, run.step) if run.step is not None else None
    return following.value if following is not None else "the end"


def _verdict(facts: RunFacts) -> str:
    """Say what a verdict against a run that has written leads to."""
    run = facts.run
    if run.kind is RunKind.ROLLBACK:
        return "the rollback has failed, and a person is called"
    if run.kind is RunKind.SYNC:
        return "it has failed, and nothing is restored"
    if facts.target:
        return f"it has failed, and {facts.target} is restored"
    why = f" ({run.no_restore.value})" if run.no_restore is not None else ""
    return f"it has failed, nothing is restored{why}, and a person is called"


def _give_up(run: Run) -> str:
    if run.kind is RunKind.ROLLBACK:
        return f"gitopsd rollback {run.stage.application} {run.stage.stage} --to RELEASE"
    return f"gitopsd abort {run.id}{' --restore' if run.kind is RunKind.ROLLOUT else ''}"


def _keeper(facts: RunFacts) -> str:
    also = {
        Step.RENDER: "the Git host",
        Step.VALIDATE: f"cluster {facts.cluster}, or the registry of its images",
    }
    step = facts.run.step
    return f"ask whoever keeps {also.get(step) if step in also else f'cluster {facts.cluster}'}"


def _list(states: tuple[GateState, ...]) -> str:
    names = [state.name for state in states]
    return " and ".join(names) + (" have" if len(names) > 1 else " has")
