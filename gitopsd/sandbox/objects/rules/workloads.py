"""Rules of Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs and CronJobs."""

from __future__ import annotations

import re
from zoneinfo import available_timezones

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import number_at, object_at, objects_at, text_at
from gitopsd.sandbox.objects.rules.complaints import Complaints
from gitopsd.sandbox.objects.rules.metadata import check_selector, selects
from gitopsd.sandbox.objects.rules.names import label_problems
from gitopsd.sandbox.objects.rules.pods import check_not_negative, check_template

_PERCENT_WORDS = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
    "'93%', regex used for validation is '[0-9]+%')"
)
_MISMATCH = "`selector` does not match template `labels`"
_ALWAYS = ("Always",)
_CRON_NAME_LENGTH = 52
_CRON_FIELDS = 5
_CRON_SHORT = re.compile(r"@(yearly|annually|monthly|weekly|daily|midnight|hourly|every .+)")


def _check_selected_template(
    spec: JsonObject, told: Complaints, *, empty: str, wrong: str = "invalid label selector"
) -> None:
    """A selector and the template that it must match."""
    selector = spec.get("selector")
    if selector is None:
        told.required("spec.selector")
    else:
        if not check_selector(selector, "spec.selector", told) and wrong:
            told.invalid("spec.selector", _printed(object_at(selector)), wrong)
            return
        if not object_at(selector):
            told.invalid("spec.selector", selector, empty)
            return
    labels = object_at(spec, "template", "metadata", "labels")
    if selector is None or not selects(selector, labels):
        told.invalid("spec.template.metadata.labels", _sorted(labels), _MISMATCH)


def _printed(selector: JsonObject) -> JsonObject:
    """A selector as Go prints it."""
    order = ("matchLabels", "matchExpressions")
    return {name: selector[name] for name in order if name in selector}


def _sorted(labels: JsonObject) -> Json:
    """Labels as Go prints them."""
    return dict(sorted(labels.items())) or None


def check_deployment(obj: JsonObject, told: Complaints) -> None:
    """A Deployment."""
    spec = object_at(obj, "spec")
    check_not_negative(spec, "spec", told, "replicas")
    _check_selected_template(spec, told, empty="empty selector is invalid for deployment")
    check_template(object_at(spec, "template"), "spec.template", told, restarts=_ALWAYS)
    _check_no_deadline(spec, told)
    _check_rolling_deployment(object_at(spec, "strategy"), told)
    check_not_negative(spec, "spec", told, "minReadySeconds", "revisionHistoryLimit")
    deadline = spec.get("progressDeadlineSeconds")
    if isinstance(deadline, int):
        check_not_negative(spec, "spec", told, "progressDeadlineSeconds")
        if deadline <= number_at(spec, "minReadySeconds"):
            told.invalid(
                "spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"
            )


def _check_no_deadline(spec: JsonObject, told: Complaints) -> None:
    if object_at(spec, "template", "spec").get("activeDeadlineSeconds") is not None:
        told.forbidden(
            "spec.template.spec.activeDeadlineSeconds",
            "activeDeadlineSeconds in ReplicaSet is not Supported",
        )


def _check_rolling_deployment(strategy: JsonObject, told: Complaints) -> None:
    type_, rolling = text_at(strategy, "type"), strategy.get("rollingUpdate")
    path = "spec.strategy.rollingUpdate"
    if type_ == "Recreate":
        if rolling is not None:
            told.forbidden(path, "may not be specified when strategy `type` is 'Recreate'")
        return
    if type_ != "RollingUpdate":
        printed: JsonObject = {"Type": type_, "RollingUpdate": rolling}
        told.unsupported("spec.strategy", printed, ("Recreate", "RollingUpdate"))
        return
    unavailable, surge = (object_at(rolling).get(name) for name in ("maxUnavailable", "maxSurge"))
    check_amount(unavailable, f"{path}.maxUnavailable", told)
    check_amount(surge, f"{path}.maxSurge", told)
    if _is_zero(unavailable) and _is_zero(surge):
        told.invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    check_not_above_all(unavailable, f"{path}.maxUnavailable", told)


def check_amount(amount: Json, path: str, told: Complaints) -> None:
    """A number or a percentage."""
    if isinstance(amount, str):
        if not re.fullmatch("[0-9]+%", amount):
            told.invalid(path, amount, _PERCENT_WORDS)
    elif isinstance(amount, int) and amount < 0:
        told.invalid(path, amount, "must be greater than or equal to 0")


def check_not_above_all(amount: Json, path: str, told: Complaints) -> None:
    """A percentage of at most 100."""
    if isinstance(amount, str) and amount[:-1].isdigit() and int(amount[:-1]) > 100:  # noqa: PLR2004 - percent
        told.invalid(path, amount, "must not be greater than 100%")


def _is_zero(amount: Json) -> bool:
    return amount in {0, "0%"} if isinstance(amount, int | str) else amount is None


def check_replica_set(obj: JsonObject, told: Complaints) -> None:
    """A ReplicaSet."""
    spec = object_at(obj, "spec")
    check_not_negative(spec, "spec", told, "replicas", "minReadySeconds")
    _check_selected_template(spec, told, empty="empty selector is invalid for deployment")
    check_template(object_at(spec, "template"), "spec.template", told, restarts=_ALWAYS)
    _check_no_deadline(spec, told)


