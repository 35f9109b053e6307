"""Whether a workload's own rollout fails, by what its new pods and its controllers say.

Theory: nothing is said before the controller has seen the applied generation; then every sign of
trouble is collected, and the most telling one speaks. A definite one fails the rollout long
before its deadline.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING

from gitopsd.domain.manifests import ObjectRef
from gitopsd.kube.findings import NOT_APPLIED, Applied, HealthSettings, latest
from gitopsd.kube.health_kinds import say_condition
from gitopsd.kube.health_workloads import DEADLINE_EXCEEDED, deadline_exceeded
from gitopsd.kube.objects import (
    condition_true,
    flag_at,
    int_at,
    is_terminating,
    kind_of,
    mappings_at,
    name_of,
    namespace_of,
    number_at,
    parse_ref,
    string_at,
    uid_of,
)
from gitopsd.kube.pod_events import PodEvent, group_events
from gitopsd.kube.pod_signals import (
    RANK_CRASH,
    RANK_CREATION,
    RANK_DEADLINE,
    Signal,
    find_ends,
    find_signals,
    judge_grace,
    telling_order,
)
from gitopsd.kube.redaction import redact_clause
from gitopsd.kube.revisions import find_new_pods, find_new_replica_set

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitopsd.domain.manifests import JsonObject

MAX_EVIDENCE = 5

_CREATION_REFUSALS = ("exceeded quota", "is forbidden", "denied the request")


class RolloutState(Enum):
    """What the signs of a rollout add up to."""

    CLEAR = "Clear"
    PENDING = "Pending"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, order=True)
class EvidenceTarget:
    """Whose last words are worth keeping.

    Attributes:
        namespace: Namespace of the pod.
        pod: Pod name.
        uid: Pod uid, which its events carry.
        container: Container; empty when only events say something.
        previous: Whether the container that ended, not the one that runs, has the words.
        reason: Kubernetes' reason.
        message: The signal's clause.
        exit_code: Exit code of the last termination; None when nothing ended.
    """

    namespace: str
    pod: str
    uid: str
    container: str
    previous: bool
    reason: str = ""
    message: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class RolloutVerdict:
    """What the pods and controllers of one workload say about its rollout.

    Attributes:
        ref: The workload.
        state: Failed, Pending (suspicious, or in a grace period) or Clear.
        reason: Reason of the most telling signal; empty when Clear.
        message: The workload and the cause: ``Deployment shop/api: container api: ...``; empty
            when Clear.
        until: When a grace period ends that may turn Pending into Failed; None otherwise.
        rank: How telling the signal is; lower tells more.
        evidence: Pods and containers whose last words are worth keeping, most telling first.
    """

    ref: ObjectRef
    state: RolloutState = RolloutState.CLEAR
    reason: str = ""
    message: str = ""
    until: datetime | None = None
    rank: int = 0
    evidence: tuple[EvidenceTarget, ...] = ()


def compute_rollout_failure(
    workload: JsonObject,
    replica_sets: Sequence[JsonObject],
    pods: Sequence[JsonObject],
    events: Sequence[JsonObject],
    now: datetime,
    settings: HealthSettings,
    applied: Applied = NOT_APPLIED,
) -> RolloutVerdict:
    """Judge the rollout of one workload by its new pods and its controllers.

    Args:
        workload: The live workload.
        replica_sets: ReplicaSets of its namespace, and ControllerRevisions for DaemonSets.
        pods: Pods of its namespace.
        events: Events of its namespace; without them causes that only events tell are missed.
        now: The time.
        settings: Grace periods.
        applied: The apply that is being judged.

    Returns:
        Clear while the controller has not seen the applied generation.

    Raises:
        PermanentError: ``InvalidObject``, when the workload has no identity.
    """
    ref = parse_ref(workload)
    if is_terminating(workload) or not _is_observed(workload, applied.generation):
        return RolloutVerdict(ref)
    facts = _Facts(
        workload=workload,
        new_replica_set=find_new_replica_set(workload, replica_sets),
        new_pods=find_new_pods(workload, replica_sets, pods),
        events=group_events(events),
        now=now,
        settings=settings,
        applied_at=applied.at,
    )
    signals = sorted(facts.signals(), key=telling_order)
    if not signals:
        return RolloutVerdict(ref)
    told = signals[0]
    grace_ends = [signal.until for signal in signals if signal.until is not None]
    return RolloutVerdict(
        ref=ref,
        state=RolloutState.FAILED if told.definite else RolloutState.PENDING,
        reason=told.reason,
        message=f"{ref.key}: {_say(told, workload)}",
        until=None if told.definite else min(grace_ends, default=None),
        rank=told.rank,
        evidence=_evidence(signals, facts.new_pods),
    )


def _is_observed(workload: JsonObject, minimum_generation: int) -> bool:
    generation = number_at(workload, "metadata", "generation")
    observed = int_at(workload, "status", "observedGeneration")
    if observed is None:
        observed = 0 if kind_of(workload) in _OBSERVING_KINDS else generation
    return generation >= minimum_generation and observed == generation


_OBSERVING_KINDS = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


def _say(signal: Signal, workload: JsonObject) -> str:
    of_pod = signal.pod and not signal.container and kind_of(workload) != "Pod"
    return f"pod {signal.pod}: {signal.message}" if of_pod else signal.message


@dataclass(frozen=True, slots=True)
class _Facts:
    """Everything one judgement reads."""

    workload: JsonObject
    new_replica_set: JsonObject | None
    new_pods: tuple[JsonObject, ...]
    events: Mapping[str, tuple[PodEvent, ...]]
    now: datetime
    settings: HealthSettings
    applied_at: datetime | None

    def signals(self) -> list[Signal]:
        kind = kind_of(self.workload)
        found = [
            signal
            for pod in self.new_pods
            for signal in find_signals(
                pod,
                self.events.get(uid_of(pod), ()),
                self.now,
                self.settings,
                retried=kind == "Job",
            )
        ]
        if kind == "Deployment":
            found += self._deployment_signals()
        elif kind == "ReplicaSet":
            found += self._creation_condition(self.workload)
        elif kind in {"StatefulSet", "DaemonSet"}:
            found += self._creation_events()
        elif kind == "Job":
            found += [*self._creation_events(), *self._job_signals()]
        return found

    def _deployment_signals(self) -> list[Signal]:
        holder = self.workload if self.new_replica_set is None else self.new_replica_set
        found = self._creation_condition(holder)
        exceeded = deadline_exceeded(self.workload, self.applied_at)
        if exceeded is not None:
            message = f"{DEADLINE_EXCEEDED}: {exceeded}"
            found.append(Signal(RANK_DEADLINE, DEADLINE_EXCEEDED, message, definite=True))
        return found

    def _creation_condition(self, holder: JsonObject) -> list[Signal]:
        """Read why a ReplicaSet cannot create pods: then no pod exists that could say it."""
        condition = condition_true(holder, "ReplicaFailure")
        if condition is None or condition.reason != "FailedCreate":
            return []
        return [self._creation(say_condition(condition), condition.since)]

    def _creation(self, message: str, since: datetime | None) -> Signal:
        definite, until = judge_grace(since, self.settings.creation_grace, self.now)
        if not any(words in message for words in _CREATION_REFUSALS):
            definite, until = False, None
        return Signal(
            RANK_CREATION,
            "FailedCreate",
            message,
            definite=definite,
            since=since,
            until=until,
        )

    def _creation_events(self) -> list[Signal]:
        """Read the same for controllers that have no such condition, from their events.

        An event seen last before the apply speaks of an older revision.
        """
        if len(self.new_pods) >= self._wanted_pods():
            return []
        failures = [
            event
            for event in self.events.get(uid_of(self.workload), ())
            if event.reason == "FailedCreate" and self._is_current(event)
        ]
        if not failures:
            return []
        since = latest(failures[-1].first, self.applied_at)
        return [self._creation(redact_clause(f"FailedCreate: {failures[-1].message}"), since)]

    def _is_current(self, event: PodEvent) -> bool:
        if self.applied_at is not None and event.last is not None and event.last < self.applied_at:
            return False
        return event.is_recent(self.now, self.settings.event_age)

    def _wanted_pods(self) -> int:
        if kind_of(self.workload) == "DaemonSet":
            return number_at(self.workload, "status", "desiredNumberScheduled")
        if kind_of(self.workload) == "Job":
            return 1
        replicas = int_at(self.workload, "spec", "replicas")
        return 1 if replicas is None else replicas

    def _job_signals(self) -> list[Signal]:
        """Read why a Job gave up, with the last words of the pod that failed last."""
        over = condition_true(self.workload, "Failed")
        if over is None:
            return []
        signal = Signal(
            RANK_CRASH,
            over.reason or "Failed",
            say_condition(over),
            definite=True,
            since=over.since,
        )
        ends = [end for pod in self.new_pods for end in find_ends(pod)]
        if not ends:
            return [signal]
        last = max(ends, key=lambda end: (end.since is not None, str(end.since), end.pod))
        return [replace(last, reason=signal.reason, message=f"{signal.message}; {last.message}")]


def _evidence(
    signals: Sequence[Signal], new_pods: Sequence[JsonObject]
) -> tuple[EvidenceTarget, ...]:
    """List whose last words to keep: the signals' pods, else every new pod that is not ready."""
    targets = {
        (signal.pod, signal.container): EvidenceTarget(
            namespace=signal.namespace,
            pod=signal.pod,
            uid=signal.uid,
            container=signal.container,
            previous=signal.previous_log,
            reason=signal.reason,
            message=signal.message,
            exit_code=signal.exit_code,
        )
        for signal in reversed(signals)
        if signal.pod
    }
    told = tuple(reversed(targets.values()))
    if not told:
        told = tuple(
            EvidenceTarget(
                namespace=namespace_of(pod),
                pod=name_of(pod),
                uid=uid_of(pod),
                container=string_at(status, "name"),
                previous=False,
            )
            for pod in new_pods
            for status in mappings_at(pod, "status", "containerStatuses")
            if not flag_at(status, "ready")
        )
    return told[:MAX_EVIDENCE]
