"""What gates that ask outside were answered."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, JsonValue

from gitopsd.domain.asked_gates import GateObservation
from gitopsd.entrypoints.http.models import Model, to_json
from gitopsd.kube.redaction import redact_text


class AnswerView(Model):
    """The newest answer to the question of one gate."""

    gate: str = Field(description="Kind of the gate.")
    plan: str | None = Field(description="Plan of the run when it was asked.")
    asked_at: datetime
    finding: str = Field(description="Met, Unmet, Failed, Refused or Inconclusive.")
    sentence: str
    figure: str = Field(description="The figure that it was judged by; empty for none.")
    details: JsonValue = Field(description="What was asked and answered.")
    troubles: int = Field(description="Answers in a row that told nothing.")


def view_answer(one: GateObservation) -> AnswerView:
    """Describe an answer."""
    return AnswerView(
        gate=one.gate,
        plan=one.plan,
        asked_at=one.asked_at,
        finding=one.finding.value,
        sentence=redact_text(one.sentence),
        figure=one.figure,
        details=to_json(one.details),
        troubles=one.troubles,
    )
