"""Reads what people and CI jobs ask about."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gitopsd.domain.config import ApplicationSpec, StageSpec
from gitopsd.domain.gates import Closed, GateState, Open, Refused
from gitopsd.domain.manifests import Json
from gitopsd.domain.releases import Line, Release, ReleaseId, StageKey
from gitopsd.domain.runs import Run
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.domain.work import EvidenceKind, Page
from gitopsd.engine.effects import destination_of
from gitopsd.engine.facts import newest_verification
from gitopsd.engine.observation import is_fresh, observe
from gitopsd.engine.services import Services
from gitopsd.errors import GitopsdError
from gitopsd.pipeline.commit_status import (
    CommitFacts,
    CommitState,
    CommitStatus,
    compute_commit_status,
    followed_by_rollback,
)
from gitopsd.pipeline.quarantine import is_quarantined
from gitopsd.store_ports import Transaction

FRESH = timedelta(seconds=60)
"""``Live`` is said from a look at most this old."""


async def fetch_commit_statuses(
    services: Services, sha: CommitSha, *, application: str = "", stage: str = ""
) -> tuple[CommitStatus, ...]:
    """Tell where a commit stands in every stage it could concern.

    Looks at live objects when the last look is too old to say ``Live`` from it.
    """
    wanted = await services.store.read(lambda tx: _stages(tx, application, stage))
    statuses = []
    for spec, stage_spec in wanted:
        key = StageKey(spec.name, stage_spec.name)
        facts = await _facts(services, sha, key, spec, stage_spec)
        status = compute_commit_status(facts)
        if _wants_look(facts, status, services):
            seen = await observe(services, key)
            fresh = is_fresh(seen, services.clock.now(), FRESH)
            status = compute_commit_status(replace(facts, observation=seen, fresh=fresh))
        statuses.append(status)
    return tuple(statuses)


def _wants_look(facts: CommitFacts, status: CommitStatus, services: Services) -> bool:
    out = status.state is CommitState.RUNNING and facts.stage is not None
    idle = facts.stage is not None and facts.stage.front is None
    return out and idle and not is_fresh(facts.observation, services.clock.now(), FRESH)


def _stages(
    tx: Transaction, application: str, stage: str
) -> tuple[tuple[ApplicationSpec, StageSpec], ...]:
    return tuple(
        (spec, stage_spec)
        for spec in tx.specs.currents()
        if not application or spec.name == application
        for stage_spec in spec.stages
        if not stage or stage_spec.name == stage
    )


async def _facts(
    services: Services, sha: CommitSha, key: StageKey, spec: ApplicationSpec, stage: StageSpec
) -> CommitFacts:
    facts, running = await services.store.read(lambda tx: _stored(tx, sha, key, spec, stage))
    if running is None or running.id == facts.release:
        return facts
    contained = await _contains(services, spec.source.repo, running.commit.sha, sha)
    return replace(facts, contained=contained)


async def _contains(
    services: Services, repo: RepoURL, descendant: CommitSha, ancestor: CommitSha
) -> bool:
    try:
        return await services.repositories.contains(repo, descendant, ancestor)
    except GitopsdError:
        return False


def _stored(
    tx: Transaction, sha: CommitSha, key: StageKey, spec: ApplicationSpec, stage: StageSpec
) -> tuple[CommitFacts, Release | None]:
    line = Line(spec.name, spec.ref_of(stage))
    seen = next((item for item in tx.releases.seen(sha) if item.line == line), None)
    stored = tx.stages.get(key)
    newest = newest_verification(tx, key, destination_of(stage))
    running = newest if newest is not None and stored and stored.verified == newest.id else None
    release = seen.release if seen is not None else None
    runs = tuple(reversed(tx.runs.page(Page(200), stage=key)))
    run = _last_of(runs, release)
    renderings = tx.releases.renderings(key)
    mine = renderings.get(release) if release is not None else None
    observation = stored.observation if stored is not None else None
    facts = CommitFacts(
        key=key,
        release=release,
        stage=stored,
        running=running.release if running is not None else None,
        running_is_newer=_is_newer(tx, line, running.release if running else None, release),
        same_bytes=mine is not None and running is not None and mine.rendered == running.rendered,
        run=run,
        rolled_back=run is not None and followed_by_rollback(run, _after(runs, run)),
        quarantine=is_quarantined(
            mine.rendered if mine is not None else None,
            mine.images if mine is not None else (),
            tx.quarantines.in_force(key),
        ),
        gates=load_gates(tx, run) if run is not None else (),
        observation=observation,
        fresh=is_fresh(observation, tx.now, FRESH),
        live_since=running.recorded_at if running is not None else None,
        reads_nothing=seen is not None and not seen.concerned,
    )
    return facts, tx.releases.get(running.release) if running is not None else None


def _last_of(runs: tuple[Run, ...], release: ReleaseId | None) -> Run | None:
    return next((run for run in reversed(runs) if run.release == release), None)


def _after(runs: tuple[Run, ...], run: Run) -> tuple[Run, ...]:
    position = next(index for index, found in enumerate(runs) if found.id == run.id)
    return runs[position + 1 :]


def _is_newer(
    tx: Transaction, line: Line, running: ReleaseId | None, release: ReleaseId | None
) -> bool:
    if running is None or release is None or running == release:
        return False
    one, other = tx.releases.last_offer(line, running), tx.releases.last_offer(line, release)
    return one is not None and other is not None and one.number > other.number


def load_gates(tx: Transaction, run: Run) -> tuple[GateState, ...]:
    """Read what a run's gates answered last."""
    for item in reversed(tx.runs.evidence(run.id)):
        if item.kind is EvidenceKind.GATES and isinstance(item.content, list):
            return tuple(_gate(gate) for gate in item.content if isinstance(gate, dict))
    return ()


def _gate(stored: dict[str, Json]) -> GateState:
    reason = str(stored.get("reason", ""))
    match stored.get("state"):
        case "Closed":
            answer: Open | Closed | Refused = Closed(reason, str(stored.get("opener", "")))
        case "Refused":
            answer = Refused(reason)
        case _:
            answer = Open(reason)
    return GateState(str(stored.get("name")), bool(stored.get("implicit")), answer)
