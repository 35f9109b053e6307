"""What a pod's own status, and the events about it, say about its future.

Theory: every sign of trouble becomes a `Signal` with a grace period that runs from a moment the
cluster recorded, so that two looks at the same facts give the same answer and nothing has to be
remembered between them. A signal without an end of grace that is not definite only informs: the
deadline of whoever waits decides, and the signal is what it says then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypedDict

from gitopsd.kube.findings import latest
from gitopsd.kube.objects import (
    condition_of,
    condition_true,
    container_spec,
    created_at,
    flag_at,
    int_at,
    is_terminating,
    mapping_at,
    mappings_at,
    name_of,
    namespace_of,
    number_at,
    string_at,
    time_at,
    uid_of,
)
from gitopsd.kube.pod_events import PodEvent
from gitopsd.kube.redaction import redact_clause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.kube.findings import HealthSettings

IMAGE_FAILURES = frozenset(
    {"InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "SignatureValidationFailed"}
)
IMAGE_TROUBLE = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"})
CONFIGURATION_TROUBLE = frozenset({"CreateContainerConfigError"})
CRASH_LOOP = "CrashLoopBackOff"
MANY_RESTARTS = 3

_PASSING = re.compile(
    r"toomanyrequests|rate limit|timeout|timed out|deadline exceeded|connection refused"
    r"|connection reset|no such host|server misbehaving|(?:status|code):? 5[0-9][0-9]"
    r"|5[0-9][0-9] (?:Internal|Bad|Service|Gateway)",
    re.IGNORECASE,
)
_LASTING = re.compile(
    r"not found|manifest unknown|name unknown|denied|unauthorized|no match for platform"
    r"|no matching manifest|invalid reference format",
    re.IGNORECASE,
)
_QUOTED = re.compile(r'"[^"]{0,1024}"')

_VOLUME_EVENTS = frozenset({"FailedMount", "FailedAttachVolume"})
_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True)
class Signal:
    """One sign that a pod will not become ready.

    Attributes:
        rank: How telling it is; lower tells more.
        reason: Kubernetes' reason, e.g. ``CrashLoopBackOff``.
        message: One clause in the cluster's words, without the pod's name.
        namespace: Namespace of the pod.
        pod: Name of the pod; empty when there is no pod.
        uid: Uid of the pod.
        container: Container it is about; empty when it is about the whole pod.
        definite: Whether the grace period is over.
        since: Begin of the grace period; None when it is not known.
        until: End of the grace period while it runs; None when definite or open.
        previous_log: Whether the last words are those of a container that ended.
        exit_code: Exit code of the last termination; None when nothing ended.
    """

    rank: int
    reason: str
    message: str
    namespace: str = ""
    pod: str = ""
    uid: str = ""
    container: str = ""
    definite: bool = False
    since: datetime | None = None
    until: datetime | None = None
    previous_log: bool = False
    exit_code: int | None = None


RANK_CRASH = 1
RANK_IMAGE = 2
RANK_CONFIGURATION = 3
RANK_CONTAINER = 4
RANK_CREATION = 5
RANK_SCHEDULING = 6
RANK_DEADLINE = 7
RANK_VOLUME = 8
RANK_PROBE = 9


def judge_grace(
    since: datetime | None, grace: timedelta, now: datetime
) -> tuple[bool, datetime | None]:
    """Tell whether a grace period is over, and when it ends while it runs.

    A begin that is not known, or that the cluster's clock puts into the future, counts as now, so
    that no grace period is over by mistake.
    """
    begin = now if since is None or since > now else since
    until = begin + grace
    return (True, None) if since is not None and now >= until else (False, until)


def find_signals(
    pod: JsonObject,
    events: tuple[PodEvent, ...],
    now: datetime,
    settings: HealthSettings,
    *,
    retried: bool = False,
) -> tuple[Signal, ...]:
    """Find every sign of trouble of one pod, the most telling first.

    Args:
        pod: The pod.
        events: Events about the pod, oldest first.
        now: The time.
        settings: Grace periods.
        retried: Whether somebody else counts its crashes, as a Job does: they are no signs then.
    """
    if is_terminating(pod) or string_at(pod, "status", "phase") in {"Succeeded", "Failed"}:
        return ()
    if condition_true(pod, "Ready") is not None:
        return ()
    signals = [
        *_scheduling(pod, now, settings),
        *_volumes(pod, events, now, settings),
        *_probes(pod, events, now, settings),
    ]
    for status, label in container_statuses(pod):
        signal = _container(_Look(pod, status, label, events, now, settings), retried=retried)
        if signal is not None:
            signals.append(signal)
    return tuple(sorted(signals, key=telling_order))


def telling_order(signal: Signal) -> tuple[bool, int, str, str, str]:
    """Sort key: failures before suspicions, then by rank, then by name."""
    return (not signal.definite, signal.rank, signal.pod, signal.container, signal.reason)


@dataclass(frozen=True, slots=True)
class _Look:
    """One container at one moment."""

    pod: JsonObject
    status: JsonObject
    label: str
    events: tuple[PodEvent, ...]
    now: datetime
    settings: HealthSettings

    @property
    def waiting(self) -> str:
        return string_at(self.status, "state", "waiting", "reason")

    @property
    def said(self) -> str:
        return string_at(self.status, "state", "waiting", "message")

    def begin(self) -> datetime | None:
        """When the container could have begun: after scheduling, init containers, its last end."""
        scheduled = condition_true(self.pod, "PodScheduled")
        initialised = condition_true(self.pod, "Initialized")
        return latest(
            created_at(self.pod),
            scheduled.since if scheduled else None,
            initialised.since if initialised else None,
            time_at(self.status, "lastState", "terminated", "finishedAt"),
        )

    def signal(self, rank: int, message: str, grace: timedelta, since: datetime | None) -> Signal:
        definite, until = judge_grace(since, grace, self.now)
        return Signal(
            rank=rank,
            reason=self.waiting,
            message=f"{self.label}: {message}",
            **_identity(self.pod),
            container=string_at(self.status, "name"),
            definite=definite,
            since=since,
            until=until,
        )


class _Identity(TypedDict):
    namespace: str
    pod: str
    uid: str


def _identity(pod: JsonObject) -> _Identity:
    return {"namespace": namespace_of(pod), "pod": name_of(pod), "uid": uid_of(pod)}


def container_statuses(pod: JsonObject) -> Iterator[tuple[JsonObject, str]]:
    """Iterate over the statuses of a pod's containers, each with what to call the container."""
    for status in mappings_at(pod, "status", "initContainerStatuses"):
        yield status, f"init container {string_at(status, 'name')}"
    for status in mappings_at(pod, "status", "containerStatuses"):
        yield status, f"container {string_at(status, 'name')}"


