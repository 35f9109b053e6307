"""Looks at watched refs: reads the head from the remote and offers what it finds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.releases import StageKey, StageName
from gitopsd.domain.sources import CommitSha, RefName, RefState, RepoURL
from gitopsd.domain.work import WorkItem, WorkKind
from gitopsd.engine.admission import settle
from gitopsd.engine.offering import Candidate, offer_release
from gitopsd.engine.pin_facts import add_pin
from gitopsd.engine.services import Services
from gitopsd.engine.tag_looks import Head, fetch_followed
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.errors import GitopsdError
from gitopsd.kube.redaction import redact_text
from gitopsd.ports import Rejection
from gitopsd.source_ports import SourceHead
from gitopsd.store_ports import Transaction

NOT_SERVED_YET = tuple(timedelta(seconds=seconds) for seconds in (1, 2, 5, 15, 60))
"""When a head that a hint named is looked for again while the remote does not serve it yet."""


def look_key(repo: RepoURL, ref: RefName) -> str:
    """Name the work item of a ref."""
    return f"look:{ref} {repo}"


def want_look(
    tx: Transaction, repo: RepoURL, ref: RefName, *, expected: CommitSha | None = None
) -> None:
    """Ask for a look now. Safe to repeat: one look may answer many hints."""
    tx.refs.want(repo, ref, expected=expected, at=tx.now)
    tx.work.add(
        WorkItem(
            key=look_key(repo, ref),
            kind=WorkKind.LOOK,
            subject=f"{ref} {repo}",
            due_at=tx.now,
        )
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """What one commit means for one application, worked out before the transaction."""

    application: ApplicationSpec
    inputs: Mapping[StageName, str]


async def run_look(services: Services, item: WorkItem) -> timedelta | None:
    """Read one ref from its remote and offer what changed.

    Returns when to look again; None when no application follows the ref any more. One that
    follows it again asks for a look. Safe to repeat: the same head offers nothing twice.
    """
    ref_text, _, repo_text = item.subject.partition(" ")
    repo, ref = RepoURL(repo_text), RefName(ref_text)
    if not await _is_followed(services, repo, ref):
        return None
    state = await services.store.read(lambda tx: tx.refs.get(repo, ref)) or RefState(repo, ref)
    try:
        head = await fetch_followed(services, state)
        found = await _find(services, repo, ref, head.source) if head.source is not None else ()
    except GitopsdError as error:
        return await _look_failed(services, state, error)
    return await retry_conflicts(
        services.store, lambda tx: _record(tx, services, state, head, found)
    )


async def _is_followed(services: Services, repo: RepoURL, ref: RefName) -> bool:
    """Tell whether an application follows a ref, here or as another replica stored it."""
    if any(spec.follows(repo, ref) for spec in services.configuration().applications.values()):
        return True
    stored = await services.store.read(lambda tx: tx.specs.currents())
    return any(spec.follows(repo, ref) for spec in stored)


async def _find(
    services: Services, repo: RepoURL, ref: RefName, head: SourceHead
) -> tuple[_Found, ...]:
    """Work out the input keys of every stage that the ref feeds; starts no renderer."""
    found = []
    cache: dict[str, str] = {}
    for application in services.configuration().applications.values():
        stages = [
            stage
            for stage in application.stages
            if application.source.repo == repo and application.ref_of(stage) == ref
        ]
        if not stages:
            continue
        keys: dict[StageName, str] = {}
        for stage in stages:
            if stage.path not in cache:
                inputs = await services.renderer.fetch_inputs(repo, head.commit.sha, stage.path)
                cache[stage.path] = _key_of(inputs)
            key = cache[stage.path]
            keys[stage.name] = await add_pin(services, repo, head.commit.sha, stage, key)
        found.append(_Found(application, keys))
    if found:
        await services.repositories.pin(repo, head.commit.sha)
    return tuple(found)


def _key_of(inputs: object) -> str:
    if isinstance(inputs, Rejection):
        text = f"{inputs.reason}\n{inputs.message}"
        return f"rejected:{hashlib.sha256(text.encode()).hexdigest()}"
    return str(getattr(inputs, "key", ""))


async def _look_failed(services: Services, state: RefState, error: GitopsdError) -> timedelta:
    asked = getattr(error, "retry_after", None)
    backoff = timedelta(seconds=min(60, 2 ** min(state.tries, 6)))
    wait = max(asked, backoff) if isinstance(asked, timedelta) else backoff

    def work(tx: Transaction) -> None:
        latest = tx.refs.get(state.repo, state.ref) or state
        tx.refs.save(
            replace(
                latest,
                tries=latest.tries + 1,
                problem=redact_text(error.message),
                looked_at=tx.now,
                next_look_at=tx.now + wait,
            )
        )

    await services.store.transact(work)
    return wait


def _record(
    tx: Transaction, services: Services, state: RefState, head: Head, found: tuple[_Found, ...]
) -> timedelta:
    latest = tx.refs.get(state.repo, state.ref) or state
    wait = _next_look(services, latest, late=head.late)
    changed: list[StageKey] = []
    if head.source is not None:
        commit = head.source.commit
        for item in found:
            candidate = Candidate(
                item.application, state.ref, commit, item.inputs, head.kind, head.tag
            )
            changed += offer_release(tx, candidate, services.configuration())
            if head.tag and (head.tag, commit.sha) != (state.tag, state.head):
                _mark(tx, candidate)
        latest = replace(latest, head=commit.sha, tag=head.tag)
    tx.refs.save(
        replace(
            latest,
            done=state.wanted,
            tries=latest.tries + 1 if head.late else 0,
            problem=head.problem,
            looked_at=tx.now,
            next_look_at=tx.now + wait,
        )
    )
    settle(tx, changed, services.configuration())
    return wait


def _mark(tx: Transaction, candidate: Candidate) -> None:
    """Let the release that a tag stands for be asked for by the tag."""
    for seen in tx.releases.seen(candidate.commit.sha):
        if seen.line == candidate.line:
            tx.images.mark(candidate.application.name, seen.release, [f"tag:{candidate.tag}"])


def _next_look(services: Services, state: RefState, *, late: bool) -> timedelta:
    if late and state.expected is not None and state.tries < len(NOT_SERVED_YET):
        return NOT_SERVED_YET[state.tries]
    return services.pace.poll - _spread(state, services.pace.poll)


def _spread(state: RefState, poll: timedelta) -> timedelta:
    """Spread polls of many refs over a tenth of the interval, the same for each ref each time.

    They come early, the least of them by a sweep's second: what nobody announced is seen within
    the interval.
    """
    digest = hashlib.sha256(f"{state.repo} {state.ref}".encode()).digest()
    return poll * ((digest[0] + 51) / 2560)