def check_stateful_set(obj: JsonObject, told: Complaints) -> None:
    """A StatefulSet."""
    spec = object_at(obj, "spec")
    policy = text_at(spec, "podManagementPolicy")
    if policy not in {"OrderedReady", "Parallel"}:
        told.invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
    strategy = object_at(spec, "updateStrategy")
    type_, rolling = text_at(strategy, "type"), strategy.get("rollingUpdate")
    path = "spec.updateStrategy"
    if type_ == "OnDelete":
        if rolling is not None:
            names = ("Partition", "MaxUnavailable")
            printed: JsonObject = {
                name: object_at(rolling).get(f"{name[0].lower()}{name[1:]}") for name in names
            }
            told.invalid(
                f"{path}.rollingUpdate", printed, "only allowed for updateStrategy 'RollingUpdate'"
            )
    elif type_ != "RollingUpdate":
        printed = {"Type": type_, "RollingUpdate": rolling}
        told.invalid(path, printed, "must be 'RollingUpdate' or 'OnDelete'")
    else:
        check_not_negative(object_at(rolling), f"{path}.rollingUpdate", told, "partition")
    check_not_negative(spec, "spec", told, "replicas", "minReadySeconds", "revisionHistoryLimit")
    service = text_at(spec, "serviceName")
    for problem in label_problems(service) if service else ():
        told.invalid("spec.serviceName", service, problem)
    _check_selected_template(
        spec, told, empty="empty selector is invalid for statefulset", wrong=""
    )
    claims = [
        text_at(claim, "metadata", "name") for claim in objects_at(spec, "volumeClaimTemplates")
    ]
    template = object_at(spec, "template")
    check_template(template, "spec.template", told, restarts=_ALWAYS, claims=claims)


def check_daemon_set(obj: JsonObject, told: Complaints) -> None:
    """A DaemonSet."""
    spec = object_at(obj, "spec")
    _check_selected_template(spec, told, empty="empty selector is invalid for daemonset", wrong="")
    check_template(object_at(spec, "template"), "spec.template", told, restarts=_ALWAYS)
    check_not_negative(spec, "spec", told, "minReadySeconds")
    strategy = object_at(spec, "updateStrategy")
    type_, rolling = text_at(strategy, "type"), object_at(strategy, "rollingUpdate")
    path = "spec.updateStrategy"
    if type_ == "RollingUpdate":
        unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
        for name, amount in (("maxUnavailable", unavailable), ("maxSurge", surge)):
            check_amount(amount, f"{path}.rollingUpdate.{name}", told)
        if _is_zero(unavailable) and _is_zero(surge):
            told.required(f"{path}.rollingUpdate.maxUnavailable", "cannot be 0 when maxSurge is 0")
    elif type_ != "OnDelete":
        printed: JsonObject = {"Type": type_, "RollingUpdate": strategy.get("rollingUpdate")}
        told.unsupported(path, printed, ("RollingUpdate", "OnDelete"))
    check_not_negative(spec, "spec", told, "revisionHistoryLimit")


def check_new_job(obj: JsonObject, told: Complaints) -> None:
    """A Job that is created: its selector is the server's own."""
    spec = object_at(obj, "spec")
    selector = spec.get("selector")
    own = selector is None or spec.get("manualSelector") is True or _is_generated(obj, selector)
    if not own:
        told.invalid("spec.selector", selector, "`selector` not auto-generated")


def check_job(obj: JsonObject, told: Complaints) -> None:
    """A Job."""
    spec = object_at(obj, "spec")
    check_job_spec(spec, "spec", told)
    selector = spec.get("selector")
    if selector is None:
        told.required("spec.selector")
    labels = object_at(spec, "template", "metadata", "labels")
    if selector is None or not selects(selector, labels):
        told.invalid("spec.template.metadata.labels", _sorted(labels), _MISMATCH)


def _is_generated(job: JsonObject, selector: Json) -> bool:
    uid = text_at(job, "metadata", "uid")
    keys = ("batch.kubernetes.io/controller-uid", "controller-uid")
    return any(selector == {"matchLabels": {key: uid}} for key in keys)


def check_job_spec(spec: JsonObject, path: str, told: Complaints) -> None:
    """What Jobs and CronJobs' templates have in common."""
    check_not_negative(
        spec,
        path,
        told,
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
    )
    mode = spec.get("completionMode")
    if mode not in {None, "NonIndexed", "Indexed"}:
        told.unsupported(f"{path}.completionMode", mode, ("NonIndexed", "Indexed"))
    template = object_at(spec, "template")
    check_template(template, f"{path}.template", told)
    policy = text_at(template, "spec", "restartPolicy")
    where = f"{path}.template.spec.restartPolicy"
    if policy in {"", "Always"}:
        told.required(where, 'valid values: "OnFailure", "Never"')


def check_cron_job(obj: JsonObject, told: Complaints) -> None:
    """A CronJob."""
    spec = object_at(obj, "spec")
    check_not_negative(spec, "spec", told, "startingDeadlineSeconds")
    policy = text_at(spec, "concurrencyPolicy")
    policies = ("Allow", "Forbid", "Replace")
    if policy not in policies:
        told.unsupported("spec.concurrencyPolicy", policy, policies)
    check_job_spec(object_at(spec, "jobTemplate", "spec"), "spec.jobTemplate.spec", told)
    schedule, zone = text_at(spec, "schedule"), text_at(spec, "timeZone")
    if not schedule:
        told.required("spec.schedule")
    else:
        parts = schedule.split()
        if not _CRON_SHORT.fullmatch(schedule) and len(parts) != _CRON_FIELDS:
            listed = " ".join(parts)
            why = f"expected exactly {_CRON_FIELDS} fields, found {len(parts)}: [{listed}]"
            told.invalid("spec.schedule", schedule, why)
    if zone and zone not in available_timezones():
        told.invalid("spec.timeZone", zone, f"unknown time zone {zone}")
    check_not_negative(spec, "spec", told, "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    name = text_at(obj, "metadata", "name")
    if len(name) > _CRON_NAME_LENGTH:
        told.invalid("metadata.name", name, f"must be no more than {_CRON_NAME_LENGTH} characters")
