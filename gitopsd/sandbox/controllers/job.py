"""Jobs: pods until enough have succeeded, or too many failed, or time is up. Pure.

Rules: ``pkg/controller/job/job_controller.go``. Pod failure policies, success policies and back-off
limits per index are not played.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.conditions import (
    FALSE,
    TRUE,
    conditions_of,
    find_condition,
    make_condition,
)
from gitopsd.sandbox.controllers.facts import (
    JOB,
    NOTHING,
    POD,
    Announcement,
    Delete,
    Facts,
    Key,
    Plan,
    Refusal,
    Replace,
    Write,
)
from gitopsd.sandbox.controllers.job_indexes import (
    done_indexes,
    is_indexed,
    next_indexes,
    say_indexes,
    with_index,
)
from gitopsd.sandbox.controllers.job_tally import (
    TRACKING,
    Tally,
    back_off,
    has_failed,
    is_tracked,
    said_uncounted,
    tally,
)
from gitopsd.sandbox.controllers.ownership import claim, controller_of
from gitopsd.sandbox.controllers.pods import first_to_go, phase_of, pod_from_template, restarts_of
from gitopsd.sandbox.controllers.reading import (
    count_at,
    finalizers_of,
    is_deleted,
    namespace_of,
    time_at,
    uid_of,
    with_finalizers,
    with_metadata,
    with_status,
)
from gitopsd.sandbox.controllers.replica_set import announced_pod, delete_pod
from gitopsd.sandbox.fields import field_at, flag_at, object_at, text_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitopsd.domain.manifests import Json, JsonObject

COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
SUCCESS_IN_VIEW, FAILURE_IN_VIEW = "SuccessCriteriaMet", "FailureTarget"
_BURST = 500


@dataclass(slots=True)
class _Look:
    """One look at a Job: what is there, and what comes of it."""

    job: JsonObject
    now: datetime
    count: Tally
    conditions: list[JsonObject]
    active: int
    ready: int
    terminating: int
    started: str
    writes: list[Write] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    again: timedelta | None = None

    @property
    def completions(self) -> int | None:
        """How many have to succeed; None: any one, when all others have ended."""
        found = field_at(self.job, "spec", "completions")
        return int(found) if isinstance(found, int) else None

    @property
    def suspended(self) -> bool:
        """Whether it shall not run now."""
        return flag_at(self.job, "spec", "suspend")

    def wait(self, duration: timedelta) -> None:
        """Look again by then."""
        self.again = duration if self.again is None else min(self.again, duration)

    def set_condition(self, kind: str, status: str, reason: str, message: str) -> None:
        """Set a condition where it stands, or at the end."""
        made = _condition(kind, status, reason, message, self.now)
        kinds = [item.get("type") for item in self.conditions]
        if kind in kinds:
            self.conditions[kinds.index(kind)] = made
        else:
            self.conditions.append(made)


def reconcile(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """What to do about one Job."""
    job = facts.find(JOB.resource, *key)
    if job is None or is_finished(job):
        return NOTHING
    mine = claim(facts, job, JOB, POD, finalizer=TRACKING)
    if mine.writes:
        return Plan(mine.writes)
    count = tally(job, mine.owned)
    look = _Look(
        job=job,
        now=now,
        count=count,
        conditions=conditions_of(job),
        active=len(count.active),
        ready=count.ready,
        terminating=count.terminating,
        started=text_at(job, "status", "startTime"),
    )
    if not look.started and not look.suspended:
        look.started = stamp(now)
    verdict = _verdict(look)
    if verdict is not None:
        _stop(look)
    elif not refusals and not is_deleted(job):
        _run(look)
        verdict = _completion(look)
        if verdict is None:
            _say_suspension(look)
    _account(look, verdict)
    return Plan(tuple(look.writes), look.again, failed=any(not r.namespace_ends for r in refusals))


def expire(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """Delete a finished Job when its ``ttlSecondsAfterFinished`` have passed."""
    job = facts.find(JOB.resource, *key)
    if job is None or is_deleted(job) or refusals:
        return Plan(failed=bool(refusals))
    seconds = field_at(job, "spec", "ttlSecondsAfterFinished")
    ended = next(
        (
            time_at(item, "lastTransitionTime")
            for item in conditions_of(job)
            if item.get("type") in {COMPLETE, FAILED} and item.get("status") == TRUE
        ),
        None,
    )
    if not isinstance(seconds, int) or ended is None:
        return NOTHING
    left = ended + timedelta(seconds=seconds) - now
    if left > timedelta():
        return Plan(again=left)
    return Plan((Delete(JOB.resource, job, "Foreground"),))


def release(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """Take the finalizer off a pod whose Job is gone or finished: nobody counts it any more."""
    del now
    pod = facts.find(POD.resource, *key)
    if pod is None or not is_tracked(pod) or refusals:
        return Plan(failed=bool(refusals))
    reference = controller_of(pod)
    if reference is not None:
        job = facts.find(JOB.resource, key.namespace, text_at(reference, "name"))
        same = job is not None and uid_of(job) == text_at(reference, "uid")
        if job is not None and same and not is_finished(job):
            return NOTHING
    return Plan((_freed(pod),))


def is_finished(job: JsonObject) -> bool:
    """Whether it has ended for good."""
    return any(
        item.get("type") in {COMPLETE, FAILED} and item.get("status") == TRUE
        for item in conditions_of(job)
    )


def _condition(kind: str, status: str, reason: str, message: str, now: datetime) -> dict[str, Json]:
    return make_condition(kind, status, reason, message, stamp(now), dates=("lastProbeTime",))


def _verdict(look: _Look) -> JsonObject | None:
    """The condition that announces the end, an earlier one if there is; None: it goes on."""
    for kind in (SUCCESS_IN_VIEW, FAILURE_IN_VIEW):
        found = find_condition(look.conditions, kind)
        if found is not None and found.get("status") == TRUE:
            return found
    limit = count_at(look.job, "spec", "backoffLimit", default=6)
    if look.count.failed > limit or _restarted_too_often(look, limit):
        said = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
        return _condition(FAILURE_IN_VIEW, TRUE, *said, look.now)
    seconds = field_at(look.job, "spec", "activeDeadlineSeconds")
    started = time_at(look.job, "status", "startTime")
    if not isinstance(seconds, int) or look.suspended:
        return None
    left = (started or look.now) + timedelta(seconds=seconds) - look.now
    if left > timedelta():
        look.wait(left)
        return None
    said = ("DeadlineExceeded", "Job was active longer than specified deadline")
    return _condition(FAILURE_IN_VIEW, TRUE, *said, look.now)


def _restarted_too_often(look: _Look, limit: int) -> bool:
    """Where containers are restarted in their pods, restarts are the failures."""
    template = object_at(look.job, "spec", "template")
    if text_at(template, "spec", "restartPolicy") != "OnFailure":
        return False
    restarts = sum(
        restarts_of(pod)[0] for pod in look.count.pods if phase_of(pod) in {"Running", "Pending"}
    )
    return restarts > 0 and restarts >= limit


def _stop(look: _Look) -> None:
    """End the pods that are left."""
    look.writes.extend(delete_pod(pod, look.job) for pod in look.count.active)
    look.ended.update(uid_of(pod) for pod in look.count.active)
    look.terminating += len(look.count.active)
    look.active = look.ready = 0


def _run(look: _Look) -> None:
    """Make pods, or end some, until as many run as should."""
    parallelism = count_at(look.job, "spec", "parallelism", default=1)
    if look.suspended:
        _reduce(look, look.active)
        return
    if look.completions is None:
        wanted = look.active if look.count.succeeded else parallelism
    else:
        wanted = max(min(look.completions - _succeeded(look), parallelism), 0)
    if look.active > wanted:
        _reduce(look, look.active - wanted)
        return
    failed_only = text_at(look.job, "spec", "podReplacementPolicy") == "Failed"
    missing = wanted - look.active - (look.terminating if failed_only else 0)
    if missing <= 0:
        return
    wait = back_off(look.count.pods, look.job, look.now)
    if wait:
        look.wait(wait)
        return
    new = _new_pods(look, min(missing, _BURST))
    look.writes.extend(announced_pod(pod, look.job) for pod in new)
    look.active += len(new)


def _reduce(look: _Look, number: int) -> None:
    """End pods that are too many; they count for nothing."""
    leaving = first_to_go(look.count.active, (), look.now)[:number]
    for pod in leaving:
        freed = _freed(pod)
        look.writes.extend((freed, delete_pod(pod, look.job)))
        look.ended.add(uid_of(pod))
    look.active -= len(leaving)
    look.terminating += len(leaving)
    look.ready = min(look.ready, look.active)


def _new_pods(look: _Look, number: int) -> list[JsonObject]:
    template = object_at(look.job, "spec", "template")
    pod = pod_from_template(template, look.job, JOB)
    kept = tuple(text for text in finalizers_of(pod) if text != TRACKING)
    named = with_metadata(pod, {"namespace": namespace_of(look.job)})
    tracked = with_finalizers(named, (*kept, TRACKING))
    if not is_indexed(look.job):
        return [tracked] * number
    done = done_indexes(look.job, look.count.pods, look.completions or 0)
    places = next_indexes(done, look.count.active, look.completions or 0)
    return [with_index(tracked, look.job, place) for place in places[:number]]


def _succeeded(look: _Look) -> int:
    if is_indexed(look.job):
        return len(done_indexes(look.job, look.count.pods, look.completions or 0))
    return look.count.succeeded


def _completion(look: _Look) -> JsonObject | None:
    succeeded = _succeeded(look)
    enough = succeeded > 0 if look.completions is None else succeeded >= look.completions
    if look.active or not enough:
        return None
    said = ("CompletionsReached", "Reached expected number of succeeded pods")
    return _condition(SUCCESS_IN_VIEW, TRUE, *said, look.now)


def _say_suspension(look: _Look) -> None:
    old = find_condition(look.conditions, SUSPENDED)
    was = old is not None and old.get("status") == TRUE
    if look.suspended == was:
        return
    if look.suspended:
        look.set_condition(SUSPENDED, TRUE, "JobSuspended", "Job suspended")
        look.started = ""
        look.writes.append(Announcement(look.job, "Suspended", "Job suspended"))
    else:
        look.set_condition(SUSPENDED, FALSE, "JobResumed", "Job resumed")
        look.started = stamp(look.now)
        look.writes.append(Announcement(look.job, "Resumed", "Job resumed"))


def _account(look: _Look, verdict: JsonObject | None) -> None:
    """Note finished pods, free those that are noted, count those that are free, and end."""
    job, count = look.job, look.count
    over = verdict is not None or is_deleted(job)
    failing = verdict is not None and verdict.get("type") == FAILURE_IN_VIEW
    fresh_failed = [uid_of(pod) for pod in count.fresh_failed]
    if failing:
        # What is still there when a Job fails has failed with it.
        known = {*fresh_failed, *count.noted[0], *count.noted[1]}
        fresh_failed += [
            uid_of(pod)
            for pod in count.pods
            if is_tracked(pod) and phase_of(pod) != "Succeeded" and uid_of(pod) not in known
        ]
    fresh_succeeded = [uid_of(pod) for pod in count.fresh_succeeded]
    noted = ((*count.noted[0], *fresh_succeeded), (*count.noted[1], *fresh_failed))
    if verdict is not None and find_condition(look.conditions, text_at(verdict, "type")) is None:
        look.conditions.append(verdict)
    waits_for = noted[0] or noted[1] or look.terminating or fresh_succeeded
    news: Announcement | None = None
    completed = ""
    if verdict is not None and not waits_for:
        news = _end(look, verdict)
        completed = "" if failing else stamp(look.now)
    status = _status(look, noted, completed)
    if status != object_at(job, "status"):
        changed = with_status(job, status)
        look.writes.append(Replace(JOB.resource, changed, "status", done=news))
    look.writes.extend(
        _freed(pod)
        for pod in count.pods
        if is_tracked(pod)
        and uid_of(pod) not in look.ended
        and (over or phase_of(pod) == "Succeeded" or has_failed(pod, job))
    )


def _end(look: _Look, verdict: JsonObject) -> Announcement:
    reason, message = text_at(verdict, "reason"), text_at(verdict, "message")
    if verdict.get("type") == FAILURE_IN_VIEW:
        look.set_condition(FAILED, TRUE, reason, message)
        return Announcement(look.job, reason, message, warning=True)
    look.set_condition(COMPLETE, TRUE, reason, message)
    return Announcement(look.job, "Completed", "Job completed")


def _status(
    look: _Look, noted: tuple[Sequence[str], Sequence[str]], completed: str
) -> dict[str, Json]:
    succeeded, failed = look.count.counted
    said: dict[str, Json] = {
        "conditions": look.conditions,
        "startTime": look.started,
        "completionTime": completed,
        "active": look.active,
        "succeeded": succeeded,
        "failed": failed,
    }
    if is_indexed(look.job):
        done = done_indexes(look.job, look.count.pods, look.completions or 0)
        said["succeeded"] = len(done)
        said["completedIndexes"] = say_indexes(done)
        noted = ((), noted[1])
    status = {name: value for name, value in said.items() if value}
    return {
        **status,
        "terminating": look.terminating,
        "uncountedTerminatedPods": said_uncounted(*noted),
        "ready": look.ready,
    }


def _freed(pod: JsonObject) -> Replace:
    kept = tuple(text for text in finalizers_of(pod) if text != TRACKING)
    return Replace(POD.resource, with_finalizers(pod, kept))
