"""One run: its steps, log, gates, change set and everything that was seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web
from pydantic import Field, JsonValue

from gitopsd.domain.asked_gates import GateObservation
from gitopsd.domain.gates import GateSkip, GateState, Vote
from gitopsd.domain.manifests import Json
from gitopsd.domain.releases import Release
from gitopsd.domain.runs import Run, RunId
from gitopsd.domain.work import Evidence, EvidenceKind, RunEvent
from gitopsd.engine.gate_evidence import describe_gate
from gitopsd.engine.queries import load_gates
from gitopsd.entrypoints.http.api.answer_views import AnswerView, view_answer
from gitopsd.entrypoints.http.api.explanation_views import GateView
from gitopsd.entrypoints.http.api.release_views import ReleaseView, view_release
from gitopsd.entrypoints.http.api.results import not_found
from gitopsd.entrypoints.http.api.run_views import RunView, view_run
from gitopsd.entrypoints.http.api.vote_views import SkipView, VoteView, view_skip, view_vote
from gitopsd.entrypoints.http.models import Model, to_json
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.kube.redaction import redact_text
from gitopsd.pipeline.run_story import compute_steps
from gitopsd.store_ports import Transaction


class StepView(Model):
    """One stay of a run in one step."""

    step: str
    state: str = Field(description="Running, Succeeded, Failed, Errored, Aborted or Redone.")
    started_at: datetime | None
    ended_at: datetime | None
    attempts: int


class EventView(Model):
    """One line of a run's log."""

    sequence: int
    at: datetime
    name: str
    step: str | None
    phase: str
    message: str
    details: dict[str, JsonValue]


class EvidenceView(Model):
    """Something a step saw."""

    step: str
    kind: str
    key: str
    at: datetime
    content: JsonValue


class TargetView(Model):
    """What a failure restores."""

    release: str
    rendered: str


class RunDetail(RunView):
    """A run with everything that is known of it."""

    release_details: ReleaseView | None
    rendered: str | None
    mutated: bool = Field(description="Whether it may have changed the cluster.")
    attempt_number: int = Field(description="Which attempt of this release in this stage it is.")
    step_deadline: datetime | None
    restore_target: TargetView | None
    steps: list[StepView]
    events: list[EventView]
    gates: list[GateView]
    answers: list[AnswerView] = Field(description="What gates that ask outside were answered.")
    votes: list[VoteView]
    skips: list[SkipView] = Field(description="Gates that people let it pass.")
    change_set: JsonValue = Field(description="What it would do or did, object by object.")
    diff: str = Field(description="The change set as text, without secrets.")
    verification: list[EvidenceView] = Field(description="Every kept attempt of every check.")
    evidence: list[EvidenceView] = Field(description="Everything else that steps saw.")


@dataclass(frozen=True, slots=True)
class _Stored:
    run: Run
    view: RunView
    release: Release | None
    events: tuple[RunEvent, ...]
    evidence: tuple[Evidence, ...]
    gates: tuple[GateState, ...]
    observations: tuple[GateObservation, ...]
    votes: tuple[Vote, ...]
    skips: tuple[GateSkip, ...]


async def load_run(call: Call) -> Run:
    """Read the run of the path.

    Raises:
        ProblemError: 404 when there is none, or none that the caller may see.
    """
    wanted = RunId(call.path["run"])
    run = await call.service.services.store.read(lambda tx: tx.runs.get(wanted))
    if run is None or not call.principal.may(Access.READ, run.stage.application):
        raise not_found("run", wanted)
    return run


async def get_run(call: Call) -> Answer:
    """Show one run."""
    run = await load_run(call)
    return _detail(await call.service.services.store.read(lambda tx: _load(tx, run)))


async def get_live_state(call: Call) -> Answer:
    """Give what a Rollback found as a List that kubectl reads.

    Raises:
        ProblemError: 404 when nothing was kept: only Rollbacks keep it.
    """
    run = await load_run(call)
    state = await call.service.services.store.read(lambda tx: tx.runs.live_state(run.id))
    if state is None:
        raise not_found("live state of run", run.id)
    content = {
        "apiVersion": "v1",
        "kind": "List",
        "metadata": {},
        "items": [to_json(item) for item in state.objects],
        "at": state.at.isoformat(),
        "unread": [redact_text(text) for text in state.unread],
    }
    name = f'attachment; filename="{run.id}-live-state.json"'
    return web.json_response(content, headers={"Content-Disposition": name})


