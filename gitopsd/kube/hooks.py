"""Hooks: jobs that run at a moment of a run, and what is known of one by looking at it.

Theory: a hook keeps its name, so the object that is there may be of this run, of an earlier one,
or of somebody else; its annotations say which. A hook is created once in a run. That it was begun
is stored before it is created, its uid after; its outcome is stored before its object may go. So
whatever is found after a crash has one meaning:

- nothing stored, or no uid, and no object: it was never created;
- an object of this run: it goes on, or has ended;
- a uid stored and the object gone: it ran, and how it ended is not known any more.

A Job of another run that still works is waited for, never deleted: half a migration is worse than
a late one. A time to live is left out of what is created, because the outcome is read first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING

from gitopsd.domain.work import HookState
from gitopsd.kube.names import (
    HOOK_PHASE_ANNOTATION,
    RUN_ANNOTATION,
    HookPhase,
    parse_hook_on_rollback,
    parse_hook_phases,
    parse_wave,
)
from gitopsd.kube.objects import (
    annotations_of,
    condition_true,
    flag_at,
    int_at,
    is_terminating,
    kind_of,
    mapping_at,
    parse_ref,
    string_at,
    uid_of,
)
from gitopsd.kube.pod_signals import container_statuses
from gitopsd.kube.redaction import redact_clause

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitopsd.domain.manifests import Json, JsonObject, ObjectKey
    from gitopsd.domain.work import HookRun

_ENDING = frozenset({("batch", "Job"), ("", "Pod")})
_LASTING = frozenset(
    {
        ("", "ConfigMap"),
        ("", "Secret"),
        ("", "ServiceAccount"),
        ("networking.k8s.io", "NetworkPolicy"),
        ("rbac.authorization.k8s.io", "Role"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
    }
)


LONGEST_HOOK = timedelta(days=30)
"""What a hook may ask for at most: the API takes numbers that are no time any more."""

_TRIAL = "-gitopsd-trial"
_NAME_ROOM = 63 - len(_TRIAL)


@dataclass(frozen=True, slots=True)
class HookResult:
    """How a hook's object ended.

    Attributes:
        succeeded: Whether it did what it is for.
        message: The cause in the cluster's words; empty when it succeeded.
    """

    succeeded: bool
    message: str = ""


class HookAction(Enum):
    """What is to be done about a hook now."""

    CREATE = "Create"
    DELETE = "Delete"
    WAIT = "Wait"
    SUCCEED = "Succeed"
    FAIL = "Fail"
    ASK = "Ask"


@dataclass(frozen=True, slots=True)
class HookDecision:
    """What is to be done about a hook, and why.

    Attributes:
        action: Create it, delete what bears its name, wait, take its outcome, or ask a person.
        message: What is waited for, or the cause of the outcome; empty when there is none.
        ours: Whether what bears its name is this run's own object.
        unended: Whether the outcome is taken before that object ended, so that it has to go.
    """

    action: HookAction
    message: str = ""
    ours: bool = False
    unended: bool = False


def is_run(obj: JsonObject) -> bool:
    """Whether an object is a hook that runs at all."""
    phases = parse_hook_phases(obj)
    return bool(phases) and HookPhase.SKIP not in phases


def describe_hook(obj: JsonObject) -> str:
    """Say a hook as people read it in a plan, e.g. ``PreSync, wave 1: Job shop/migrate``."""
    phases = " and ".join(phase.value for phase in parse_hook_phases(obj))
    wave = parse_wave(obj)
    return f"{phases}{f', wave {wave}' if wave else ''}: {parse_ref(obj).key}"


def ends_by_itself(key: ObjectKey) -> bool:
    """Whether objects of a kind run and end, as a Job does; a ConfigMap is only there."""
    return (key.group, key.kind) in _ENDING


def refuse_hook(obj: JsonObject) -> str:
    """Say why an object cannot be a hook; empty when it can.

    Raises:
        PermanentError: ``InvalidObject``, when it has no identity.
    """
    key = parse_ref(obj).key
    if (key.group, key.kind) in _ENDING | _LASTING:
        return ""
    kinds = ", ".join(sorted(kind for _, kind in _ENDING | _LASTING))
    return f"{key}: a hook is one of {kinds}; take the annotation away, or make it one of these"


def find_hooks(
    objects: Iterable[JsonObject], phase: HookPhase, *, restoring: bool = False
) -> tuple[JsonObject, ...]:
    """Find the hooks of a set that run in a phase, in the order in which they begin.

    Args:
        objects: The set.
        phase: The phase.
        restoring: Whether the set is restored: only hooks that are marked for it run then.
    """
    found = [
        obj
        for obj in objects
        if phase in parse_hook_phases(obj) and (not restoring or parse_hook_on_rollback(obj))
    ]
    return tuple(sorted(found, key=_order))


def split_waves(hooks: Iterable[JsonObject]) -> tuple[tuple[int, tuple[JsonObject, ...]], ...]:
    """Split the hooks of a phase by wave; those of a wave run side by side."""
    ordered = sorted(hooks, key=_order)
    return tuple((wave, tuple(group)) for wave, group in groupby(ordered, key=parse_wave))


def find_own_times(hooks: Iterable[JsonObject]) -> tuple[timedelta | None, ...]:
    """Read how long those hooks that end by themselves may work; None for one that says nothing.

    That is ``activeDeadlineSeconds`` of a Job or a Pod, after which the cluster ends it.
    """
    said = [int_at(hook, "spec", "activeDeadlineSeconds") for hook in hooks if _ends(hook)]
    longest = int(LONGEST_HOOK.total_seconds())
    return tuple(None if own is None else timedelta(seconds=min(own, longest)) for own in said)


def _ends(obj: JsonObject) -> bool:
    return ends_by_itself(parse_ref(obj).key)


def _order(obj: JsonObject) -> tuple[int, bool, str, str, str]:
    key = parse_ref(obj).key
    return (parse_wave(obj), ends_by_itself(key), key.kind, key.namespace, key.name)


def name_hook(key: ObjectKey, phase: HookPhase) -> str:
    """Name a hook among those of one run, e.g. ``PreSync Job shop/migrate``."""
    return f"{phase.value} {key}"


def make_hook_body(obj: JsonObject, run: str, phase: HookPhase) -> JsonObject:
    """Make what is created: marked with its run and phase, without a time to live."""
    metadata = mapping_at(obj, "metadata")
    own = {RUN_ANNOTATION: run, HOOK_PHASE_ANNOTATION: phase.value}
    marks: dict[str, Json] = {**mapping_at(metadata, "annotations"), **own}
    marked: dict[str, Json] = {**obj, "metadata": {**metadata, "annotations": marks}}
    if kind_of(obj) == "Job":
        spec = mapping_at(obj, "spec")
        marked["spec"] = {
            key: value for key, value in spec.items() if key != "ttlSecondsAfterFinished"
        }
    return marked


def make_trial_body(obj: JsonObject) -> JsonObject:
    """Make what a dry-run is given: under a name that nothing bears.

    What bears the hook's own name is of an earlier run, and most of a Job cannot be changed.
    """
    metadata = mapping_at(obj, "metadata")
    name = f"{string_at(metadata, 'name')[:_NAME_ROOM]}{_TRIAL}"
    return {**obj, "metadata": {**metadata, "name": name}}


def decide_hook(
    live: JsonObject | None,
    known: HookRun | None,
    *,
    run: str,
    phase: HookPhase,
    idempotent: bool,
) -> HookDecision:
    """Decide what to do about a hook that runs and ends.

    Args:
        live: What bears its name; None when nothing does.
        known: What is stored of it in this run; None when it was not begun.
        run: This run.
        phase: The phase it runs in now.
        idempotent: Whether it may run again when nobody knows how it ended.
    """
    ours = live is not None and _is_of(live, run, phase, known)
    if known is not None and known.state is not HookState.STARTED:
        good = known.state is HookState.SUCCEEDED
        action = HookAction.SUCCEED if good else HookAction.FAIL
        unended = ours and live is not None and read_result(live) is None
        return HookDecision(action, known.message, ours, unended)
    if live is not None and ours:
        return _follow(live)
    began = known is not None and bool(known.uid)
    if began and not idempotent:
        return HookDecision(HookAction.ASK, "it was started and is gone without a result")
    if live is None:
        return HookDecision(HookAction.CREATE)
    other = annotations_of(live).get(RUN_ANNOTATION, "")
    whose = f"that of run {other}" if other else "one that is no run's"
    if is_terminating(live):
        return HookDecision(HookAction.WAIT, f"{whose} is being deleted")
    if read_result(live) is None:
        return HookDecision(HookAction.WAIT, f"{whose} still works, and is waited for")
    return HookDecision(HookAction.DELETE, f"{whose} has ended")


def _is_of(live: JsonObject, run: str, phase: HookPhase, known: HookRun | None) -> bool:
    annotations = annotations_of(live)
    marked = (annotations.get(RUN_ANNOTATION), annotations.get(HOOK_PHASE_ANNOTATION))
    same = known is None or known.uid in ("", uid_of(live))
    return marked == (run, phase.value) and same


def _follow(live: JsonObject) -> HookDecision:
    result = read_result(live)
    if result is None:
        ending = "it is being deleted" if is_terminating(live) else _say_progress(live)
        return HookDecision(HookAction.WAIT, ending, ours=True)
    if result.succeeded:
        return HookDecision(HookAction.SUCCEED, ours=True)
    return HookDecision(HookAction.FAIL, result.message, ours=True)


def _say_progress(live: JsonObject) -> str:
    if flag_at(live, "spec", "suspend"):
        return "it is suspended"
    if kind_of(live) == "Pod":
        return f"it is {string_at(live, 'status', 'phase') or 'Pending'}"
    status = mapping_at(live, "status")
    counts = [(status.get("active"), "active"), (status.get("failed"), "failed")]
    said = ", ".join(f"{count} {word}" for count, word in counts if isinstance(count, int))
    return f"it runs ({said or 'no pod yet'})"


def read_result(live: JsonObject) -> HookResult | None:
    """Read how a Job or a Pod ended; None while it has not.

    A Job has ended with its condition ``Complete`` or ``Failed``; the conditions that come before
    them (``SuccessCriteriaMet``, ``FailureTarget``) leave pods to be waited for
    (Kubernetes, Job API: terminal conditions).
    """
    if kind_of(live) == "Pod":
        phase = string_at(live, "status", "phase")
        if phase == "Failed":
            return HookResult(succeeded=False, message=_say_pod(live))
        return HookResult(succeeded=True) if phase == "Succeeded" else None
    if condition_true(live, "Complete") is not None:
        return HookResult(succeeded=True)
    failed = condition_true(live, "Failed")
    if failed is None:
        return None
    words = [failed.reason, redact_clause(failed.message)]
    return HookResult(succeeded=False, message=": ".join(word for word in words if word))


@dataclass(frozen=True, slots=True, order=True)
class HookEnd:
    """How a container of a failed hook ended.

    Attributes:
        at: When, as the cluster wrote it.
        pod: Its pod.
        container: The container.
        message: One clause.
    """

    at: str
    pod: str
    container: str
    message: str


def find_last_end(pods: Iterable[JsonObject]) -> HookEnd | None:
    """Find the container of a failed hook that ended last; None when none is known."""
    ends = []
    for pod in pods:
        for status, label in container_statuses(pod):
            for state in ("state", "lastState"):
                end = mapping_at(status, state, "terminated")
                code = end.get("exitCode")
                if isinstance(code, int) and code:
                    at, name = string_at(end, "finishedAt"), string_at(status, "name")
                    pod_name = string_at(pod, "metadata", "name")
                    ends.append(HookEnd(at, pod_name, name, _say_exit(label, end)))
    return max(ends, default=None)


def _say_pod(pod: JsonObject) -> str:
    reason, end = string_at(pod, "status", "reason"), find_last_end([pod])
    return end.message if end is not None else reason or "it failed"


def _say_exit(label: str, end: Mapping[str, Json]) -> str:
    reason = string_at(end, "reason")
    why = f" ({reason})" if reason not in ("", "Error") else ""
    words = redact_clause(string_at(end, "message"))
    return f"{label} exited with {end.get('exitCode')}{why}{f': {words}' if words else ''}"
