"""What people do to a stage."""

from __future__ import annotations

from pydantic import Field

from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.stages import RestoredChoice
from gitopsd.domain.work import Page
from gitopsd.entrypoints.http.api.results import (
    answer_result,
    expect,
    not_found,
    stage_key,
    visible_application,
)
from gitopsd.entrypoints.http.models import Done, ReasonBody
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.problems import ProblemError
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.store_ports import Transaction

_LONGEST_ID = 100
_HISTORY = Page(limit=200)


class PromoteBody(ReasonBody):
    """What to promote."""

    release: str = Field(max_length=_LONGEST_ID, description="Release id or alias.")


class RollbackBody(ReasonBody):
    """What to roll back to."""

    release: str | None = Field(
        None, max_length=_LONGEST_ID, description="Release id or alias; the one before if left out."
    )


class ResumeBody(ReasonBody):
    """Whom to believe, when the database was restored from an older copy."""

    restored: RestoredChoice | None = Field(
        None,
        description="Asked for by a stage that is stalled with RestoredDatabase, else left out.",
    )


async def promote(call: Call) -> Answer:
    """Ask for a release in a stage."""
    key, body = await _stage(call), expect(PromoteBody, call.body)
    release = await _find_release(call, key, body.release)
    actions = call.service.actions
    return answer_result(await actions.promote(call.actor, key, release, reason=body.reason))


async def rollback(call: Call) -> Answer:
    """Restore a verified set."""
    key, body = await _stage(call), expect(RollbackBody, call.body)
    release = await _find_release(call, key, body.release) if body.release else None
    actions = call.service.actions
    return answer_result(await actions.rollback(call.actor, key, release, reason=body.reason))


async def sync(call: Call) -> Answer:
    """Apply the applied set again."""
    key, body = await _stage(call), expect(ReasonBody, call.body)
    return answer_result(await call.service.actions.sync(call.actor, key, reason=body.reason))


async def reverify(call: Call) -> Answer:
    """Make the checks of what the stage runs again."""
    key, body = await _stage(call), expect(ReasonBody, call.body)
    return answer_result(await call.service.actions.reverify(call.actor, key, reason=body.reason))


async def adopt(call: Call) -> Answer:
    """Take the stage's inventory over."""
    key, body = await _stage(call), expect(ReasonBody, call.body)
    return answer_result(await call.service.actions.adopt(call.actor, key, reason=body.reason))


async def suspend(call: Call) -> Answer:
    """Stop admitting rollouts."""
    key, body = await _stage(call), expect(ReasonBody, call.body)
    return answer_result(await call.service.actions.suspend(call.actor, key, body.reason))


async def resume(call: Call) -> Answer:
    """Let the stage go on."""
    key, body = await _stage(call), expect(ResumeBody, call.body)
    actions = call.service.actions
    done = await actions.resume(call.actor, key, body.restored, reason=body.reason)
    return answer_result(done)


async def _stage(call: Call) -> StageKey:
    """Find the stage of the path and check the caller's permission for it.

    Raises:
        ProblemError: 404 for a stage that is not there or may not be seen, 403.
    """
    visible_application(call)
    key = stage_key(call)
    call.require(Access.DEPLOY, key.application)
    if await call.service.services.store.read(lambda tx: tx.stages.get(key)) is None:
        raise not_found("stage", str(key))
    return key


async def _find_release(call: Call, key: StageKey, wanted: str) -> ReleaseId:
    """Find a release of the application by id, alias or commit.

    Raises:
        ProblemError: 404 when there is none, 409 when several are called so.
    """

    def work(tx: Transaction) -> list[ReleaseId]:
        found = tx.releases.get(ReleaseId(wanted))
        if found is not None:
            return [found.id] if found.application == key.application else []
        return [
            release.id
            for release in tx.releases.page(key.application, _HISTORY)
            if wanted in (release.alias, release.commit.sha)
        ]

    found = await call.service.services.store.read(work)
    if not found:
        raise not_found("release", wanted)
    if len(found) > 1:
        listed = ", ".join(found)
        raise ProblemError(409, f"Several releases are called {wanted}: {listed}. Give the id.")
    return found[0]


_VERBS = (
    ("promote", promote, PromoteBody, "Ask for a release in a stage."),
    ("rollback", rollback, RollbackBody, "Restore a verified set."),
    ("sync", sync, ReasonBody, "Apply the stage's applied set again."),
    ("reverify", reverify, ReasonBody, "Make the checks of what the stage runs again, now."),
    ("adopt", adopt, ReasonBody, "Take the stage's inventory over from another installation."),
    ("suspend", suspend, ReasonBody, "Stop admitting rollouts to a stage."),
    ("resume", resume, ResumeBody, "Lift suspension, hold, stall and a held rewind."),
)

ROUTES = tuple(
    Route(
        "POST",
        f"/applications/{{app}}/stages/{{stage}}/{verb}",
        handler,
        Access.DEPLOY,
        summary,
        answer=Done,
        body=body,
    )
    for verb, handler, body, summary in _VERBS
)
