"""``approval:``: people agree to the plan, none of them to what they made themselves."""

from __future__ import annotations

from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.gates import Closed, Decision, GateAnswer, Open, Refused
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gate_kinds.votes import JudgedVote, judge_votes
from gitopsd.pipeline.people_facts import list_makers, names_of, tell_apart


def evaluate_approval(spec: ApprovalGate, facts: GateFacts) -> GateAnswer:
    """Answer by the votes that count for the plan now.

    Who may vote is read again: a member who left since, a token that was revoked, and whoever had
    a hand in the commits that the release brings, agree to nothing.
    """
    run = facts.run
    if run.plan is None:
        return Closed("there is no plan to approve yet", "wait until it is diffed")
    if run.plan_empty:
        return Open("the plan changes nothing")
    judged = judge_votes(facts, spec.subjects)
    counted = [one.vote for one in judged if not one.against]
    rejected = [vote for vote in counted if vote.decision is Decision.REJECT]
    if rejected:
        said = f": {rejected[0].reason}" if rejected[0].reason else ""
        return Refused(f"rejected by {rejected[0].subject}{said}")
    given = tell_apart(facts.people.directory, (vote.subject for vote in counted))
    if len(given) >= spec.count:
        who = ", ".join(" alias ".join(names) for names in given)
        return Open("; ".join((f"approved by {who}", *_unknown(facts))))
    reason = f"{len(given)} of {spec.count} approvals"
    running = run.clock_stopped_at is None and not run.approved
    if run.step_deadline is not None and running:
        reason = f"{reason}, expires {run.step_deadline:%Y-%m-%d %H:%M} UTC"
    alike = [f"{' and '.join(names)} are one person" for names in given if len(names) > 1]
    notes = (reason, *alike, *_uncounted(judged), *_unknown(facts))
    return Closed("; ".join(notes), f"{_how(spec, facts)} (by {_who(spec, facts)})")


def _how(spec: ApprovalGate, facts: GateFacts) -> str:
    """Say what to type: for the whole group, where one approval is for all of its stages."""
    key, group = facts.run.stage, facts.group
    if group is None or group.spec.approval != spec:
        return f"gitopsd approve {facts.run.id}"
    everywhere = f"gitopsd approve {key.application} --group {group.spec.name}"
    return f"{everywhere}, or for {key.stage} alone: gitopsd approve {facts.run.id}"


def _uncounted(judged: tuple[JudgedVote, ...]) -> list[str]:
    return [
        f"{one.vote.subject}'s does not count: {one.against}"
        for one in judged
        if one.against and one.vote.decision is Decision.APPROVE
    ]


def _unknown(facts: GateFacts) -> tuple[str, ...]:
    """Say when it is not known whose commits the release brings, beside its newest one."""
    contributions = facts.people.contributions
    problem = contributions.range.problem if contributions is not None else "nobody looked"
    if not problem:
        return ()
    sha = facts.release.commit.sha[:12]
    return (f"whose commits it brings besides {sha} is not known: {problem}",)


def _who(spec: ApprovalGate, facts: GateFacts) -> str:
    """Name who may approve, and who of them may not since the commits are theirs."""
    people = facts.people.directory
    makers = [
        subject
        for subject in list_makers(people, facts.people.contributions)
        if not names_of(people, subject, (), known=True).isdisjoint(spec.subjects)
    ]
    allowed = " or ".join(spec.subjects)
    return f"{allowed}, but not {' or '.join(makers)}, who made it" if makers else allowed
