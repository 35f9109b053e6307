"""Makes releases: one commit and the digests of all images, offered at the head of a line.

A push to Git and a push of an image come here alike. What is offered is decided by what a release
is: nothing new is made of a commit that changes nothing a stage reads, with the images that the
line has already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gitopsd.domain.config import ApplicationSpec, Configuration
from gitopsd.domain.images import ImageCandidate, ImageOrigin
from gitopsd.domain.releases import (
    Line,
    OfferKind,
    Release,
    SeenCommit,
    StageKey,
    StageName,
)
from gitopsd.domain.sources import Commit, RefName
from gitopsd.domain.work import Notification
from gitopsd.engine.notifications import publish
from gitopsd.pipeline.commands import Trigger
from gitopsd.pipeline.image_choice import ImageChoice, choose
from gitopsd.pipeline.promotion import judging
from gitopsd.pipeline.release_identity import compute_alias, compute_release_id
from gitopsd.store_ports import Transaction


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a line's next release could be.

    Attributes:
        application: The application.
        ref: The line's ref.
        commit: The commit.
        inputs: Stage -> key of the inputs its overlay reads from the commit.
        kind: How the commit became the head.
        tag: Tag of Git's that it was found by; empty where a branch is followed.
    """

    application: ApplicationSpec
    ref: RefName
    commit: Commit
    inputs: Mapping[StageName, str]
    kind: OfferKind = OfferKind.ADVANCED
    tag: str = ""

    @property
    def line(self) -> Line:
        """Where it would be offered."""
        return Line(self.application.name, self.ref)


def find_current(tx: Transaction, line: Line) -> Release | None:
    """Read the release at the head of a line."""
    newest = tx.releases.head(line)
    return tx.releases.get(newest.release) if newest is not None else None


def load_image_choice(
    tx: Transaction,
    application: ApplicationSpec,
    stages: Iterable[StageName],
    current: Release | None,
) -> ImageChoice:
    """Choose the images of a line's next release from what the registries said last."""
    candidates = {}
    for source in application.images:
        state = tx.images.get(source.name)
        known = state.candidates if state is not None else {}
        candidates[source.name] = known.get(str(source.policy), ())
    if not candidates:
        return ImageChoice()
    held = frozenset(
        digest
        for stage in judging(application, stages)
        for quarantine in tx.quarantines.in_force(StageKey(application.name, stage))
        for digest in quarantine.images
    )
    return choose(application.images, candidates, held, _images_of(current))


def _images_of(release: Release | None) -> dict[str, ImageCandidate]:
    if release is None:
        return {}
    origins = release.origins
    return {
        name: ImageCandidate(
            origins[name].tag if name in origins else "",
            digest,
            origins[name].revision if name in origins else "",
        )
        for name, digest in release.images.items()
    }


def plan_release(tx: Transaction, candidate: Candidate) -> Release | None:
    """Work out the release that a candidate makes; None when there is nothing to offer.

    Nothing is, while an image was not found yet; when commit and images change nothing; when an
    image is only passed over because it is quarantined and the release without it is an old one:
    what failed is not answered by moving every stage back to what it had; and when all that changed
    is that images were deleted from the registry.
    """
    return _plan(tx, candidate, find_current(tx, candidate.line))


def _plan(tx: Transaction, candidate: Candidate, current: Release | None) -> Release | None:
    application, commit = candidate.application, candidate.commit
    choice = load_image_choice(tx, application, candidate.inputs, current)
    if choice.missing:
        return None
    same_files = _reads_the_same(current, candidate)
    if current is not None and same_files and dict(current.images) == choice.digests:
        return None
    if current is not None and same_files and _only_vanished(current, choice):
        return None
    identity = compute_release_id(application.name, commit.sha, choice.digests)
    fallback = same_files and choice.skipped
    if fallback and tx.releases.last_offer(candidate.line, identity) is not None:
        return None
    return Release(
        id=identity,
        application=application.name,
        commit=commit,
        images=choice.digests,
        alias=compute_alias(identity),
        created_at=tx.now,
        inputs=dict(candidate.inputs),
        origins={name: ImageOrigin(pick.tag, pick.revision) for name, pick in choice.picks.items()},
    )


def _only_vanished(current: Release, choice: ImageChoice) -> bool:
    changed = {
        name for name, digest in choice.digests.items() if current.images.get(name) != digest
    }
    return changed <= choice.vanished and set(current.images) == set(choice.digests)


def _reads_the_same(current: Release | None, candidate: Candidate) -> bool:
    if current is None:
        return False
    same_commit = current.commit.sha == candidate.commit.sha
    return same_commit or dict(current.inputs) == dict(candidate.inputs)


def offer_release(tx: Transaction, candidate: Candidate, config: Configuration) -> list[StageKey]:
    """Make a candidate the head of its line if it is a new release; returns the stages it feeds.

    Safe to repeat: the same commit with the same images offers nothing twice.
    """
    line, sha = candidate.line, candidate.commit.sha
    current = find_current(tx, line)
    release = _plan(tx, candidate, current)
    same_files = _reads_the_same(current, candidate)
    if release is None:
        if current is not None and same_files and current.commit.sha != sha:
            tx.releases.see(SeenCommit(line, sha, current.id, tx.now, concerned=False))
        return []
    concerned = not same_files or _was_concerned(tx, line, candidate)
    new = tx.releases.add(release)
    tx.images.mark(release.application, release.id, marks_of(release.origins.values()))
    tx.releases.see(SeenCommit(line, sha, release.id, tx.now, concerned=concerned))
    tx.releases.offer(line, release.id, tx.now, candidate.kind)
    own = tx.agreements.owner(candidate.application.source.repo, sha) is not None
    if new and not own:  # who follows Rollbacks has heard of it, and it brings nothing new
        _announce(tx, release, current if same_files else None, config, candidate.tag)
    return [StageKey(release.application, name) for name in candidate.inputs]


def marks_of(origins: Iterable[ImageOrigin]) -> list[str]:
    """List what a release can be asked for by: tags and revisions of its images."""
    marks = []
    for origin in origins:
        marks += [f"tag:{origin.tag}"] if origin.tag else []
        marks += [f"revision:{origin.revision}"] if origin.revision else []
    return marks


def _was_concerned(tx: Transaction, line: Line, candidate: Candidate) -> bool:
    """Tell whether the commit changed what a stage reads when it came; an image changes no file."""
    return any(
        seen.concerned for seen in tx.releases.seen(candidate.commit.sha) if seen.line == line
    )


def _announce(
    tx: Transaction, release: Release, before: Release | None, config: Configuration, tag: str
) -> None:
    subject = release.commit.subject
    if before is not None:
        changed = [
            f"{name.rpartition('/')[2]} {release.origins[name].tag or digest[:19]}"
            for name, digest in release.images.items()
            if before.images.get(name) != digest
        ]
        subject = ", ".join(changed) or subject
    publish(
        tx,
        Notification(
            id=f"{release.id}.{Trigger.RELEASE_CREATED.value}",
            trigger=Trigger.RELEASE_CREATED.value,
            application=release.application,
            stage="",
            message=f"{release.alias} ({tag}{', ' if tag else ''}{release.commit.sha[:12]}): "
            f"{subject}",
            at=tx.now,
            details={"release": str(release.id), "commit": str(release.commit.sha)},
        ),
        config,
    )
