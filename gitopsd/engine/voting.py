"""Approvals and rejections: who may vote, and on which plan."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from gitopsd.domain.config import Configuration
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.gates import Decision, Vote
from gitopsd.domain.runs import Run, RunId
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, Actor
from gitopsd.engine.facts import load_gate_facts
from gitopsd.engine.verb_checks import refuse_for_run
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gate_kinds.votes import standing_votes
from gitopsd.pipeline.people_facts import find_hand, names_of
from gitopsd.pipeline.verbs import Verb
from gitopsd.store_ports import Transaction

_VERBS = {Decision.APPROVE: Verb.APPROVE, Decision.REJECT: Verb.REJECT}
WORDS = {Decision.APPROVE: "approved", Decision.REJECT: "rejected"}


@dataclass(frozen=True, slots=True)
class Ballot:
    """What a person says about a run.

    Attributes:
        decision: Approve or reject.
        plan: Plan that the person saw; empty for the present one.
        reason: In their words.
    """

    decision: Decision
    plan: str = ""
    reason: str = ""


def cast_vote(
    tx: Transaction, actor: Actor, run_id: RunId, ballot: Ballot, config: Configuration
) -> ActionResult:
    """Store a person's vote for a run's present plan."""
    judged = judge_ballot(tx, actor, run_id, ballot, config)
    if isinstance(judged, ActionRefused):
        return judged
    put_vote(tx, judged)
    said = f"{actor.subject} {WORDS[ballot.decision]} {run_id} (plan {judged.plan})"
    return ActionDone(said, run_id, details={"plan": judged.plan, "reason": ballot.reason})


def judge_ballot(
    tx: Transaction, actor: Actor, run_id: RunId, ballot: Ballot, config: Configuration
) -> Vote | ActionRefused:
    """Make the vote that a person gives, or say why it is not taken; nothing is stored."""
    refused = refuse_for_run(tx, _VERBS[ballot.decision], run_id, config)
    run = tx.runs.get(run_id)
    if refused is not None or run is None:
        return refused or ActionRefused(404, f"there is no run {run_id}")
    obstacle = find_time_obstacle(tx, run) or find_plan_obstacle(run, ballot.plan)
    if obstacle or run.plan is None:
        return ActionRefused(409, obstacle or f"{run.id} has no plan yet")
    application = tx.specs.current(run.stage.application)
    spec = application.stage(run.stage.stage) if application is not None else None
    facts = None
    if application is not None and spec is not None:
        facts = load_gate_facts(tx, run, application, spec, config)
    if facts is None:
        return ActionRefused(409, f"{run.stage} is not configured any more")
    refusal = _may_vote(actor, facts, ballot)
    if refusal is not None:
        return refusal
    people = config.people
    return Vote(
        id=f"vote-{secrets.token_hex(6)}",
        run=run.id,
        plan=run.plan,
        subject=actor.subject,
        groups=people.groups_of(actor.subject, actor.groups),
        decision=ballot.decision,
        reason=ballot.reason,
        at=tx.now,
        known=people.knows(actor.subject),
        token=actor.token,
    )


def put_vote(tx: Transaction, vote: Vote) -> None:
    """Store a vote, and have the run's gates read again."""
    tx.votes.add(vote)
    run = tx.runs.get(vote.run)
    if run is not None and run.command is not None:
        tx.work.hasten(run.command, tx.now)


def find_time_obstacle(tx: Transaction, run: Run) -> str:
    """Say that the time of a run at its Gate is over, though it has not ended; else empty."""
    key = run.stage
    deadline = run.step_deadline if run.clock_stopped_at is None else None
    if deadline is not None and deadline <= tx.now:
        return (
            f"the time of {run.id} was over at {deadline:%Y-%m-%d %H:%M} UTC; to ask "
            f"again: gitopsd promote {key.application} {key.stage} {run.release}"
        )
    return ""


def find_plan_obstacle(run: Run, plan: str) -> str:
    """Say why a plan that a person saw is not the one to speak of; empty when it is."""
    if plan in ("", run.plan):
        return ""
    return (
        f"the plan changed since you saw it (now {run.plan}); look at it again: "
        f"gitopsd diff {run.id}"
    )


def _may_vote(actor: Actor, facts: GateFacts, ballot: Ballot) -> ActionRefused | None:
    gates = [gate for gate in facts.spec.gates if isinstance(gate, ApprovalGate)]
    people, subject = facts.people, actor.subject
    known = people.directory.knows(subject)
    names = names_of(people.directory, subject, actor.groups, known=known)
    if gates and all(names.isdisjoint(gate.subjects) for gate in gates):
        allowed = ", ".join(sorted({one for gate in gates for one in gate.subjects}))
        groups = sorted(name for name in names if name.startswith("group:"))
        within = f", who is in {', '.join(groups)}" if groups else ", who is in no group"
        return ActionRefused(403, f"only {allowed} may vote here, not user:{subject}{within}")
    if gates and ballot.decision is Decision.APPROVE:
        hand = find_hand(people.directory, subject, people.contributions)
        if hand:
            message = f"{subject} {hand}, and nobody approves what they made; ask somebody else"
            return ActionRefused(403, message)
    for vote in standing_votes(facts):
        if (vote.subject, vote.decision) == (subject, ballot.decision):
            said = f"{subject} has {WORDS[vote.decision]} this plan already"
            return ActionRefused(409, f"{said}, at {vote.at:%Y-%m-%d %H:%M} UTC; it counts once")
    return None
