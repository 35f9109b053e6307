"""Rows of the kinds that run pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.printing.cells import (
    NONE,
    UNSET,
    Cells,
    Printer,
    age_of,
    columns,
    count_at,
    name_of,
    say_containers,
    say_labels,
    selector_at,
)
from gitopsd.sandbox.api.printing.spans import say_since, say_span
from gitopsd.sandbox.fields import field_at, flag_at, number_at, object_at, objects_at, text_at
from gitopsd.sandbox.status import read_stamp

if TYPE_CHECKING:
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject

_TEMPLATE = ("spec", "template", "spec")
_JOB_STATES = (
    ("Complete", "Complete"),
    ("Failed", "Failed"),
    ("", "Terminating"),
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)


def _deployment(obj: JsonObject, now: datetime) -> Cells:
    return [
        name_of(obj),
        f"{count_at(obj, 'status', 'readyReplicas')}/{count_at(obj, 'spec', 'replicas')}",
        count_at(obj, "status", "updatedReplicas"),
        count_at(obj, "status", "availableReplicas"),
        age_of(obj, now),
        *say_containers(object_at(obj, *_TEMPLATE)),
        selector_at(obj, "spec", "selector", empty=""),
    ]


def _replica_set(obj: JsonObject, now: datetime) -> Cells:
    return [
        name_of(obj),
        count_at(obj, "spec", "replicas"),
        count_at(obj, "status", "replicas"),
        count_at(obj, "status", "readyReplicas"),
        age_of(obj, now),
        *say_containers(object_at(obj, *_TEMPLATE)),
        selector_at(obj, "spec", "selector"),
    ]


def _stateful_set(obj: JsonObject, now: datetime) -> Cells:
    return [
        name_of(obj),
        f"{count_at(obj, 'status', 'readyReplicas')}/{count_at(obj, 'spec', 'replicas')}",
        age_of(obj, now),
        *say_containers(object_at(obj, *_TEMPLATE)),
    ]


def _daemon_set(obj: JsonObject, now: datetime) -> Cells:
    status = object_at(obj, "status")
    return [
        name_of(obj),
        count_at(status, "desiredNumberScheduled"),
        count_at(status, "currentNumberScheduled"),
        count_at(status, "numberReady"),
        count_at(status, "updatedNumberScheduled"),
        count_at(status, "numberAvailable"),
        say_labels(object_at(obj, *_TEMPLATE, "nodeSelector")),
        age_of(obj, now),
        *say_containers(object_at(obj, *_TEMPLATE)),
        selector_at(obj, "spec", "selector"),
    ]


def _job(obj: JsonObject, now: datetime) -> Cells:
    done = count_at(obj, "status", "succeeded")
    wanted = field_at(obj, "spec", "completions")
    beside = count_at(obj, "spec", "parallelism")
    some = f"{done}/1 of {beside}" if beside > 1 else f"{done}/1"
    return [
        name_of(obj),
        _job_state(obj),
        some if wanted is None else f"{done}/{count_at(obj, 'spec', 'completions')}",
        _job_duration(obj, now),
        age_of(obj, now),
        *say_containers(object_at(obj, *_TEMPLATE)),
        selector_at(obj, "spec", "selector"),
    ]


def _job_state(obj: JsonObject) -> str:
    reached = {
        text_at(item, "type")
        for item in objects_at(obj, "status", "conditions")
        if text_at(item, "status") == "True"
    }
    if field_at(obj, "metadata", "deletionTimestamp") is not None:
        reached.add("")
    return next((said for name, said in _JOB_STATES if name in reached), "Running")


def _job_duration(obj: JsonObject, now: datetime) -> str:
    begun = read_stamp(text_at(obj, "status", "startTime"))
    ended = read_stamp(text_at(obj, "status", "completionTime"))
    return say_span((ended or now) - begun) if begun is not None else ""


def _cron_job(obj: JsonObject, now: datetime) -> Cells:
    last = text_at(obj, "status", "lastScheduleTime")
    job = object_at(obj, "spec", "jobTemplate")
    return [
        name_of(obj),
        text_at(obj, "spec", "schedule"),
        text_at(obj, "spec", "timeZone") or NONE,
        "True" if flag_at(obj, "spec", "suspend") else "False",
        len(objects_at(obj, "status", "active")),
        say_since(last, now) if last else NONE,
        age_of(obj, now),
        *say_containers(object_at(job, *_TEMPLATE)),
        selector_at(job, "spec", "selector"),
    ]


def _controller_revision(obj: JsonObject, now: datetime) -> Cells:
    owners = objects_at(obj, "metadata", "ownerReferences")
    owner = next((item for item in owners if flag_at(item, "controller")), None)
    said = NONE
    if owner is not None:
        group, _, _ = text_at(owner, "apiVersion").rpartition("/")
        kind = text_at(owner, "kind").lower()
        said = f"{kind}.{group}/{text_at(owner, 'name')}" if group else kind
    return [name_of(obj), said, count_at(obj, "revision"), age_of(obj, now)]


def _autoscaler(obj: JsonObject, now: datetime) -> Cells:
    target = object_at(obj, "spec", "scaleTargetRef")
    least = field_at(obj, "spec", "minReplicas")
    return [
        name_of(obj),
        f"{text_at(target, 'kind')}/{text_at(target, 'name')}",
        _say_metrics(obj),
        UNSET if least is None else str(count_at(obj, "spec", "minReplicas")),
        count_at(obj, "spec", "maxReplicas"),
        count_at(obj, "status", "currentReplicas"),
        age_of(obj, now),
    ]


def _say_metrics(obj: JsonObject) -> str:
    said: list[str] = []
    for item in objects_at(obj, "spec", "metrics"):
        resource = object_at(item, "resource") or object_at(item, "containerResource")
        percent = field_at(resource, "target", "averageUtilization")
        target = text_at(resource, "target", "averageValue") or "<auto>"
        if percent is not None:
            target = f"{number_at(resource, 'target', 'averageUtilization'):g}%"
        # Nothing measures pods here, so that the current value is never known.
        said.append(f"{text_at(resource, 'name')}: <unknown>/{target}")
    more = f" + {len(said) - 2} more..." if len(said) > 2 else ""  # noqa: PLR2004 - two are shown
    return ", ".join(said[:2]) + more if said else NONE


def _disruption_budget(obj: JsonObject, now: datetime) -> Cells:
    spec = object_at(obj, "spec")
    return [
        name_of(obj),
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        count_at(obj, "status", "disruptionsAllowed"),
        age_of(obj, now),
    ]


def _pod_template(obj: JsonObject, _: datetime) -> Cells:
    return [
        name_of(obj),
        *say_containers(object_at(obj, "template", "spec")),
        say_labels(object_at(obj, "template", "metadata", "labels")),
    ]


_RUNS = "|Containers,Images,Selector"
DEPLOYMENTS = Printer(columns(f"Name,Ready,Up-to-date,Available,Age{_RUNS}"), _deployment)
REPLICA_SETS = Printer(
    columns(f"Name,Desired:integer,Current:integer,Ready:integer,Age{_RUNS}"), _replica_set
)
STATEFUL_SETS = Printer(columns("Name,Ready,Age|Containers,Images"), _stateful_set)
DAEMON_SETS = Printer(
    columns(
        "Name,Desired:integer,Current:integer,Ready:integer,Up-to-date:integer,"
        f"Available:integer,Node Selector,Age{_RUNS}"
    ),
    _daemon_set,
)
JOBS = Printer(columns(f"Name,Status,Completions,Duration,Age{_RUNS}"), _job)
CRON_JOBS = Printer(
    columns(f"Name,Schedule,Timezone,Suspend:boolean,Active:integer,Last Schedule,Age{_RUNS}"),
    _cron_job,
)
CONTROLLER_REVISIONS = Printer(columns("Name,Controller,Revision,Age"), _controller_revision)
AUTOSCALERS = Printer(columns("Name,Reference,Targets,MinPods,MaxPods,Replicas,Age"), _autoscaler)
DISRUPTION_BUDGETS = Printer(
    columns("Name,Min Available,Max Unavailable,Allowed Disruptions:integer,Age"),
    _disruption_budget,
)
POD_TEMPLATES = Printer(columns("Name,Containers,Images,Pod Labels"), _pod_template)
