"""What the checks of commits on their host mean for a gate that names some of them.

Source: GitHub REST API, "List check runs for a Git reference" (status and conclusion) and "Get the
combined status for a specific reference" (state).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gitopsd.domain.asked_gates import Finding, ProbeAnswer

SUCCESS = "success"

ACCEPTABLE = ("neutral", "skipped")
"""Conclusions that may be configured to count as good."""

REVISION_LABEL = "org.opencontainers.image.revision"
"""Label in which an image names the commit that it was built from (OCI image annotations)."""

_FAILED = frozenset(
    {
        "cancelled",
        "error",
        "failure",
        "neutral",
        "skipped",
        "stale",
        "startup_failure",
        "timed_out",
    }
)
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHOWN = 12
_MOST_SAID = 3


@dataclass(frozen=True, slots=True)
class CommitCheck:
    """One check run or status of a commit.

    Attributes:
        name: Name of the check run, or context of the status.
        state: Conclusion, or what it is at while it has none.
        url: Where people read more; empty for nowhere.
    """

    name: str
    state: str
    url: str = ""


def select_commits(revisions: Mapping[str, str]) -> tuple[str, ...] | ProbeAnswer:
    """Select the commits that a release's images were built from, or say why they are not known.

    Args:
        revisions: Image name -> what its label says; empty where it says nothing.
    """
    if not revisions:
        return ProbeAnswer(Finding.UNMET, "the release has no images that `images:` follows")
    for image, revision in revisions.items():
        if not _SHA.fullmatch(revision):
            said = f"names {revision[:40]!r}, no commit," if revision else "names no commit"
            return ProbeAnswer(Finding.UNMET, f"{image} {said} in its label {REVISION_LABEL}")
    return tuple(dict.fromkeys(revisions.values()))


def judge_checks(
    names: Sequence[str], accept: Sequence[str], commits: Mapping[str, Sequence[CommitCheck]]
) -> ProbeAnswer:
    """Judge whether every named check is good on every commit.

    Several of one name are all needed: which of them is meant nobody has said.

    Args:
        names: The checks that are needed.
        accept: Conclusions that count as good beside ``success``.
        commits: Commit -> its checks.
    """
    good = {SUCCESS, *accept}
    failed, waiting = [], []
    for sha, checks in commits.items():
        for name in names:
            found = [one for one in checks if one.name == name]
            bad = [one for one in found if one.state not in good]
            if not found:
                waiting.append(f"{name} has not appeared on {sha[:_SHOWN]}")
            for one in bad:
                said = f"{name} is {one.state} on {sha[:_SHOWN]}"
                if one.state in _FAILED:
                    failed.append(f"{said}: {one.url}" if one.url else said)
                else:
                    waiting.append(said)
    if failed:
        return ProbeAnswer(Finding.FAILED, _join(failed))
    if waiting:
        return ProbeAnswer(Finding.UNMET, _join(waiting))
    where = " and ".join(sha[:_SHOWN] for sha in commits)
    return ProbeAnswer(Finding.MET, f"{', '.join(names)}: success on {where}")


def _join(sentences: Sequence[str]) -> str:
    more = len(sentences) - _MOST_SAID
    said = "; ".join(sentences[:_MOST_SAID])
    return f"{said}; and {more} more" if more > 0 else said