def _container(look: _Look, *, retried: bool) -> Signal | None:
    reason, settings = look.waiting, look.settings
    said = redact_clause(": ".join(part for part in (reason, look.said) if part))
    if reason in IMAGE_FAILURES:
        return look.signal(RANK_IMAGE, said, timedelta(0), look.begin() or look.now)
    if reason in IMAGE_TROUBLE:
        return _image(look)
    if reason in CONFIGURATION_TROUBLE:
        return look.signal(RANK_CONFIGURATION, said, settings.configuration_grace, look.begin())
    if reason == CRASH_LOOP or not reason:
        return None if retried else _crash(look)
    if reason.startswith("Err") or reason.endswith(("Error", "BackOff")):
        return look.signal(RANK_CONTAINER, said, settings.container_grace, look.begin())
    return None


def _image(look: _Look) -> Signal:
    """Judge a failed pull: at once when the registry's words say that it will not come."""
    name = string_at(look.status, "name")
    failures = [
        event for event in look.events if event.about_pull and event.container in ("", name)
    ]
    message = look.said
    if failures and not (_LASTING.search(message) or _PASSING.search(message)):
        message = failures[-1].message
    words = _QUOTED.sub('""', message)
    lasting = _LASTING.search(words) is not None and _PASSING.search(words) is None
    firsts = [event.first for event in failures if event.first is not None]
    begin = latest(look.begin(), min(firsts, default=None))
    said = redact_clause(f"{look.waiting}: {message}" if message else look.waiting)
    if lasting:
        return look.signal(RANK_IMAGE, said, timedelta(0), begin or look.now)
    return look.signal(RANK_IMAGE, said, look.settings.image_grace, begin)


def _crash(look: _Look) -> Signal | None:
    restarts = number_at(look.status, "restartCount")
    ended = mapping_at(look.status, "state", "terminated")
    last = ended or mapping_at(look.status, "lastState", "terminated")
    exit_code = int_at(last, "exitCode")
    looping = look.waiting == CRASH_LOOP
    if not looping and (exit_code in {0, None} or flag_at(look.status, "ready")):
        return None
    definite, until = judge_grace(time_at(last, "finishedAt"), look.settings.crash_grace, look.now)
    if not (looping or ended):  # it runs again, and may be starting
        definite, until = False, None
    enough = look.settings.crash_restarts if looping or ended else MANY_RESTARTS
    if restarts >= enough:
        definite, until = True, None
    return Signal(
        rank=RANK_CRASH,
        reason="OOMKilled" if string_at(last, "reason") == "OOMKilled" else CRASH_LOOP,
        message=_say_crash(look, last, restarts, looping=looping),
        **_identity(look.pod),
        container=string_at(look.status, "name"),
        definite=definite,
        since=time_at(last, "finishedAt"),
        until=until,
        previous_log=not ended,
        exit_code=exit_code,
    )


