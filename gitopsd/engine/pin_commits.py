"""Works out the commit that keeps a stage on what a Rollback restored: one file of our own."""

from __future__ import annotations

from gitopsd.domain.agreements import AgreementState
from gitopsd.domain.sources import CommitSha
from gitopsd.engine.services import Services
from gitopsd.engine.undoing import Case, Change, find_configured
from gitopsd.pipeline.agreeing import Nothing, branch_of
from gitopsd.pipeline.pin_files import compose_pin, compose_pin_message, locate_pin, parse_pin
from gitopsd.ports import NOT_A_FILE, Rejection


async def plan_pin(services: Services, case: Case, head: CommitSha) -> Change | Nothing:
    """Work out the pin file of a stage, on top of whatever the branch holds.

    One that is there already, or that somebody broke, is written anew; a later Rollback's stays.

    Raises:
        TemporaryError: The mirror cannot be read now.
    """
    run, agreement = case.run, case.agreement
    configured = find_configured(services, run)
    if isinstance(configured, Nothing):
        return configured
    application, spec = configured
    path, branch = locate_pin(spec.path), branch_of(agreement.ref)
    found = await services.renderer.fetch_document(application.source.repo, head, path)
    if isinstance(found, Rejection) and found.reason == NOT_A_FILE:
        message = f"{path} on {branch} is no file, and is left alone; remove it and pin by hand"
        return Nothing(AgreementState.LEFT_TO_PERSON, message)
    if found is not None and not isinstance(found, Rejection):
        there = parse_pin(found, path, run.stage).pinned
        if there is not None and there.since > agreement.since:
            message = f"{path} on {branch} is of a later rollback"
            return Nothing(AgreementState.UNNEEDED, message)
    content = compose_pin(run, case.failed, case.restored, case.reason, agreement.since)
    message = compose_pin_message(run, case.failed, case.restored, case.reason, path)
    return Change({path: content}, message)
