"""Which votes count for a run's present plan, and why others do not."""

from __future__ import annotations

from dataclasses import dataclass

from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.gates import Decision, Vote
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.people_facts import find_hand, names_of


@dataclass(frozen=True, slots=True)
class JudgedVote:
    """A vote that was given for the present plan.

    Attributes:
        vote: The vote.
        against: Why it does not count; empty when it does.
    """

    vote: Vote
    against: str = ""


def standing_votes(facts: GateFacts) -> tuple[Vote, ...]:
    """List the votes that stand: for this run, bound to its present plan, not void."""
    return tuple(
        vote
        for vote in facts.votes
        if vote.run == facts.run.id and vote.plan == facts.run.plan and vote.void_at is None
    )


def judge_votes(facts: GateFacts, subjects: tuple[str, ...]) -> tuple[JudgedVote, ...]:
    """Judge the standing votes by whom a gate names, as things are now.

    Args:
        facts: The facts.
        subjects: ``group:NAME`` or ``user:SUBJECT`` whom the gate names. Votes of people that it
            named neither when they voted nor now belong to another gate and are left out.
    """
    judged = []
    for vote in standing_votes(facts):
        then = {f"user:{vote.subject}", *(f"group:{group}" for group in vote.groups)}
        people = facts.people
        now = names_of(people.directory, vote.subject, vote.groups, known=vote.known)
        if vote.token in people.revoked_tokens:
            judged.append(JudgedVote(vote, "its token was revoked"))
        elif not now.isdisjoint(subjects):
            judged.append(JudgedVote(vote, _own_commit(facts, vote)))
        elif not then.isdisjoint(subjects):
            judged.append(JudgedVote(vote, f"not in {' or '.join(subjects)} any more"))
    return tuple(judged)


def counted_votes(facts: GateFacts) -> tuple[Vote, ...]:
    """List the votes that count for the plan as a whole, whomever its gates name.

    Those of people who left, or that an approval gate does not count any more, do not.
    """
    gates = [gate for gate in facts.spec.gates if isinstance(gate, ApprovalGate)]
    subjects = tuple(subject for gate in gates for subject in gate.subjects)
    lost = {one.vote.id for one in judge_votes(facts, subjects) if one.against}
    people = facts.people
    return tuple(
        vote
        for vote in standing_votes(facts)
        if vote.id not in lost
        and names_of(people.directory, vote.subject, vote.groups, known=vote.known)
    )


def _own_commit(facts: GateFacts, vote: Vote) -> str:
    """Say why a person may not agree to what they made; anybody may reject."""
    if vote.decision is Decision.REJECT:
        return ""
    return find_hand(facts.people.directory, vote.subject, facts.people.contributions)
