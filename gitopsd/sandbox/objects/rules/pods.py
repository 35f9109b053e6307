"""Rules of a pod's specification, in a pod or in the template of one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import number_at, object_at, text_at
from gitopsd.sandbox.objects.rules.complaints import Complaints, items
from gitopsd.sandbox.objects.rules.containers import check_containers, check_user
from gitopsd.sandbox.objects.rules.metadata import check_labels
from gitopsd.sandbox.objects.rules.names import (
    config_key_problems,
    label_problems,
    subdomain_problems,
)

_RESTARTS = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_HIGHEST_MODE = 0o777
_NAMED: Mapping[str, Callable[[str], tuple[str, ...]]] = {
    "serviceAccountName": subdomain_problems,
    "nodeName": subdomain_problems,
    "hostname": label_problems,
    "subdomain": label_problems,
    "priorityClassName": subdomain_problems,
}
_VOLUMES_WITH_NAMES = {
    "configMap": "name",
    "secret": "secretName",
    "persistentVolumeClaim": "claimName",
    "hostPath": "path",
}
_NO_VOLUME_TYPE = "must specify a volume type"


def check_template(
    template: JsonObject,
    path: str,
    told: Complaints,
    *,
    restarts: tuple[str, ...] = (),
    claims: Collection[str] = (),
) -> None:
    """A pod template.

    Args:
        template: The template.
        path: Where it is.
        told: Gathers what is wrong.
        restarts: The restart policies that its owner allows; all when empty.
        claims: Volumes that its owner adds to each pod.
    """
    metadata = object_at(template, "metadata")
    check_labels(metadata.get("labels"), f"{path}.metadata.labels", told)
    spec = object_at(template, "spec")
    check_pod_spec(spec, f"{path}.spec", told, claims=claims)
    policy = text_at(spec, "restartPolicy")
    if restarts and policy not in restarts:
        told.unsupported(f"{path}.spec.restartPolicy", policy, restarts)


def check_pod_spec(
    spec: JsonObject, path: str, told: Complaints, *, claims: Collection[str] = ()
) -> None:
    """A pod's specification; `claims` are volumes that come to it from elsewhere."""
    volumes = _check_volumes(spec.get("volumes"), f"{path}.volumes", told)
    check_containers(spec, path, volumes.union(claims), told)
    policy, dns = text_at(spec, "restartPolicy"), text_at(spec, "dnsPolicy")
    if policy not in _RESTARTS:
        told.unsupported(f"{path}.restartPolicy", policy, _RESTARTS)
    if dns not in _DNS_POLICIES:
        told.unsupported(f"{path}.dnsPolicy", dns, _DNS_POLICIES)
    check_labels(spec.get("nodeSelector"), f"{path}.nodeSelector", told)
    check_user(object_at(spec, "securityContext"), f"{path}.securityContext", told)
    for field, rule in _NAMED.items():
        name = text_at(spec, field)
        for problem in rule(name) if name else ():
            told.invalid(f"{path}.{field}", name, problem)
    deadline = spec.get("activeDeadlineSeconds")
    if isinstance(deadline, int) and not 1 <= deadline < 2**31:
        told.invalid(
            f"{path}.activeDeadlineSeconds",
            deadline,
            "must be between 1 and 2147483647, inclusive",
        )
    for where, toleration in items(spec.get("tolerations"), f"{path}.tolerations"):
        operator = text_at(toleration, "operator")
        if operator not in {"", "Equal", "Exists"}:
            told.unsupported(f"{where}.operator", operator, ("Equal", "Exists"))


def _check_volumes(volumes: Json, path: str, told: Complaints) -> set[str]:
    names: set[str] = set()
    for where, volume in items(volumes, path):
        name = text_at(volume, "name")
        problems = label_problems(name) if name else ()
        if not name:
            told.required(f"{where}.name")
        for problem in problems:
            told.invalid(f"{where}.name", name, problem)
        if name in names:
            told.duplicate(f"{where}.name", name)
        if name and not problems:
            names.add(name)
        _check_volume_source(volume, where, told)
    return names


def _check_volume_source(volume: JsonObject, path: str, told: Complaints) -> None:
    kinds = [kind for kind, source in volume.items() if kind != "name" and source is not None]
    # The order in which the server looks at the types of volumes, as far as it matters here.
    kinds.sort(key=lambda kind: _VOLUME_ORDER.get(kind, len(_VOLUME_ORDER)))
    if not kinds:
        told.required(path, _NO_VOLUME_TYPE)
    for other in kinds[1:]:
        told.forbidden(f"{path}.{other}", "may not specify more than 1 volume type")
    for kind in kinds[:1]:
        source, where = object_at(volume, kind), f"{path}.{kind}"
        field = _VOLUMES_WITH_NAMES.get(kind)
        if field and not text_at(source, field):
            told.required(f"{where}.{field}")
        mode = source.get("defaultMode")
        if isinstance(mode, int) and not 0 <= mode <= _HIGHEST_MODE:
            told.invalid(
                f"{where}.defaultMode",
                mode,
                "must be a number between 0 and 0777 (octal), both inclusive",
            )
        if kind in {"configMap", "secret"}:
            _check_items(source.get("items"), f"{where}.items", told)


_VOLUME_ORDER = {"emptyDir": 0, "hostPath": 1, "secret": 2, "persistentVolumeClaim": 3}


def _check_items(listed: Json, path: str, told: Complaints) -> None:
    for where, item in items(listed, path):
        key, target = text_at(item, "key"), text_at(item, "path")
        if not key:
            told.required(f"{where}.key")
        for problem in config_key_problems(key) if key else ():
            told.invalid(f"{where}.key", key, problem)
        if not target:
            told.required(f"{where}.path")
        elif target.startswith("/"):
            told.invalid(f"{where}.path", target, "must be a relative path")
        elif ".." in target.split("/"):
            told.invalid(f"{where}.path", target, "must not contain '..'")


def check_not_negative(obj: JsonObject, path: str, told: Complaints, *fields: str) -> None:
    """Numbers that cannot be below zero."""
    for field in fields:
        if number_at(obj, field) < 0:
            told.invalid(f"{path}.{field}", obj.get(field), "must be greater than or equal to 0")
