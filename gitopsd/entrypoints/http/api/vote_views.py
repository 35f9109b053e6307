"""What an approval or rejection looks like, and a gate that was skipped."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gitopsd.domain.gates import GateSkip, Vote
from gitopsd.entrypoints.http.models import Model
from gitopsd.kube.redaction import redact_text


class VoteView(Model):
    """One person's approval or rejection."""

    id: str
    run: str
    plan: str = Field(description="What was voted on; a changed plan voids the vote.")
    subject: str
    decision: str = Field(description="Approve or Reject.")
    reason: str
    at: datetime
    void_at: datetime | None = Field(description="When it stopped counting.")


class SkipView(Model):
    """A gate that a person let a run pass."""

    gate: str
    plan: str = Field(description="The plan it counts for; no other one passes.")
    subject: str
    reason: str
    at: datetime
    void_at: datetime | None = Field(description="When it stopped counting.")


def view_skip(skip: GateSkip) -> SkipView:
    """Describe a skipped gate."""
    return SkipView(
        gate=skip.gate,
        plan=skip.plan,
        subject=skip.subject,
        reason=redact_text(skip.reason),
        at=skip.at,
        void_at=skip.void_at,
    )


def view_vote(vote: Vote) -> VoteView:
    """Describe a vote."""
    return VoteView(
        id=vote.id,
        run=vote.run,
        plan=vote.plan,
        subject=vote.subject,
        decision=vote.decision.value,
        reason=redact_text(vote.reason),
        at=vote.at,
        void_at=vote.void_at,
    )
