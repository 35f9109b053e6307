"""Reads what a release's own commit says about keeping a stage on what runs there.

The file is read with the overlay, in Render, and what it says is kept with the run. A commit that
brings or removes one reads differently from the commit before it, and so is offered to the stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from gitopsd.domain.config import RollbackGit, StageSpec
from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.domain.pin_files import PinFile, Pinned
from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.domain.work import Evidence, EvidenceKind
from gitopsd.engine.services import Services
from gitopsd.engine.step_context import StepContext
from gitopsd.kube.redaction import redact_clause
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.pin_files import locate_pin, parse_pin
from gitopsd.ports import Rejection
from gitopsd.store_ports import Transaction

_KEY = "git"


async def add_pin(
    services: Services, repo: RepoURL, commit: CommitSha, stage: StageSpec, key: str
) -> str:
    """Add the pin file to the key of what a stage reads from a commit, where its policy asks.

    Raises:
        TemporaryError: The mirror cannot be read now.
    """
    if stage.rollback_git is not RollbackGit.PIN:
        return key
    path = locate_pin(stage.path)
    found = await services.repositories.fetch_files(repo, commit, (path,))
    return f"{key} pin:{found[path].blob}" if path in found else key


async def keep_pin(context: StepContext) -> None:
    """Keep what the pin file of the stage says, if the release's commit holds one.

    Whatever the policy says: it may say otherwise when the run stands at its Gate.

    Safe to repeat: a commit holds the same each time.

    Raises:
        TemporaryError: The mirror cannot be read now.
    """
    path, key = locate_pin(context.spec.path), context.run.stage
    found = await context.services.renderer.fetch_document(
        context.application.source.repo, context.release.commit.sha, path
    )
    if found is None:
        return
    if isinstance(found, Rejection):
        pin = PinFile(path, problem=found.message)
    else:
        pin = parse_pin(found, path, key)
    pin = replace(pin, problem=redact_clause(pin.problem))
    await context.keep(EvidenceKind.PIN, _write(pin), key=_KEY)


def load_pin(tx: Transaction, facts: GateFacts, evidence: Sequence[Evidence]) -> GateFacts:
    """Add what Render found of a pin file, and what the release that it names rendered to."""
    kept = [one.content for one in evidence if one.kind is EvidenceKind.PIN]
    if not kept or not isinstance(kept[-1], dict):
        return facts
    pin = _read(kept[-1])
    rendered = None
    if pin.pinned is not None:
        rendering = tx.releases.renderings(facts.stage.key).get(pin.pinned.release)
        rendered = rendering.rendered if rendering is not None else None
    return replace(facts, pin=pin, pinned_rendered=rendered)


def _write(pin: PinFile) -> dict[str, Json]:
    written: dict[str, Json] = {"path": pin.path, "problem": pin.problem}
    if pin.pinned is not None:
        written |= {
            "release": pin.pinned.release,
            "commit": pin.pinned.commit,
            "since": pin.pinned.since.isoformat(),
        }
    return written


def _read(kept: JsonObject) -> PinFile:
    since, pinned = kept.get("since"), None
    if isinstance(since, str):
        release, commit = str(kept.get("release")), str(kept.get("commit"))
        pinned = Pinned(ReleaseId(release), CommitSha(commit), datetime.fromisoformat(since))
    return PinFile(str(kept.get("path")), pinned, str(kept.get("problem")))