def _load(tx: Transaction, run: Run) -> _Stored:
    run = tx.runs.get(run.id) or run
    return _Stored(
        run=run,
        view=view_run(tx, run),
        release=tx.releases.get(run.release),
        events=tuple(tx.runs.events(run.id)),
        evidence=tuple(tx.runs.evidence(run.id)),
        gates=load_gates(tx, run),
        observations=tuple(tx.runs.observations(run.id)),
        votes=tuple(tx.votes.of_run(run.id)),
        skips=tuple(tx.skips.of_run(run.id)),
    )


def _detail(stored: _Stored) -> RunDetail:
    run, target = stored.run, stored.run.restore_target
    plan = _plan_of(stored.evidence)
    return RunDetail(
        **dict(stored.view),
        release_details=view_release(stored.release) if stored.release is not None else None,
        rendered=run.rendered,
        mutated=run.mutated,
        attempt_number=run.attempt_number,
        step_deadline=run.step_deadline if run.live else None,
        restore_target=(
            TargetView(release=target.release, rendered=target.rendered) if target else None
        ),
        steps=_steps(run, stored.events),
        events=[_event(event) for event in stored.events],
        gates=[GateView.model_validate(describe_gate(gate)) for gate in stored.gates],
        answers=[view_answer(one) for one in stored.observations],
        votes=[view_vote(vote) for vote in stored.votes],
        skips=[view_skip(skip) for skip in stored.skips],
        change_set=to_json(plan),
        diff=write_diff(plan),
        verification=[_evidence(one) for one in stored.evidence if one.kind is EvidenceKind.CHECK],
        evidence=[
            _evidence(one)
            for one in stored.evidence
            if one.kind not in (EvidenceKind.CHECK, EvidenceKind.GATES, EvidenceKind.CHANGE_SET)
        ],
    )


def _steps(run: Run, events: tuple[RunEvent, ...]) -> list[StepView]:
    return [
        StepView(
            step=record.step.value,
            state=record.state,
            started_at=record.started_at,
            ended_at=record.ended_at,
            attempts=record.attempts,
        )
        for record in compute_steps(run, events)
    ]


def _event(event: RunEvent) -> EventView:
    details = to_json(event.details)
    return EventView(
        sequence=event.sequence,
        at=event.at,
        name=event.name,
        step=event.step.value if event.step is not None else None,
        phase=event.phase,
        message=redact_text(event.message),
        details=details if isinstance(details, dict) else {},
    )


def _evidence(one: Evidence) -> EvidenceView:
    return EvidenceView(
        step=one.step.value,
        kind=one.kind.value,
        key=one.key,
        at=one.at,
        content=to_json(one.content),
    )


def _plan_of(evidence: Iterable[Evidence]) -> Mapping[str, Json] | None:
    """Find the change set: Diff's when it is there, what Validate found until then."""
    found: Mapping[str, Json] | None = None
    for one in evidence:
        if one.kind is EvidenceKind.CHANGE_SET and isinstance(one.content, Mapping):
            found = one.content if one.key == "plan" or found is None else found
    return found


def write_diff(plan: Mapping[str, Json] | None) -> str:
    """Write a change set as text: its hooks, then a line for each object, its fields below."""
    objects = plan.get("objects") if plan is not None else None
    if plan is None or not isinstance(objects, list | tuple):
        return ""
    hooks = plan.get("hooks")
    lines = [f"runs {hook}" for hook in hooks] if isinstance(hooks, list | tuple) else []
    for change in objects:
        if not isinstance(change, Mapping) or change.get("action") == "unchanged":
            continue
        note = f"  ({change['note']})" if change.get("note") else ""
        lines.append(f"{change.get('action')} {change.get('object')}{note}")
        lines += [f"  {line}" for line in str(change.get("diff") or "").splitlines()]
    return redact_text("\n".join(lines))


ROUTES = (
    Route(
        "GET",
        "/runs/{run}",
        get_run,
        Access.READ,
        "Show one run with steps, log, gates, change set, diff and evidence.",
        answer=RunDetail,
    ),
    Route(
        "GET",
        "/runs/{run}/live-state",
        get_live_state,
        Access.READ,
        "Download what a Rollback found in the cluster before it wrote, without secrets.",
    ),
)
