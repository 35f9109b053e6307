"""Applications with their stages."""

from __future__ import annotations

from pydantic import Field

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.releases import ApplicationName, Line
from gitopsd.engine.offering import find_current, load_image_choice
from gitopsd.entrypoints.http.api.group_views import GroupView, view_group
from gitopsd.entrypoints.http.api.release_views import OfferedReleaseView, ReleaseList, view_offered
from gitopsd.entrypoints.http.api.results import cut_page, expect, not_found, visible_application
from gitopsd.entrypoints.http.api.run_views import RunList, view_run
from gitopsd.entrypoints.http.api.stage_views import (
    QueuedStageView,
    StageView,
    order_stages,
    view_queued,
    view_stage,
)
from gitopsd.entrypoints.http.models import Model, PageQuery
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.kube.redaction import redact_text
from gitopsd.store_ports import Transaction


class SourceView(Model):
    """Where an application's manifests live."""

    repo: str = Field(alias="repoURL")
    ref: str = Field(description="Branch or tag; for several tags what selects among them.")
    tag: str = Field("", description="Tag that it comes to now; empty for a branch.")
    problem: str = Field(
        "", description="Why a ref of the stages could not be read last; empty when all were."
    )


class ImageView(Model):
    """An image that makes releases."""

    name: str
    policy: str = Field(description="Which image is wanted, e.g. `semver >=1.4 <2`.")
    group: str = Field(description="Images of one group move together; empty for none.")
    tag: str = Field(description="Of the newest release; empty when there is none.")
    digest: str = Field(description="Of the newest release; empty when there is none.")
    problem: str = Field(description="Why the registry could not be asked last; empty when it was.")


class ApplicationView(Model):
    """One application."""

    name: str
    labels: dict[str, str]
    source: SourceView | None = Field(description="Null when its file was removed.")
    file: str
    revision: int = Field(description="Number of the file's content among its revisions.")
    problems: list[str] = Field(description="Why the file as it is now is not used.")
    stages: list[StageView]
    groups: list[GroupView] = Field(description="Groups of stages, in file order.")
    images: list[ImageView] = Field(description="Images that make releases, in file order.")
    waiting: list[str] = Field(
        description="Images that are not released yet, and what they wait for; images that are "
        "passed over because they are quarantined."
    )


class ApplicationList(Model):
    """Applications, by name."""

    items: list[ApplicationView]
    next: str | None = Field(None, description="Cursor of the next page; null at the end.")


async def list_applications(call: Call) -> Answer:
    """List the applications that the caller may see."""
    query = expect(PageQuery, call.query)

    def work(tx: Transaction) -> list[ApplicationView]:
        names = [
            name
            for name in _names(tx)
            if name > query.before and call.principal.may(Access.READ, name)
        ]
        return [_view(tx, call, name) for name in names[: query.limit + 1]]

    views = await call.service.services.store.read(work)
    items, following = cut_page(views, query, lambda view: view.name)
    return ApplicationList(items=list(items), next=following)


async def get_application(call: Call) -> Answer:
    """Show one application."""
    name = visible_application(call)

    def work(tx: Transaction) -> ApplicationView | None:
        return _view(tx, call, name) if name in _names(tx) else None

    found = await call.service.services.store.read(work)
    if found is None:
        raise not_found("application", name)
    return found


async def get_stage(call: Call) -> Answer:
    """Show one stage."""
    name = visible_application(call)
    configuration = call.service.services.configuration()

    def work(tx: Transaction) -> QueuedStageView | None:
        for stage in tx.stages.page(name):
            if stage.key.stage == call.path["stage"]:
                return view_queued(tx, stage, tx.specs.current(name), configuration)
        return None

    found = await call.service.services.store.read(work)
    if found is None:
        raise not_found("stage", f"{name}/{call.path['stage']}")
    return found


async def list_releases(call: Call) -> Answer:
    """List an application's releases."""
    name, query = visible_application(call), expect(PageQuery, call.query)

    def work(tx: Transaction) -> tuple[OfferedReleaseView, ...]:
        return tuple(view_offered(tx, row) for row in tx.releases.page(name, query.page()))

    rows = await call.service.services.store.read(work)
    items, following = cut_page(rows, query, lambda row: row.id)
    return ReleaseList(items=list(items), next=following)


class RunsQuery(PageQuery):
    """Which runs."""

    stage: str = Field("", description="Only of this stage.")


