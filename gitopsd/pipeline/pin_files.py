"""The file in Git that keeps a stage on what a rollback restored, and the gate that reads it.

Theory: a pin is a wish like any other, so it lies where wishes lie. A commit that holds it asks for
nothing new in that stage, whatever else it changes; a commit without it does. So nobody's files are
touched, and whoever mends what failed lifts the pin in the same commit. A file that cannot be used
holds too: somebody meant something by it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from gitopsd.domain.config import RollbackGit
from gitopsd.domain.gates import Closed, GateAnswer, GateState, Open
from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.domain.pin_files import PinFile, Pinned
from gitopsd.domain.releases import Release, ReleaseId, StageKey
from gitopsd.domain.runs import Run
from gitopsd.domain.sources import CommitSha
from gitopsd.pipeline.agreeing import LONGEST_REASON, compose_message, short
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.skips import pass_skipped

FILE = "gitopsd-pin.yaml"
"""Name of the file, in the directory of the overlay, which does not read it."""

GATE = "pin"
"""Name of the gate."""

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LONGEST_NAME = 80


def locate_pin(overlay: str) -> str:
    """Tell where the pin file of an overlay lies."""
    parts = [part for part in overlay.split("/") if part not in ("", ".")]
    return "/".join([*parts, FILE])


def parse_pin(document: JsonObject, path: str, key: StageKey) -> PinFile:
    """Read what a pin file says; fields beyond those that are needed are for people.

    Args:
        document: Its content.
        path: Where it lies.
        key: The stage whose overlay it lies beside.
    """
    named = f"{document.get('application')}/{document.get('stage')}"
    if named != str(key):
        return _unusable(path, f"it is for {named[:_LONGEST_NAME]}, not for {key}")
    found = document.get("runs")
    runs = found if isinstance(found, Mapping) else {}
    release, commit = runs.get("release"), runs.get("commit")
    if not isinstance(release, str) or not release:
        return _unusable(path, "`runs.release` names no release")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        return _unusable(path, "`runs.commit` is no full commit id")
    since = _parse_time(document.get("since"))
    if since is None:
        return _unusable(path, "`since` is no time such as 2026-01-05T12:00:00Z")
    return PinFile(path, Pinned(ReleaseId(release[:_LONGEST_NAME]), CommitSha(commit), since))


def _unusable(path: str, problem: str) -> PinFile:
    return PinFile(path, problem=f"{path}: {problem}")


def _parse_time(value: Json) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        return found.astimezone(UTC) if found is not None and found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def compose_pin(
    run: Run, failed: Release, restored: Release, reason: str, since: datetime
) -> bytes:
    """Write the pin file; the same facts make the same bytes.

    Args:
        run: The Rollback.
        failed: What was taken back.
        restored: What runs again.
        reason: Why, redacted; empty when nobody said.
        since: When the Rollback ended.
    """
    key = run.stage
    return (
        f"# gitopsd took {key} back to what ran there before, and keeps it on that.\n"
        "# To lift this, delete this file in the commit that holds the fix.\n"
        f"application: {_quote(key.application)}\n"
        f"stage: {_quote(key.stage)}\n"
        f"since: {_quote(since.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%SZ'))}\n"
        "runs:\n"
        f"  release: {_quote(restored.id)}\n"
        f"  commit: {_quote(restored.commit.sha)}\n"
        "takenBack:\n"
        f"  release: {_quote(failed.id)}\n"
        f"  commit: {_quote(failed.commit.sha)}\n"
        f"reason: {_quote(reason[:LONGEST_REASON])}\n"
        f"run: {_quote(run.id)}\n"
    ).encode()


def _quote(value: str) -> str:
    """Quote a value as YAML and JSON both read it, without what neither can show."""
    shown = "".join(one if one.isprintable() else " " for one in value)
    return json.dumps(shown, ensure_ascii=False)


def compose_pin_message(
    run: Run, failed: Release, restored: Release, reason: str, path: str
) -> str:
    """Write the message of the commit that pins."""
    return compose_message(
        f"Pin {run.stage} to {short(restored.commit.sha)}",
        run,
        failed,
        restored,
        reason,
        f"{path} keeps it there: delete that file in the commit that holds the fix. "
        "No other file is touched.",
    )


def evaluate_pin(facts: GateFacts) -> GateAnswer:
    """Answer for a release whose own commit holds the pin file of its stage."""
    pin = facts.pin
    if pin is None or facts.spec.rollback_git is not RollbackGit.PIN:
        return Open()
    opener = f"push a commit without {pin.path}"
    pinned = pin.pinned
    if pinned is None:
        return Closed(pin.problem, opener)
    same_bytes = facts.pinned_rendered is not None and facts.pinned_rendered == facts.run.rendered
    if same_bytes or pinned.commit == facts.release.commit.sha:
        return Open(f"it is what {pin.path} names")
    since = f"{pinned.since:%Y-%m-%d %H:%M} UTC"
    kept = f"{facts.run.stage} on {pinned.release} ({short(pinned.commit)})"
    return Closed(f"{pin.path} keeps {kept} since {since}", opener)


def is_pinned(facts: GateFacts) -> bool:
    """Tell whether a run waits for another commit than its own, and no vote can help it."""
    state = GateState(GATE, implicit=True, answer=evaluate_pin(facts))
    return isinstance(pass_skipped(state, None, facts).answer, Closed)
