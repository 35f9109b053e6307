"""What an explanation looks like."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import Field

from gitopsd.engine.gate_evidence import describe_gate
from gitopsd.entrypoints.http.models import Model
from gitopsd.kube.redaction import redact_text
from gitopsd.pipeline.explanation import Explanation
from gitopsd.pipeline.explanation_text import write_explanation
from gitopsd.pipeline.run_story import StoryLine


class GateView(Model):
    """What a gate answered last."""

    name: str
    implicit: bool = Field(description="Whether it stands without being configured.")
    state: str = Field(description="Open, Closed or Refused.")
    reason: str
    opener: str = Field("", description="What opens it.")
    until: datetime | None = Field(None, description="When it opens by itself.")


class IgnoredView(Model):
    """Something that happened and changed nothing."""

    event: str
    reason: str
    at: datetime | None


class WaitView(Model):
    """Something that is waited for."""

    what: str
    who: str = Field(description="Who or what ends it: a command, a person, a time.")
    until: datetime | None = Field(description="When it ends by itself.")


class ForesightView(Model):
    """What gates would say at the time that was asked for."""

    at: datetime
    gates: list[GateView] = Field(description="If all that does not go by the clock stays as now.")
    opens_at: datetime | None = Field(
        description="First moment from then on at which windows and freezes are open; null when "
        "they do not open by themselves."
    )


class ExplanationView(Model):
    """Why something stands as it does, and what makes it go on."""

    subject: str = Field(description="An application, APPLICATION/STAGE, a run, or a commit.")
    at: datetime = Field(description="When the facts were read.")
    state: str = Field(description="How it stands, in one word.")
    since: datetime | None
    because: list[str] = Field(description="Why, one sentence each, the cause first.")
    ignored: list[IgnoredView] = Field(description="What happened and changed nothing.")
    waiting_for: list[WaitView]
    next: str = Field(description="What happens next, and who makes it happen.")
    run: str | None = Field(description="The run it is about.")
    foresight: ForesightView | None
    text: list[str] = Field(description="The same as lines for people.")


class LineView(Model):
    """One sentence of the story."""

    at: datetime
    step: str | None
    text: str
    times: int = Field(description="How often it happened in a row.")


class RunExplanationView(ExplanationView):
    """A run's explanation, and what happened to it."""

    summary: str
    lines: list[LineView] = Field(description="What happened, oldest first.")


class ApplicationExplanationView(ExplanationView):
    """An application's explanation, and those of its stages."""

    stages: list[ExplanationView] = Field(description="In the order of its file.")


class CommitExplanationView(Model):
    """Where a commit stands in each stage, and why."""

    commit: str
    stages: list[ExplanationView]


def view_explanation(told: Explanation) -> ExplanationView:
    """Describe an explanation."""
    foresight = told.foresight
    return ExplanationView(
        subject=redact_text(told.subject),
        at=told.at,
        state=told.state,
        since=told.since,
        because=_redact(told.because),
        ignored=[
            IgnoredView(event=redact_text(one.event), reason=redact_text(one.reason), at=one.at)
            for one in told.ignored
        ],
        waiting_for=[
            WaitView(what=redact_text(one.what), who=redact_text(one.who), until=one.until)
            for one in told.waiting_for
        ],
        next=redact_text(told.next),
        run=told.run,
        foresight=(
            ForesightView(
                at=foresight.at,
                gates=[GateView.model_validate(describe_gate(gate)) for gate in foresight.gates],
                opens_at=foresight.opens_at,
            )
            if foresight is not None
            else None
        ),
        text=_redact(write_explanation(told)),
    )


def view_story(lines: Iterable[StoryLine]) -> list[LineView]:
    """Describe a run's story."""
    return [
        LineView(
            at=line.at,
            step=line.step.value if line.step is not None else None,
            text=redact_text(line.text),
            times=line.times,
        )
        for line in lines
    ]


def _redact(texts: Iterable[str]) -> list[str]:
    return [redact_text(text) for text in texts]