def _say_crash(look: _Look, last: JsonObject, restarts: int, *, looping: bool) -> str:
    parts = [CRASH_LOOP] if looping else []
    why = string_at(last, "reason")
    if why not in {"", "Error"}:
        parts.append(why)
    exit_code = int_at(last, "exitCode")
    if exit_code is not None:
        parts.append(f"exit code {exit_code}")
    spec = container_spec(look.pod, string_at(look.status, "name"))
    limit = string_at(spec, "resources", "limits", "memory")
    if why == "OOMKilled" and limit:
        parts.append(f"memory limit {limit}")
    parts.append(f"restarted {restarts} time{'' if restarts == 1 else 's'}")
    words = redact_clause(string_at(last, "message"))
    return f"{look.label}: {', '.join(parts)}" + (f": {words}" if words else "")


def _scheduling(pod: JsonObject, now: datetime, settings: HealthSettings) -> Iterator[Signal]:
    scheduled = condition_of(pod, "PodScheduled")
    if scheduled is None or not scheduled.false:
        return
    if scheduled.reason not in {"Unschedulable", "SchedulingGated"}:
        return
    definite, until = judge_grace(created_at(pod), settings.unschedulable_grace, now)
    yield Signal(
        rank=RANK_SCHEDULING,
        reason=scheduled.reason,
        message=redact_clause(f"{scheduled.reason}: {scheduled.message}".removesuffix(": ")),
        **_identity(pod),
        definite=definite,
        since=created_at(pod),
        until=until,
    )


def _volumes(
    pod: JsonObject, events: tuple[PodEvent, ...], now: datetime, settings: HealthSettings
) -> Iterator[Signal]:
    """Report a volume that does not come; it never decides, since mounts are tried for ever."""
    failures = [
        event
        for event in events
        if event.reason in _VOLUME_EVENTS and event.is_recent(now, settings.event_age)
    ]
    if not failures or not all(_is_starting(status) for status, _ in container_statuses(pod)):
        return
    firsts = [event.first for event in failures if event.first is not None]
    since = min(firsts, default=None)
    yield Signal(
        rank=RANK_VOLUME,
        reason=failures[-1].reason,
        message=redact_clause(f"{failures[-1].reason}: {failures[-1].message}"),
        **_identity(pod),
        since=since,
        until=judge_grace(since, settings.volume_grace, now)[1],
    )


def _is_starting(status: JsonObject) -> bool:
    state = mapping_at(status, "state")
    return "waiting" in state and string_at(state, "waiting", "reason") in _STARTING


def _probes(
    pod: JsonObject, events: tuple[PodEvent, ...], now: datetime, settings: HealthSettings
) -> Iterator[Signal]:
    """Report failing probes; a container that runs may yet become ready."""
    for status, label in container_statuses(pod):
        name = string_at(status, "name")
        said = [
            event
            for event in events
            if event.reason == "Unhealthy"
            and event.container in ("", name)
            and event.is_recent(now, settings.event_age)
        ]
        if said and "running" in mapping_at(status, "state") and not flag_at(status, "ready"):
            yield Signal(
                rank=RANK_PROBE,
                reason="Unhealthy",
                message=redact_clause(f"{label}: {said[-1].message}"),
                **_identity(pod),
                container=name,
                since=said[-1].first,
            )


def find_ends(pod: JsonObject) -> tuple[Signal, ...]:
    """Find the containers of a pod that ended with an exit code other than 0, now for good."""
    ends = []
    for status, label in container_statuses(pod):
        ended = mapping_at(status, "state", "terminated")
        exit_code = int_at(ended, "exitCode")
        if exit_code not in {0, None}:
            reason = string_at(ended, "reason")
            words = [reason, f"exit code {exit_code}", string_at(ended, "message")]
            said = redact_clause(", ".join(word for word in words if word))
            ends.append(
                Signal(
                    rank=RANK_CRASH,
                    reason=reason or "Error",
                    message=f"{label}: {said}",
                    **_identity(pod),
                    container=string_at(status, "name"),
                    definite=True,
                    since=time_at(ended, "finishedAt"),
                    exit_code=exit_code,
                )
            )
    return tuple(ends)
