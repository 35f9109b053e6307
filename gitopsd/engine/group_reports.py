"""What people are shown of a group of stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.groups import GroupSpec
from gitopsd.domain.releases import Line, ReleaseId, StageKey
from gitopsd.domain.runs import Run, RunKind
from gitopsd.domain.work import EvidenceKind, Page
from gitopsd.store_ports import Transaction

_LAST = Page(limit=20)


def find_release(tx: Transaction, spec: ApplicationSpec, group: GroupSpec) -> ReleaseId | None:
    """Find the newest release that a stage of a group was asked to take; None when none was."""
    newest: tuple[int, ReleaseId] | None = None
    for wave in spec.waves_of(group):
        for name in wave:
            stage = spec.stage(name)
            if stage is None:
                continue
            line = Line(spec.name, spec.ref_of(stage))
            rows = tx.runs.page(_LAST, stage=StageKey(spec.name, name))
            for run in (row for row in rows if row.kind is RunKind.ROLLOUT):
                offer = tx.releases.last_offer(line, run.release)
                found = (offer.number if offer is not None else 0, run.release)
                newest = found if newest is None else max(newest, found)
    return newest[1] if newest is not None else None


def count_changes(tx: Transaction, run: Run) -> Mapping[str, int]:
    """Count what a run's present plan does to objects: action -> number."""
    for item in tx.runs.evidence(run.id):
        content = item.content
        if item.kind is not EvidenceKind.CHANGE_SET or item.key != "plan":
            continue
        if isinstance(content, Mapping) and content.get("plan") == run.plan:
            objects = content.get("objects")
            rows = objects if isinstance(objects, list | tuple) else ()
            return Counter(str(row.get("action")) for row in rows if isinstance(row, Mapping))
    return {}
