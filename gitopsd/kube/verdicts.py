"""One verdict about a whole set, in one sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from gitopsd.domain.manifests import Health, ObjectHealth, PodEvidence
from gitopsd.kube.pod_events import group_events
from gitopsd.kube.redaction import redact_clause, redact_text
from gitopsd.kube.rollouts import EvidenceTarget, RolloutState, RolloutVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject, ObjectRef

MAX_EVENTS = 10
MAX_EVIDENCE = 10
MAX_LOG_LINES = 20

_SETTLED = frozenset({Health.HEALTHY, Health.SUSPENDED})
_TELLING = (
    Health.DEGRADED,
    Health.MISSING,
    Health.PROGRESSING,
    Health.UNKNOWN,
    Health.SUSPENDED,
    Health.HEALTHY,
)
_REASON = re.compile(r"([A-Z][A-Za-z]{2,62}): ")


class SetState(Enum):
    """What is known about a set: Failed is definite, Unknown means nothing could be seen."""

    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class SetVerdict:
    """The verdict about a set.

    Attributes:
        state: Healthy, Progressing, Failed or Unknown.
        reason: PascalCase word, e.g. ``CrashLoopBackOff``; empty when Healthy.
        message: One sentence with the object's kind and name and the cause; empty when Healthy.
        until: When a grace period ends that may decide; None otherwise.
        evidence: Pods and containers whose last words are worth keeping.
    """

    state: SetState
    reason: str = ""
    message: str = ""
    until: datetime | None = None
    evidence: tuple[EvidenceTarget, ...] = ()


def judge(healths: Sequence[ObjectHealth], rollouts: Sequence[RolloutVerdict] = ()) -> SetVerdict:
    """Judge a set by its objects and the rollouts of its workloads.

    A definite failure outweighs everything, what could not be seen outweighs the rest, since a
    set that was seen only in part is not known to be on its way. Among failures the one that
    tells most wins: a container's own words before a controller's summary; equal ones by name, so
    that the same facts always make the same sentence. Suspended objects are as Git wants them.

    Args:
        healths: Health of every object of the set.
        rollouts: Verdicts about its workloads.
    """
    deciding = sorted((found for found in healths if not found.advisory), key=_telling_order)
    told = sorted(rollouts, key=lambda found: (found.rank, found.ref))
    failed = [found for found in told if found.state is RolloutState.FAILED]
    pending = [found for found in told if found.state is RolloutState.PENDING]
    if failed:
        evidence = _join(failed)
        return SetVerdict(SetState.FAILED, failed[0].reason, failed[0].message, evidence=evidence)
    definite = next((found for found in deciding if found.definite), None)
    if definite is not None:
        reason = _reason_of(definite)
        return SetVerdict(SetState.FAILED, reason, _say(definite), evidence=_join(pending))
    unknown = next((found for found in deciding if found.health is Health.UNKNOWN), None)
    if unknown is not None:
        return SetVerdict(SetState.UNKNOWN, "Unknown", _say(unknown), evidence=_join(pending))
    return _judge_progress(deciding, pending)


def _judge_progress(
    deciding: Sequence[ObjectHealth], pending: Sequence[RolloutVerdict]
) -> SetVerdict:
    """Judge a set in which nothing failed and everything was seen.

    A suspicion without an end does not hold back a set whose objects are all as they should be.
    """
    waiting = [found for found in deciding if found.health not in _SETTLED]
    until = min((found.until for found in pending if found.until is not None), default=None)
    evidence = _join(pending)
    if pending and (waiting or until is not None):
        told = pending[0]
        return SetVerdict(SetState.PROGRESSING, told.reason, told.message, until, evidence)
    if waiting:
        told_object = waiting[0]
        return SetVerdict(SetState.PROGRESSING, _reason_of(told_object), _say(told_object))
    return SetVerdict(SetState.HEALTHY)


def _telling_order(found: ObjectHealth) -> tuple[int, ObjectRef]:
    return (_TELLING.index(found.health), found.ref)


def _say(found: ObjectHealth) -> str:
    return f"{found.ref.key}: {found.message or found.health.value}"


def _reason_of(found: ObjectHealth) -> str:
    """Take the reason a rule put before the colon, else the health itself."""
    said = _REASON.match(found.message)
    return said.group(1) if said else found.health.value


def _join(rollouts: Iterable[RolloutVerdict]) -> tuple[EvidenceTarget, ...]:
    return tuple(target for found in rollouts for target in found.evidence)[:MAX_EVIDENCE]


def say_last_words(message: str, lines: Sequence[str]) -> str:
    """Add to a sentence about a container what it said last, unless the sentence says it already.

    Args:
        message: The sentence.
        lines: Lines of its log, oldest first.
    """
    last = redact_clause(next((line for line in reversed(lines) if line.strip()), ""))
    return message if not last or last in message else f"{message}; its log ends: {last}"


def make_evidence(
    target: EvidenceTarget, log_lines: Iterable[str], events: Iterable[JsonObject]
) -> PodEvidence:
    """Make what is stored of a failing pod: its last words, redacted and bounded.

    Args:
        target: Whose.
        log_lines: Lines of its log, oldest first; the last `MAX_LOG_LINES` are kept.
        events: Events, of any object; the last `MAX_EVENTS` about the pod are kept.
    """
    said = group_events(events).get(target.uid, ())[-MAX_EVENTS:]
    return PodEvidence(
        pod=target.pod,
        container=target.container,
        reason=target.reason,
        message=target.message,
        exit_code=target.exit_code,
        log_lines=tuple(redact_text(line) for line in tuple(log_lines)[-MAX_LOG_LINES:]),
        events=tuple(redact_clause(f"{event.reason}: {event.message}") for event in said),
    )
