"""Makes attempts of checks and keeps their evidence: the first failure's, and the last ones'."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from gitopsd.domain.checks import Check, JobCheck, PrometheusCheck
from gitopsd.domain.config import StageSpec
from gitopsd.domain.manifests import Json, JsonObject, RenderedSet
from gitopsd.domain.work import EvidenceKind
from gitopsd.engine.baselines import find_baseline
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.writing import write_permit
from gitopsd.kube.hooks import find_hooks
from gitopsd.kube.names import HookPhase
from gitopsd.kube.verification_jobs import find_template
from gitopsd.ports import Baseline, CheckAttempt, CheckTarget

ATTEMPTS_KEPT = 10
"""Attempts of each check whose evidence stays with the run, beside that of the first failure."""


@dataclass(frozen=True, slots=True)
class Planned:
    """An attempt that is to be made, or gone on with.

    Attributes:
        check: The check.
        number: Which attempt of the check it is in this step, from 1.
        underway: Whether this execution of the step has begun it already.
        failed: Whether an earlier attempt of the check in this step has failed.
        since: From when on metrics are measured; None when those of a moment ago count too.
    """

    check: Check
    number: int = 1
    underway: bool = False
    failed: bool = False
    since: datetime | None = None


async def attempt_checks(
    context: StepContext, planned: Sequence[Planned], *, keep: bool = True
) -> tuple[CheckAttempt, ...]:
    """Make one attempt of each check, all at once, or look again at those that are under way.

    Safe to repeat: checks only look, but for Jobs. A Job is found again by its attempt's name,
    and its answer is stored before it goes, so that none runs twice for one attempt.

    Args:
        context: The step.
        planned: What is to be done.
        keep: Whether evidence is kept with the run.

    Raises:
        LostError: A Job's template cannot be read any more.
        TemporaryError: A Job is to begin, and nothing may be written now.
        LeaseLostError: The right to write ended before a Job began.
    """
    jobs = [one for one in planned if isinstance(one.check, JobCheck)]
    templates = await _load_templates(context) if jobs else ()
    async with _permit(context, needed=any(not one.underway for one in jobs)):
        return tuple(
            await asyncio.gather(*(_attempt(context, one, templates, keep=keep) for one in planned))
        )


@asynccontextmanager
async def _permit(context: StepContext, *, needed: bool) -> AsyncIterator[None]:
    """Take the right to write while Jobs begin."""
    if not needed:
        yield
        return
    async with write_permit(context) as permit:
        permit.check()
        yield


async def _load_templates(context: StepContext) -> tuple[JsonObject, ...]:
    rendered = await context.load_rendered()
    return find_hooks(rendered.objects, HookPhase.VERIFY)


def find_missing_template(spec: StageSpec, rendered: RenderedSet) -> str:
    """Say which check's Job is not in a rendered set; empty when all are."""
    templates = find_hooks(rendered.objects, HookPhase.VERIFY)
    for check in spec.verify:
        if isinstance(check, JobCheck) and find_template(templates, check.template) is None:
            return (
                f"check {check.name} needs a Job {check.template} in the overlay that is annotated "
                "`gitopsd.io/hook: Verify`, and there is none"
            )
    return ""


async def _attempt(
    context: StepContext, one: Planned, templates: tuple[JsonObject, ...], *, keep: bool
) -> CheckAttempt:
    verifier, spec = context.services.verifier, context.spec
    target = CheckTarget(
        spec.cluster,
        spec.namespace,
        spec.service_account,
        run=context.run.id,
        attempt=_name(context, one),
        begun=one.underway,
        templates=templates,
        labels=context.labels,
        values=placeholder_values(context),
        since=one.since,
        baseline=await _find_baseline(context, one.check) if keep else None,
    )
    is_job = isinstance(one.check, JobCheck)
    answer = await _recall(context, one, target) if is_job and keep else None
    if answer is None:
        answer = await verifier.run_check(one.check, target)
        if keep:
            await _keep(context, one, target, answer)
    if is_job and not answer.underway:
        await verifier.tidy(one.check, target)
    return answer


