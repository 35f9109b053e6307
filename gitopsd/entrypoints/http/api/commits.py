"""Is my commit live?"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import Field

from gitopsd.engine.queries import CommitQuestion
from gitopsd.entrypoints.http.api.results import expect
from gitopsd.entrypoints.http.models import Model
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.problems import ProblemError
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.kube.redaction import redact_text
from gitopsd.pipeline.commit_status import CommitState, CommitStatus

LONGEST_WAIT_SECONDS = 300
"""A longer wait is asked for again; proxies close idle requests anyway."""

SWEEP = timedelta(seconds=1)
"""How often a waiting request looks without any hint."""

SHORTEST_PAUSE = timedelta(milliseconds=30)
"""Between two looks of one waiting request, however many hints there are."""

_LONGEST_NAME = 300


class CommitStatusView(Model):
    """Where a commit stands in one stage."""

    application: str
    stage: str
    state: str = Field(
        description="NotSeen, Waiting, Running, Live, Failed, RolledBack, Quarantined, "
        "Superseded, Held or NotConcerned."
    )
    terminal: bool = Field(description="Whether waiting longer cannot change it by itself.")
    exact: bool = Field(description="Live: whether it is this commit itself.")
    release: str | None
    since: datetime | None
    observed_at: datetime | None = Field(description="When live objects were last looked at.")
    reason: str
    waiting_for: str
    run: str | None


class CommitView(Model):
    """Where a commit stands, stage by stage."""

    commit: str
    stages: list[CommitStatusView]


class CommitQuery(Model):
    """Which stages, and how long to wait."""

    application: str = Field("", max_length=_LONGEST_NAME)
    stage: str = Field("", max_length=_LONGEST_NAME)
    known: str = Field(
        "",
        max_length=10_000,
        description="Stages whose end you know already (APP/STAGE, by commas); they end no wait. "
        "Left out: those that ended before the request came.",
    )
    wait: float = Field(
        0,
        ge=0,
        le=LONGEST_WAIT_SECONDS,
        description="Seconds to wait for a terminal state; answers at once when there is one.",
    )


async def get_commit(call: Call) -> Answer:
    """Tell where a commit stands, at once or at the first terminal state."""
    query = expect(CommitQuery, call.query)
    wanted = call.path["sha"]
    if len(wanted) > _LONGEST_NAME:
        raise ProblemError(404, "No commit, tag or digest is that long.")
    clock, changes = call.service.services.clock, call.service.changes
    question = CommitQuestion(
        call.service.services, wanted, application=query.application, stage=query.stage
    )
    end = clock.monotonic() + query.wait
    before = frozenset(query.known.split(",")) if query.known else None
    while True:
        mark = changes.mark()
        statuses = await _look(call, question)
        ended = _ended(statuses)
        before = ended if before is None else before
        left = timedelta(seconds=end - clock.monotonic())
        gone = call.request.transport is None
        if left <= timedelta(0) or gone or changes.closed or _is_over(statuses, ended - before):
            return CommitView(commit=wanted, stages=[_view(status) for status in statuses])
        await clock.sleep(min(SHORTEST_PAUSE, left))
        await changes.wait(mark, min(SWEEP, left))


async def _look(call: Call, question: CommitQuestion) -> tuple[CommitStatus, ...]:
    statuses = await question.fetch()
    return tuple(
        status for status in statuses if call.principal.may(Access.READ, status.key.application)
    )


def _ended(statuses: tuple[CommitStatus, ...]) -> frozenset[str]:
    return frozenset(
        str(status.key)
        for status in statuses
        if status.state.terminal and status.state is not CommitState.NOT_CONCERNED
    )


def _is_over(statuses: tuple[CommitStatus, ...], newly: frozenset[str]) -> bool:
    """Tell whether to answer: something ended since the request came, or nothing can any more."""
    return bool(newly) or (bool(statuses) and all(one.state.terminal for one in statuses))


def _view(status: CommitStatus) -> CommitStatusView:
    return CommitStatusView(
        application=status.key.application,
        stage=status.key.stage,
        state=status.state.value,
        terminal=status.state.terminal,
        exact=status.exact,
        release=status.release,
        since=status.since,
        observed_at=status.observed_at,
        reason=redact_text(status.reason),
        waiting_for=redact_text(status.waiting_for),
        run=status.run.id if status.run is not None else None,
    )


ROUTES = (
    Route(
        "GET",
        "/commits/{sha}",
        get_commit,
        Access.READ,
        "Tell where a commit, tag or image digest stands in each stage; waits when asked to.",
        answer=CommitView,
        query=CommitQuery,
    ),
)
