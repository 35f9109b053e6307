"""Which votes count for a run's present plan."""

from __future__ import annotations

from gitopsd.domain.gates import Vote
from gitopsd.pipeline.facts import GateFacts


def standing_votes(facts: GateFacts) -> tuple[Vote, ...]:
    """List the votes that count: for this run, bound to its present plan, not void."""
    return tuple(
        vote
        for vote in facts.votes
        if vote.run == facts.run.id and vote.plan == facts.run.plan and vote.void_at is None
    )
