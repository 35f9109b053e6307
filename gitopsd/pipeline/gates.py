"""What has to hold before a Rollout begins to write: configured gates and the implicit ones.

All are evaluated each time, in a fixed order, and none remembers anything: an answer follows from
the facts alone. A fact that is missing closes its gate. A closed gate names what opens it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from gitopsd.domain.config import ApprovalGate, GateSpec, SoakGate
from gitopsd.domain.gates import Closed, Decision, GateAnswer, GateState, Open, Refused, Vote
from gitopsd.domain.runs import Run
from gitopsd.domain.stages import Stage
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.implicit_gates import IMPLICIT_GATES

_OPENED_BY_VOTES = ("approval", "prune")


def evaluate_gates(facts: GateFacts) -> tuple[GateState, ...]:
    """Evaluate every gate of a run: configured ones in file order, then the implicit ones."""
    states: list[GateState] = []
    for spec in facts.spec.gates:
        kind, answer = _evaluate(spec, facts)
        same = sum(state.name.split("-")[0] == kind for state in states)
        name = f"{kind}-{same + 1}" if same else kind
        states.append(GateState(name, implicit=False, answer=answer))
    implicit = (GateState(name, implicit=True, answer=gate(facts)) for name, gate in IMPLICIT_GATES)
    return (*states, *implicit)


def all_open(states: Iterable[GateState]) -> bool:
    """Tell whether every gate is open."""
    return all(isinstance(state.answer, Open) for state in states)


def lacks_approval(states: Iterable[GateState]) -> bool:
    """Tell whether a gate that people open by their votes is not open."""
    asked = (state for state in states if state.name.split("-")[0] in _OPENED_BY_VOTES)
    return not all_open(asked)


def is_plan_current(run: Run, stage: Stage) -> bool:
    """Tell whether a run's plan was made against what the stage has applied now.

    Read again in the transaction that commands Prepare: a plan for anything else is made anew.
    """
    return run.plan_base == (stage.applied.rendered if stage.applied is not None else None)


def first_refusal(states: Iterable[GateState]) -> str | None:
    """Say why the run can never pass; None while it still can."""
    for state in states:
        if isinstance(state.answer, Refused):
            return f"{state.name}: {state.answer.reason}"
    return None


def _evaluate(spec: GateSpec, facts: GateFacts) -> tuple[str, GateAnswer]:
    if isinstance(spec, ApprovalGate):
        return "approval", _approval(spec, facts)
    return "soak", _soak(spec, facts)


def _approval(spec: ApprovalGate, facts: GateFacts) -> GateAnswer:
    run = facts.run
    if run.plan is None:
        return Closed("there is no plan to approve yet", "wait until it is diffed")
    if run.plan_empty:
        return Open("the plan changes nothing")
    votes = [vote for vote in standing_votes(facts) if _may_vote(vote, spec)]
    against = [vote for vote in votes if vote.decision is Decision.REJECT]
    if against:
        said = f": {against[0].reason}" if against[0].reason else ""
        return Refused(f"rejected by {against[0].subject}{said}")
    given = {vote.subject for vote in votes}
    if len(given) >= spec.count:
        return Open(f"approved by {', '.join(sorted(given))}")
    until = None
    if facts.gate_entered_at is not None:
        until = facts.gate_entered_at + spec.deadline
    reason = f"{len(given)} of {spec.count} approvals"
    if until is not None:
        reason = f"{reason}, expires {until:%Y-%m-%d %H:%M} UTC"
    return Closed(reason, f"gitopsd approve {run.id} (by {' or '.join(spec.subjects)})")


def standing_votes(facts: GateFacts) -> tuple[Vote, ...]:
    """List the votes that count: for this run, bound to its present plan, not void."""
    return tuple(
        vote
        for vote in facts.votes
        if vote.run == facts.run.id and vote.plan == facts.run.plan and vote.void_at is None
    )


def _may_vote(vote: Vote, spec: ApprovalGate) -> bool:
    names = {f"user:{vote.subject}", *(f"group:{group}" for group in vote.groups)}
    return not names.isdisjoint(spec.subjects)


def _soak(spec: SoakGate, facts: GateFacts) -> GateAnswer:
    since = facts.verified_upstream_at.get(spec.stage)
    if since is None:
        return Closed(f"not verified in {spec.stage}", f"wait until it is verified in {spec.stage}")
    until = since + spec.duration
    if facts.now >= until:
        return Open(f"verified in {spec.stage} since {since:%Y-%m-%d %H:%M} UTC")
    rest = timedelta(seconds=-(-(until - facts.now) // timedelta(seconds=1)))
    return Closed(f"verified in {spec.stage}, soaks for {rest} more", "wait", until)
