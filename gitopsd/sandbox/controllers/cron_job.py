"""CronJobs: a Job whenever the schedule says so, and not too many of old. Pure.

Rules: ``pkg/controller/cronjob/cronjob_controllerv2.go``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.conditions import is_true
from gitopsd.sandbox.controllers.cron_schedule import Schedule, ScheduleError, parse_schedule
from gitopsd.sandbox.controllers.facts import (
    CRON_JOB,
    JOB,
    NOTHING,
    Announcement,
    Create,
    Delete,
    Facts,
    Key,
    Plan,
    Refusal,
    Replace,
    Write,
)
from gitopsd.sandbox.controllers.job import COMPLETE, FAILED, is_finished
from gitopsd.sandbox.controllers.ownership import controlled, controller_reference
from gitopsd.sandbox.controllers.reading import (
    annotations_of,
    count_at,
    created_order,
    is_deleted,
    labels_of,
    name_of,
    namespace_of,
    time_at,
    uid_of,
    with_status,
)
from gitopsd.sandbox.fields import field_at, flag_at, object_at, objects_at, text_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject

_SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
# As the real one: looked at a moment late, so that the time has surely come.
_AFTER = timedelta(milliseconds=100)


def reconcile(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """What to do about one CronJob."""
    cron = facts.find(CRON_JOB.resource, *key)
    if cron is None:
        return NOTHING
    if refusals:
        known = refusals[0].reason == "AlreadyExists" or refusals[0].namespace_ends
        return Plan(failed=not known)
    jobs = controlled(facts, cron, JOB)
    running = [item for item in jobs if not is_finished(item)]
    writes: list[Write] = [*_sightings(cron, jobs), *_outdated(cron, jobs)]
    started: datetime | None = None
    again: timedelta | None = None
    if not is_deleted(cron) and not flag_at(cron, "spec", "suspend"):
        try:
            schedule = parse_schedule(
                text_at(cron, "spec", "schedule"), text_at(cron, "spec", "timeZone")
            )
        except ScheduleError as error:
            return Plan((*writes, _complaint(cron, error)))
        due, made = _due(cron, schedule, running, now)
        writes.extend(made)
        started = due if any(isinstance(item, Create) for item in made) else None
        coming = schedule.next_after(now)
        again = None if coming is None else coming - now + _AFTER
    status = _status(cron, jobs, running, started)
    if status != object_at(cron, "status"):
        writes.append(Replace(CRON_JOB.resource, with_status(cron, status), "status"))
    return Plan(tuple(writes), again)


def _due(
    cron: JsonObject, schedule: Schedule, running: Sequence[JsonObject], now: datetime
) -> tuple[datetime | None, list[Write]]:
    """The time that is due, if any, and what to do about it."""
    since = time_at(cron, "status", "lastScheduleTime") or time_at(
        cron, "metadata", "creationTimestamp"
    )
    seconds = field_at(cron, "spec", "startingDeadlineSeconds")
    due = None if since is None else schedule.latest_between(since, now)
    if due is None:
        return None, []
    if isinstance(seconds, int) and due + timedelta(seconds=seconds) < now:
        said = f"Missed scheduled time to start a job: {due:%a, %d %b %Y %H:%M:%S UTC}"
        return None, [Announcement(cron, "MissSchedule", said, warning=True)]
    policy = text_at(cron, "spec", "concurrencyPolicy")
    if policy == "Forbid" and running:
        said = (
            "Not starting job because prior execution is running and concurrency policy is Forbid"
        )
        return None, [Announcement(cron, "JobAlreadyActive", said)]
    ended = [_delete(cron, item) for item in running] if policy == "Replace" else []
    return due, [*ended, _new_job(cron, schedule, due)]


def _new_job(cron: JsonObject, schedule: Schedule, due: datetime) -> Create:
    template = object_at(cron, "spec", "jobTemplate")
    annotations = {
        **annotations_of(template),
        _SCHEDULED_AT: due.astimezone(schedule.zone).isoformat().replace("+00:00", "Z"),
    }
    metadata: dict[str, Json] = {
        "name": f"{name_of(cron)}-{int(due.timestamp()) // 60}",
        "namespace": namespace_of(cron),
        "annotations": annotations,
        "ownerReferences": [controller_reference(cron, CRON_JOB)],
    }
    if labels_of(template):
        metadata["labels"] = labels_of(template)
    return Create(
        JOB,
        {"metadata": metadata, "spec": object_at(template, "spec")},
        done=Announcement(cron, "SuccessfulCreate", "Created job {name}"),
        refused=Announcement(cron, "FailedCreate", "Error creating job: {problem}", warning=True),
    )


def _sightings(cron: JsonObject, jobs: Sequence[JsonObject]) -> list[Announcement]:
    """Jobs that ended since they were last seen running."""
    known = {text_at(item, "uid") for item in objects_at(cron, "status", "active")}
    return [
        Announcement(
            cron,
            "SawCompletedJob",
            f"Saw completed job: {name_of(item)}, condition: "
            f"{COMPLETE if is_true(item, COMPLETE) else FAILED}",
        )
        for item in jobs
        if uid_of(item) in known and is_finished(item)
    ]


def _outdated(cron: JsonObject, jobs: Sequence[JsonObject]) -> list[Delete]:
    """Deletions of the oldest finished Jobs beyond the limits."""
    writes: list[Delete] = []
    for condition, limit_field, default in (
        (COMPLETE, "successfulJobsHistoryLimit", 3),
        (FAILED, "failedJobsHistoryLimit", 1),
    ):
        limit = count_at(cron, "spec", limit_field, default=default)
        ended = sorted(
            (item for item in jobs if is_true(item, condition) and not is_deleted(item)),
            key=created_order,
        )
        writes.extend(_delete(cron, item) for item in ended[: max(len(ended) - limit, 0)])
    return writes


def _delete(cron: JsonObject, item: JsonObject) -> Delete:
    news = Announcement(cron, "SuccessfulDelete", f"Deleted job {name_of(item)}")
    return Delete(JOB.resource, item, "Background", done=news)


def _status(
    cron: JsonObject,
    jobs: Sequence[JsonObject],
    running: Sequence[JsonObject],
    started: datetime | None,
) -> dict[str, Json]:
    active: list[Json] = [
        {
            "apiVersion": JOB.api_version,
            "kind": JOB.kind,
            "namespace": namespace_of(item),
            "name": name_of(item),
            "uid": uid_of(item),
        }
        for item in running
    ]
    successes = [
        text_at(item, "status", "completionTime") for item in jobs if is_true(item, COMPLETE)
    ]
    before = object_at(cron, "status")
    last = stamp(started) if started is not None else text_at(before, "lastScheduleTime")
    said: dict[str, Json] = {
        "active": active,
        "lastScheduleTime": last,
        "lastSuccessfulTime": max([*successes, text_at(before, "lastSuccessfulTime")], default=""),
    }
    return {name: value for name, value in said.items() if value}


def _complaint(cron: JsonObject, error: ScheduleError) -> Announcement:
    zone = text_at(cron, "spec", "timeZone")
    if "time zone" in str(error):
        said = f'invalid timeZone: "{zone}": {error}'
        return Announcement(cron, "UnknownTimeZone", said, warning=True)
    said = f'unparseable schedule: "{text_at(cron, "spec", "schedule")}" : {error}'
    return Announcement(cron, "UnparseableSchedule", said, warning=True)