async def list_runs(call: Call) -> Answer:
    """List an application's runs."""
    name, query = visible_application(call), expect(RunsQuery, call.query)

    def work(tx: Transaction) -> tuple[RunList, bool]:
        keys = [stage.key for stage in tx.stages.page(name)]
        key = next((key for key in keys if key.stage == query.stage), None)
        page = query.page()
        rows = tx.runs.page(page, stage=key) if key else tx.runs.page(page, application=name)
        items, following = cut_page(rows, query, lambda row: row.id)
        listed = RunList(items=[view_run(tx, row) for row in items], next=following)
        return listed, bool(keys) and (key is not None or not query.stage)

    listed, there = await call.service.services.store.read(work)
    if not there:
        raise not_found("stage" if query.stage else "application", query.stage or name)
    return listed


def _names(tx: Transaction) -> list[ApplicationName]:
    """List every application that is configured or has stages left."""
    configured = {spec.name for spec in tx.specs.currents()}
    return sorted(configured | {stage.key.application for stage in tx.stages.page()})


def _view(tx: Transaction, call: Call, name: ApplicationName) -> ApplicationView:
    spec = tx.specs.current(name)
    configuration = call.service.services.configuration()
    stages = [view_stage(tx, stage, spec, configuration) for stage in tx.stages.page(name)]
    images, waiting = _images(tx, spec) if spec is not None else ([], [])
    file = spec.file if spec is not None else ""
    return ApplicationView(
        name=name,
        labels=dict(spec.labels) if spec is not None else {},
        source=_source(tx, spec) if spec is not None else None,
        file=file,
        revision=spec.revision if spec is not None else 0,
        problems=[
            redact_text(str(error))
            for error in call.service.problems()
            if file and error.file == file
        ],
        stages=order_stages(stages, spec),
        groups=[view_group(tx, spec, group) for group in spec.groups] if spec is not None else [],
        images=images,
        waiting=waiting,
    )


def _images(tx: Transaction, spec: ApplicationSpec) -> tuple[list[ImageView], list[str]]:
    """Describe the images of an application's own line, and say what waits."""
    current = find_current(tx, Line(spec.name, spec.source.ref))
    stages = [one.name for one in spec.stages if spec.ref_of(one) == spec.source.ref]
    choice = load_image_choice(tx, spec, stages, current)
    views = []
    for source in spec.images:
        state = tx.images.get(source.name)
        origin = current.origins.get(source.name) if current is not None else None
        views.append(
            ImageView(
                name=source.name,
                policy=str(source.policy),
                group=source.group,
                tag=origin.tag if origin is not None else "",
                digest=current.images.get(source.name, "") if current is not None else "",
                problem=redact_text(state.problem) if state is not None else "",
            )
        )
    passed = [f"{image} is passed over: it is quarantined" for image in choice.skipped]
    return views, [*choice.missing, *choice.waiting, *passed]


def _source(tx: Transaction, spec: ApplicationSpec) -> SourceView:
    refs = dict.fromkeys(spec.ref_of(stage) for stage in spec.stages)
    states = [tx.refs.get(spec.source.repo, ref) for ref in refs]
    own = tx.refs.get(spec.source.repo, spec.source.ref)
    problems = dict.fromkeys(state.problem for state in states if state is not None)
    return SourceView(
        repoURL=redact_text(spec.source.repo),
        ref=spec.source.ref,
        tag=own.tag if own is not None else "",
        problem=redact_text("; ".join(filter(None, problems))),
    )


ROUTES = (
    Route(
        "GET",
        "/applications",
        list_applications,
        Access.READ,
        "List applications with their stages.",
        answer=ApplicationList,
        query=PageQuery,
    ),
    Route(
        "GET",
        "/applications/{app}",
        get_application,
        Access.READ,
        "Show one application.",
        answer=ApplicationView,
    ),
    Route(
        "GET",
        "/applications/{app}/stages/{stage}",
        get_stage,
        Access.READ,
        "Show one stage, and what stands in line for it.",
        answer=QueuedStageView,
    ),
    Route(
        "GET",
        "/applications/{app}/releases",
        list_releases,
        Access.READ,
        "List an application's releases, last offered first.",
        answer=ReleaseList,
        query=PageQuery,
    ),
    Route(
        "GET",
        "/applications/{app}/runs",
        list_runs,
        Access.READ,
        "List an application's runs, newest first.",
        answer=RunList,
        query=RunsQuery,
    ),
)
