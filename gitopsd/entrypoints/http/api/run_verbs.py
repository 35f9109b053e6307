"""What people do to a run."""

from __future__ import annotations

from pydantic import Field

from gitopsd.domain.runs import Run
from gitopsd.entrypoints.http.api.results import answer_result, expect
from gitopsd.entrypoints.http.api.runs import load_run
from gitopsd.entrypoints.http.models import Done, Model, ReasonBody
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import Answer, Call, Route


class VoteBody(Model):
    """A vote."""

    plan: str = Field("", max_length=200, description="The plan you saw; the present one if empty.")
    reason: str = Field("", max_length=1000)


class SkipBody(Model):
    """Which gate a run may pass, and why."""

    gate: str = Field(min_length=1, max_length=100, description="Name of the gate.")
    reason: str = Field(min_length=1, max_length=1000, pattern=r"\S", description="Why.")
    plan: str = Field("", max_length=200, description="The plan you saw; the present one if empty.")


class AbortBody(ReasonBody):
    """How to abort."""

    restore: bool = Field(
        default=True,
        description="Restore what was last verified, if the run wrote; false leaves what it wrote.",
    )


async def approve(call: Call) -> Answer:
    """Vote for a run's plan."""
    run, body = await _run(call, Access.APPROVE), expect(VoteBody, call.body)
    actions = call.service.actions
    return answer_result(await actions.approve(call.actor, run.id, body.plan, body.reason))


async def reject(call: Call) -> Answer:
    """Vote against a run's plan."""
    run, body = await _run(call, Access.APPROVE), expect(VoteBody, call.body)
    actions = call.service.actions
    return answer_result(await actions.reject(call.actor, run.id, body.plan, body.reason))


async def skip(call: Call) -> Answer:
    """Let a run pass one gate."""
    run, body = await _run(call, Access.SKIP_GATE), expect(SkipBody, call.body)
    actions = call.service.actions
    done = await actions.skip(
        call.actor, run.id, body.gate, plan=body.plan, reason=body.reason.strip()
    )
    return answer_result(done)


async def abort(call: Call) -> Answer:
    """End a run."""
    run, body = await _run(call, Access.DEPLOY), expect(AbortBody, call.body)
    actions = call.service.actions
    done = await actions.abort(call.actor, run.id, restore=body.restore, reason=body.reason)
    return answer_result(done)


async def retry(call: Call) -> Answer:
    """Try a run's release again."""
    run, body = await _run(call, Access.DEPLOY), expect(ReasonBody, call.body)
    actions = call.service.actions
    return answer_result(await actions.retry(call.actor, run.id, reason=body.reason))


async def _run(call: Call, access: Access) -> Run:
    run = await load_run(call)
    call.require(access, run.stage.application)
    return run


_VERBS = (
    ("approve", approve, Access.APPROVE, VoteBody, "Approve a run's plan."),
    ("reject", reject, Access.APPROVE, VoteBody, "Reject a run's plan; the run ends."),
    ("skip", skip, Access.SKIP_GATE, SkipBody, "Let a run pass one gate, for its present plan."),
    ("abort", abort, Access.DEPLOY, AbortBody, "End a run."),
    ("retry", retry, Access.DEPLOY, ReasonBody, "Try a run's release again."),
)

ROUTES = tuple(
    Route("POST", f"/runs/{{run}}/{verb}", handler, access, summary, answer=Done, body=body)
    for verb, handler, access, body, summary in _VERBS
)
