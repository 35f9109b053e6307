"""Why does it stand as it does, and what makes it go on? Of runs, stages, applications, commits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, Field

from gitopsd.domain.releases import ApplicationName, StageKey
from gitopsd.domain.runs import Run
from gitopsd.engine.explaining import load_application_facts, load_run_facts, load_stage_facts
from gitopsd.engine.queries import fetch_commit_statuses
from gitopsd.entrypoints.http.api.explanation_views import (
    ApplicationExplanationView,
    CommitExplanationView,
    ExplanationView,
    RunExplanationView,
    view_explanation,
    view_story,
)
from gitopsd.entrypoints.http.api.results import expect, not_found, stage_key, visible_application
from gitopsd.entrypoints.http.api.runs import load_run
from gitopsd.entrypoints.http.models import Model
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.problems import ProblemError
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.kube.redaction import redact_text
from gitopsd.pipeline.commit_status import CommitStatus
from gitopsd.pipeline.explained_application import explain_application, explain_commit
from gitopsd.pipeline.explained_run import explain_run
from gitopsd.pipeline.explained_stage import explain_stage
from gitopsd.pipeline.explanation import Explanation
from gitopsd.pipeline.run_story import summarise, tell_story
from gitopsd.store_ports import Transaction

_LONGEST_NAME = 300
_FURTHEST_SECONDS = 400 * 24 * 3600


class AtQuery(Model):
    """For which time."""

    at: AwareDatetime | None = Field(
        None, description="Time to come for which gates are foreseen, e.g. 2030-06-03T08:00:00Z."
    )
    in_seconds: int | None = Field(
        None, ge=0, le=_FURTHEST_SECONDS, description="The same, as seconds from now."
    )


class CommitExplainQuery(AtQuery):
    """Which stages, and for which time."""

    application: str = Field("", max_length=_LONGEST_NAME)
    stage: str = Field("", max_length=_LONGEST_NAME)


async def explain_one_run(call: Call) -> Answer:
    """Explain one run."""
    run, at = await load_run(call), _read_at(call)
    config = call.service.services.configuration()

    def work(tx: Transaction) -> RunExplanationView:
        found = tx.runs.get(run.id) or run
        told = view_explanation(explain_run(load_run_facts(tx, found, config, at)))
        return RunExplanationView(
            **dict(told),
            summary=redact_text(summarise(found)),
            lines=view_story(tell_story(tuple(tx.runs.events(found.id)))),
        )

    return await call.service.services.store.read(work)


async def explain_one_stage(call: Call) -> Answer:
    """Explain one stage."""
    visible_application(call)
    key, at = stage_key(call), _read_at(call)

    def work(tx: Transaction) -> ExplanationView | None:
        return _view_stage(tx, call, key, at)

    found = await call.service.services.store.read(work)
    if found is None:
        raise not_found("stage", str(key))
    return found


async def explain_one_application(call: Call) -> Answer:
    """Explain an application and each of its stages."""
    name, at = visible_application(call), _read_at(call)
    service = call.service
    everywhere = call.principal.may_everywhere(Access.READ)

    def work(tx: Transaction) -> ApplicationExplanationView | None:
        spec = tx.specs.current(name)
        keys = _keys(tx, name)
        if spec is None and not keys:
            return None
        config, problems = service.services.configuration(), _problems(tx, call, name)
        facts = load_application_facts(tx, name, config, problems=problems, sure=not everywhere)
        stages = [_view_stage(tx, call, key, at) for key in keys]
        return ApplicationExplanationView(
            **dict(view_explanation(explain_application(facts))),
            stages=[stage for stage in stages if stage is not None],
        )

    found = await service.services.store.read(work)
    if found is None:
        raise not_found("application", name)
    return found


async def explain_one_commit(call: Call) -> Answer:
    """Explain where a commit stands in each stage."""
    query, wanted, at = expect(CommitExplainQuery, call.query), call.path["sha"], _read_at(call)
    if len(wanted) > _LONGEST_NAME:
        raise ProblemError(404, "No commit, tag or digest is that long.")
    services = call.service.services
    statuses = await fetch_commit_statuses(
        services, wanted, application=query.application, stage=query.stage
    )
    seen = [one for one in statuses if call.principal.may(Access.READ, one.key.application)]

    def work(tx: Transaction) -> list[ExplanationView]:
        return [view_explanation(_explain_commit(tx, call, one, wanted, at)) for one in seen]

    return CommitExplanationView(commit=wanted, stages=await services.store.read(work))


def _explain_commit(
    tx: Transaction, call: Call, status: CommitStatus, wanted: str, at: datetime | None
) -> Explanation:
    run: Run | None = tx.runs.get(status.run.id) if status.run is not None else None
    config = call.service.services.configuration()
    told = explain_run(load_run_facts(tx, run, config, at)) if run is not None else None
    return explain_commit(status, told, wanted, tx.now)


def _view_stage(
    tx: Transaction, call: Call, key: StageKey, at: datetime | None
) -> ExplanationView | None:
    config, problems = call.service.services.configuration(), _problems(tx, call, key.application)
    facts = load_stage_facts(tx, key, config, at, problems=problems)
    return view_explanation(explain_stage(facts)) if facts is not None else None


def _problems(tx: Transaction, call: Call, name: ApplicationName) -> list[str]:
    """Say why an application's file as it is now is not used."""
    spec = tx.specs.current(name)
    file = spec.file if spec is not None else ""
    return [str(one) for one in call.service.problems() if file and one.file == file]


def _keys(tx: Transaction, name: ApplicationName) -> list[StageKey]:
    """List an application's stages in the order of its file, retired ones last."""
    spec = tx.specs.current(name)
    stored = [stage.key for stage in tx.stages.page(name)]
    order = {stage.name: number for number, stage in enumerate(spec.stages)} if spec else {}
    return sorted(stored, key=lambda key: order.get(key.stage, len(order)))


def _read_at(call: Call) -> datetime | None:
    """Read the time that is asked about.

    Raises:
        ProblemError: 422 for one that is over (what the gates said then is in the run's log) or
            that is too far away.
    """
    query, now = expect(AtQuery, call.query), call.service.services.clock.now()
    if query.in_seconds is not None:
        return now + timedelta(seconds=query.in_seconds)
    if query.at is None:
        return None
    if not now <= query.at <= now + timedelta(seconds=_FURTHEST_SECONDS):
        raise ProblemError(422, "Give a time to come, at most 400 days away, or leave it out.")
    return query.at.astimezone(UTC)


ROUTES = (
    Route(
        "GET",
        "/runs/{run}/explain",
        explain_one_run,
        Access.READ,
        "Tell why a run stands as it does, what happened to it, and what makes it go on.",
        answer=RunExplanationView,
        query=AtQuery,
    ),
    Route(
        "GET",
        "/applications/{app}/stages/{stage}/explain",
        explain_one_stage,
        Access.READ,
        "Tell why a stage stands as it does, and what makes it go on.",
        answer=ExplanationView,
        query=AtQuery,
    ),
    Route(
        "GET",
        "/applications/{app}/explain",
        explain_one_application,
        Access.READ,
        "Tell where an application's releases come from, and why each stage stands as it does.",
        answer=ApplicationExplanationView,
        query=AtQuery,
    ),
    Route(
        "GET",
        "/commits/{sha}/explain",
        explain_one_commit,
        Access.READ,
        "Tell where a commit, tag or image digest stands in each stage, and why.",
        answer=CommitExplanationView,
        query=CommitExplainQuery,
    ),
)