async def _find_baseline(context: StepContext, check: Check) -> Baseline | None:
    if not isinstance(check, PrometheusCheck) or check.worsening is None:
        return None
    return await context.services.store.read(lambda tx: find_baseline(tx, context.run))


def placeholder_values(context: StepContext) -> dict[str, str]:
    """Tell what stands for each placeholder of a query."""
    return {
        "application": context.application.name,
        "stage": context.spec.name,
        "cluster": context.spec.cluster,
        "namespace": context.spec.namespace,
        "release": context.release.id,
        "commit": context.release.commit.sha,
        "run": context.run.id,
    }


async def _recall(context: StepContext, one: Planned, target: CheckTarget) -> CheckAttempt | None:
    """Read how an attempt ended that was made before a crash; None when it did not end."""
    for key in (_slot(context, one), _first_key(context, one.check)):
        found = await context.load_evidence(EvidenceKind.CHECK, key)
        if found is None or found.get("name") != target.attempt or found.get("underway"):
            continue
        passed = found.get("passed")
        if isinstance(passed, bool):
            message, seconds = str(found.get("message", "")), found.get("seconds")
            took = timedelta(seconds=seconds if isinstance(seconds, int | float) else 0)
            return CheckAttempt(passed, message, found.get("evidence"), took)
    return None


async def _keep(
    context: StepContext, one: Planned, target: CheckTarget, answer: CheckAttempt
) -> None:
    """Keep an attempt's evidence; the first failure's is never overwritten by later attempts."""
    content: dict[str, Json] = {
        "check": one.check.name,
        "attempt": one.number,
        "name": target.attempt,
        "passed": answer.passed,
        "message": answer.message,
        "seconds": round(answer.latency / timedelta(seconds=1), 3),
        "evidence": answer.evidence,
    }
    if answer.underway:
        await context.keep(
            EvidenceKind.CHECK, {**content, "underway": True}, key=_slot(context, one)
        )
        return
    first = answer.passed is False and not one.failed
    first = first and not await _is_first_kept(context, one.check)
    if first:
        kept: dict[str, Json] = {**content, "firstFailure": True}
        await context.keep(EvidenceKind.CHECK, kept, key=_first_key(context, one.check))
    if not first or isinstance(one.check, JobCheck):  # which replaces what it said under way
        await context.keep(EvidenceKind.CHECK, content, key=_slot(context, one))


async def keep_monitored(context: StepContext, check: Check, answer: CheckAttempt) -> None:
    """Keep why a monitor's check failed with the run whose release it watches: the last time."""
    content: dict[str, Json] = {
        "check": check.name,
        "monitored": True,
        "passed": answer.passed,
        "message": answer.message,
        "seconds": round(answer.latency / timedelta(seconds=1), 3),
        "evidence": answer.evidence,
    }
    await context.keep(EvidenceKind.CHECK, content, key=f"{check.name}#monitor")


async def _is_first_kept(context: StepContext, check: Check) -> bool:
    """Whether a first failure is stored already: after a crash the count may begin anew.

    What an earlier series kept gives way.
    """
    pieces = await context.services.store.read(lambda tx: tx.runs.evidence(context.run.id))
    wanted = (context.step, EvidenceKind.CHECK, _first_key(context, check))
    found = [piece.content for piece in pieces if (piece.step, piece.kind, piece.key) == wanted]
    return any(
        isinstance(kept, dict) and str(kept.get("name", "")).startswith(context.series)
        for kept in found
    )


def _name(context: StepContext, one: Planned) -> str:
    return f"{context.series or context.step.value.lower()}-{one.number}"


def _slot(context: StepContext, one: Planned) -> str:
    return f"{one.check.name}#{_mark(context)}{one.number % ATTEMPTS_KEPT}"


def _first_key(context: StepContext, check: Check) -> str:
    return f"{check.name}#{_mark(context)}first-failure"


def _mark(context: StepContext) -> str:
    return "again-" if context.series else ""
