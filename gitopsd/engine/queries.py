"""Reads what people and CI jobs ask about."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta

from gitopsd.domain.config import ApplicationSpec, StageSpec
from gitopsd.domain.gates import Closed, GateState, Open, Refused
from gitopsd.domain.manifests import Digest, Json
from gitopsd.domain.releases import Line, Release, ReleaseId, StageKey, StageName
from gitopsd.domain.runs import Run, RunKind
from gitopsd.domain.sources import CommitSha, RefName, RepoURL
from gitopsd.domain.verifications import Verification
from gitopsd.domain.work import EvidenceKind, Page
from gitopsd.engine.effects import destination_of
from gitopsd.engine.facts import newest_verification
from gitopsd.engine.group_facts import say_why_taken_back
from gitopsd.engine.observation import is_fresh, observe
from gitopsd.engine.services import Services
from gitopsd.errors import GitopsdError
from gitopsd.pipeline.commit_status import (
    CommitFacts,
    CommitState,
    CommitStatus,
    compute_after_upstream,
    compute_commit_status,
    find_rollback,
)
from gitopsd.pipeline.quarantine import is_quarantined
from gitopsd.store_ports import Transaction

FRESH = timedelta(seconds=60)
"""``Live`` is said from a look at most this old."""

RESOLVE_AGAIN = timedelta(seconds=5)
"""How often a tag that is not there yet is asked for while somebody waits."""

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,200}")
_HISTORY = Page(limit=50)
_PAGES = 20


async def fetch_commit_statuses(
    services: Services, wanted: str, *, application: str = "", stage: str = ""
) -> tuple[CommitStatus, ...]:
    """Tell where a commit stands, once; see `CommitQuestion`."""
    question = CommitQuestion(services, wanted, application=application, stage=stage)
    return await question.fetch()


class CommitQuestion:
    """Where does a commit stand, in every stage it could concern? May be asked again and again.

    Args:
        services: The ports.
        wanted: Full commit id, tag, or image digest.
        application: Only this application; empty for all.
        stage: Only stages of this name; empty for all.
    """

    def __init__(
        self, services: Services, wanted: str, *, application: str = "", stage: str = ""
    ) -> None:
        self._services = services
        self._wanted = wanted
        self._application = application
        self._stage = stage
        self._commits: dict[RepoURL, CommitSha | None] = {}
        self._resolve_again_at = 0.0

    async def fetch(self) -> tuple[CommitStatus, ...]:
        """Answer from what is stored and was last seen.

        Looks at live objects when the last look is too old to say ``Live`` from it.
        """
        specs = await self._services.store.read(lambda tx: tuple(tx.specs.currents()))
        now = self._services.clock.monotonic()
        if now >= self._resolve_again_at:
            self._commits = {repo: sha for repo, sha in self._commits.items() if sha is not None}
            self._resolve_again_at = now + RESOLVE_AGAIN.total_seconds()
        statuses: list[CommitStatus] = []
        for spec in specs:
            if self._application and spec.name != self._application:
                continue
            repo = spec.source.repo
            if repo not in self._commits:
                self._commits[repo] = await _resolve(self._services, repo, self._wanted)
            asked = _Asked(self._services, spec, self._commits[repo], self._wanted)
            statuses += await asked.fetch(self._stage)
        return tuple(statuses)


def _digest(wanted: str) -> Digest | None:
    return Digest(wanted) if _DIGEST.fullmatch(wanted) else None


async def _resolve(services: Services, repo: RepoURL, wanted: str) -> CommitSha | None:
    """Find the commit that is meant; asks the remote for a tag."""
    if _SHA.fullmatch(wanted):
        return CommitSha(wanted)
    if _digest(wanted) is not None or not _TAG.fullmatch(wanted):
        return None
    try:
        head = await services.repositories.fetch_head(repo, RefName(f"refs/tags/{wanted}"))
    except GitopsdError:
        return None
    return head.commit.sha if head is not None else None


class _Asked:
    """One question about one application.

    Args:
        services: The ports.
        spec: The application.
        sha: The commit that is asked for; None for a digest, or when there is none.
        wanted: What is asked for, as it was written: an image may carry it as its digest, its tag
            or the commit it was built from.
    """

    def __init__(
        self,
        services: Services,
        spec: ApplicationSpec,
        sha: CommitSha | None,
        wanted: str,
    ) -> None:
        self._services = services
        self._spec = spec
        self._sha = sha
        self._wanted = wanted
        self._found: dict[StageName, CommitStatus] = {}

    async def fetch(self, stage: str) -> list[CommitStatus]:
        """Answer for one stage, or for all in file order."""
        wanted = [spec for spec in self._spec.stages if not stage or spec.name == stage]
        return [await self._status(spec) for spec in wanted]

    async def _status(self, stage: StageSpec) -> CommitStatus:
        if stage.name in self._found:
            return self._found[stage.name]
        status = await self._of_release(stage, through=None)
        if status.overtaken:
            carrier = await self._carrier(stage, status.release)
            if carrier is not None:
                status = await self._of_release(stage, through=carrier)
        if status.state is CommitState.WAITING and status.run is None:
            upstream = [
                await self._status(spec) for spec in self._spec.stages if spec.name in stage.after
            ]
            status = compute_after_upstream(status, tuple(upstream), any_of=stage.after_any)
        self._found[stage.name] = status
        return status

    async def _of_release(self, stage: StageSpec, through: ReleaseId | None) -> CommitStatus:
        key = StageKey(self._spec.name, stage.name)
        facts, running = await self._services.store.read(
            lambda tx: self._stored(tx, key, stage, through)
        )
        if self._sha is not None and running is not None and running.id != facts.release:
            same = running.commit.sha == self._sha
            contained = same or await self._contains(running.commit.sha, self._sha)
            facts = replace(facts, contained=contained, same_commit=same)
        status = compute_commit_status(facts)
        if self._wants_look(facts, status):
            seen = await observe(self._services, key)
            fresh = is_fresh(seen, self._services.clock.now(), FRESH)
            status = compute_commit_status(replace(facts, observation=seen, fresh=fresh))
        return status

    async def _carrier(self, stage: StageSpec, own: ReleaseId | None) -> ReleaseId | None:
        """Find the newest release of the line when it has the commit in its history."""
        line = Line(self._spec.name, self._spec.ref_of(stage))

        def work(tx: Transaction) -> Release | None:
            head = tx.releases.head(line)
            return tx.releases.get(head.release) if head is not None else None

        newest = await self._services.store.read(work)
        if newest is None or newest.id == own or self._sha is None:
            return None
        return newest.id if await self._contains(newest.commit.sha, self._sha) else None

    async def _contains(self, descendant: CommitSha, ancestor: CommitSha) -> bool:
        repo = self._spec.source.repo
        try:
            return await self._services.repositories.contains(repo, descendant, ancestor)
        except GitopsdError:
            return False

    def _wants_look(self, facts: CommitFacts, status: CommitStatus) -> bool:
        out = status.state is CommitState.RUNNING and facts.stage is not None
        idle = facts.stage is not None and facts.stage.front is None
        fresh = is_fresh(facts.observation, self._services.clock.now(), FRESH)
        return out and idle and not fresh

    def _stored(
        self, tx: Transaction, key: StageKey, stage: StageSpec, through: ReleaseId | None
    ) -> tuple[CommitFacts, Release | None]:
        line = Line(self._spec.name, self._spec.ref_of(stage))
        stored = tx.stages.get(key)
        newest = newest_verification(tx, key, destination_of(stage))
        running = newest if newest is not None and stored and stored.verified == newest.id else None
        release, concerned = self._release(tx, key, line, running)
        release = through or release
        run = _last_run(tx, key, release)
        mine = tx.releases.renderings(key).get(release) if release is not None else None
        head = tx.releases.head(line)
        observation = stored.observation if stored is not None else None
        facts = CommitFacts(
            key=key,
            release=release,
            stage=stored,
            running=running.release if running is not None else None,
            running_is_newer=_is_newer(tx, line, running.release if running else None, release),
            newest=head is None or head.release == release,
            through=through is not None,
            same_bytes=bool(mine and running and mine.rendered == running.rendered),
            run=run,
            rollback=_rollback_after(tx, run) if run is not None else None,
            quarantine=is_quarantined(
                mine.rendered if mine is not None else None,
                mine.images if mine is not None else (),
                tx.quarantines.in_force(key),
            ),
            gates=load_gates(tx, run) if run is not None else (),
            observation=observation,
            fresh=is_fresh(observation, tx.now, FRESH),
            stopped=say_why_taken_back(tx, run) if run is not None else "",
            live_since=running.recorded_at if running is not None else None,
            reads_nothing=not concerned and through is None,
        )
        return facts, tx.releases.get(running.release) if running is not None else None

    def _release(
        self, tx: Transaction, key: StageKey, line: Line, running: Verification | None
    ) -> tuple[ReleaseId | None, bool]:
        """Find the release that carries what is asked for, and whether it concerns any stage."""
        for item in tx.releases.seen(self._sha) if self._sha is not None else ():
            if item.line == line:
                return item.release, item.concerned
        return self._release_with_image(tx, key, line, running), True

    def _release_with_image(
        self, tx: Transaction, key: StageKey, line: Line, running: Verification | None
    ) -> ReleaseId | None:
        """Find what runs if it carries the image, else the newest release that does."""
        digest = _digest(self._wanted)
        carrying: list[ReleaseId] = []
        if digest is not None:
            rendered = tx.releases.renderings(key)
            carrying = [release.id for release in tx.releases.find(self._spec.name, digest)]
            carrying += [release for release, one in rendered.items() if digest in one.images]
        else:
            for mark in ("revision", "tag"):
                carrying += tx.images.marked(self._spec.name, f"{mark}:{self._wanted}")
        if running is not None and running.release in carrying:
            return running.release
        offers = (tx.releases.last_offer(line, release) for release in dict.fromkeys(carrying))
        numbers = {offer.release: offer.number for offer in offers if offer is not None}
        return max(numbers, key=lambda release: numbers[release], default=None)


def _last_run(tx: Transaction, key: StageKey, release: ReleaseId | None) -> Run | None:
    if release is None:
        return None
    rows = tx.runs.page(_HISTORY, release=release)
    return next((run for run in rows if run.stage == key), None)


def rollback_after(tx: Transaction, run: Run) -> Run | None:
    """Find the Rollback that came right after a Rollout that wrote; None when none did."""
    return _rollback_after(tx, run)


def _rollback_after(tx: Transaction, run: Run) -> Run | None:
    if run.live or not run.mutated or run.kind is not RunKind.ROLLOUT:
        return None
    later: list[Run] = []
    page = _HISTORY
    for _ in range(_PAGES):
        rows = tx.runs.page(page, stage=run.stage)
        for other in rows:
            if other.id == run.id:
                return find_rollback(tuple(later))
            later.append(other)
        if not rows:
            break
        page = replace(_HISTORY, before=rows[-1].id)
    return None


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
            opener, until = str(stored.get("opener", "")), stored.get("until")
            answer: Open | Closed | Refused = Closed(
                reason, opener, datetime.fromisoformat(until) if isinstance(until, str) else None
            )
        case "Refused":
            answer = Refused(reason)
        case _:
            answer = Open(reason)
    return GateState(str(stored.get("name")), bool(stored.get("implicit")), answer)
