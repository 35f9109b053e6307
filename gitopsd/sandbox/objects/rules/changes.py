"""Fields that may not change once an object is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import field_at, object_at, objects_at, text_at
from gitopsd.sandbox.objects.resources import Resource
from gitopsd.sandbox.objects.rules.complaints import Complaints

Check: TypeAlias = Callable[[JsonObject, JsonObject, Complaints], None]

_SEALED = "field is immutable when `immutable` is set"
_POD_WORDS = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)
_CLAIM_WORDS = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName "
    "for bound claims"
)
_JOB_SCHEDULING = ("nodeSelector", "tolerations", "affinity", "schedulingGates")


def _fixed(*fields: str, part: str = "") -> Check:
    """Fields of which every change is told with the new value."""

    def check(obj: JsonObject, live: JsonObject, told: Complaints) -> None:
        new, old = (object_at(item, part) if part else item for item in (obj, live))
        for field in fields:
            path = f"{part}.{field}" if part else field
            told.immutable(path, new.get(field), old.get(field))

    return check


def _quietly_fixed(*fields: str) -> Check:
    """Fields of which a change is told without the new value."""

    def check(obj: JsonObject, live: JsonObject, told: Complaints) -> None:
        for field in fields:
            if obj.get(field) != live.get(field):
                told.invalid(field, None, "field is immutable")

    return check


def _sealed(obj: JsonObject, live: JsonObject, told: Complaints) -> None:
    """ConfigMaps and Secrets that were declared never to change."""
    if live.get("immutable") is not True:
        return
    if obj.get("immutable") is not True:
        told.forbidden("immutable", _SEALED)
    for field in ("data", "binaryData"):
        if (obj.get(field) or {}) != (live.get(field) or {}):
            told.forbidden(field, _SEALED)


def _secret(obj: JsonObject, live: JsonObject, told: Complaints) -> None:
    told.immutable("type", obj.get("type"), live.get("type"))
    _sealed(obj, live, told)


def _job(obj: JsonObject, live: JsonObject, told: Complaints) -> None:
    new, old = object_at(obj, "spec"), object_at(live, "spec")
    elastic = new.get("completionMode") == "Indexed" and new.get("completions") == new.get(
        "parallelism"
    )
    if not elastic:
        told.immutable("spec.completions", new.get("completions"), old.get("completions"))
    told.immutable("spec.selector", new.get("selector"), old.get("selector"))
    template, before = new.get("template"), old.get("template")
    suspended = old.get("suspend") is True
    if suspended and not text_at(live, "status", "startTime"):
        before = _with_scheduling(object_at(before), object_at(template))
    path = "spec.template.spec" if suspended else "spec.template"
    if template != before:
        told.invalid(
            path, field_at(template, "spec") if suspended else template, "field is immutable"
        )
    for field in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"):
        told.immutable(f"spec.{field}", new.get(field), old.get(field))


def _with_scheduling(old: JsonObject, new: JsonObject) -> JsonObject:
    """A suspended Job's template with what may still change of it as in the new one."""
    spec = {
        name: value for name, value in object_at(old, "spec").items() if name not in _JOB_SCHEDULING
    }
    theirs = object_at(new, "spec")
    spec |= {name: theirs[name] for name in _JOB_SCHEDULING if name in theirs}
    return {**old, "metadata": new.get("metadata"), "spec": spec}


def _pod(obj: JsonObject, live: JsonObject, told: Complaints) -> None:
    new, old = object_at(obj, "spec"), object_at(live, "spec")
    for kind in ("containers", "initContainers"):
        if len(objects_at(new, kind)) != len(objects_at(old, kind)):
            told.forbidden(f"spec.{kind}", "pod updates may not add or remove containers")
            return
    names = [[item.get("name") for item in objects_at(spec, "containers")] for spec in (new, old)]
    if names[0] != names[1] or _fixed_part(new) != _fixed_part(old):
        told.forbidden("spec", _POD_WORDS)
        return
    ours, theirs = objects_at(old, "tolerations"), objects_at(new, "tolerations")
    if any(toleration not in theirs for toleration in ours):
        told.forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        )


def _fixed_part(spec: JsonObject) -> JsonObject:
    changing = {"activeDeadlineSeconds", "tolerations", "containers", "initContainers", "nodeName"}
    fixed: dict[str, Json] = {name: value for name, value in spec.items() if name not in changing}
    for kind in ("containers", "initContainers"):
        fixed[kind] = [
            {name: value for name, value in item.items() if name != "image"}
            for item in objects_at(spec, kind)
        ]
    return fixed


def _claim(obj: JsonObject, live: JsonObject, told: Complaints) -> None:
    new, old = dict(object_at(obj, "spec")), dict(object_at(live, "spec"))
    if not old.get("volumeName"):
        old.pop("volumeName", None)
        new.pop("volumeName", None)  # binding sets it
    if old.get("storageClassName") is None:
        old.pop("storageClassName", None)
        new.pop("storageClassName", None)  # it may be given one later
    if text_at(live, "status", "phase") == "Bound":
        for spec in (new, old):
            spec.pop("resources", None)
            spec.pop("volumeAttributesClassName", None)
    if new != old:
        told.forbidden("spec", _CLAIM_WORDS)


def _service(obj: JsonObject, live: JsonObject, told: Complaints) -> None:
    new, old = object_at(obj, "spec"), object_at(live, "spec")
    if "ExternalName" in {new.get("type"), old.get("type")}:
        return
    ours, theirs = old.get("clusterIPs"), new.get("clusterIPs")
    if isinstance(ours, list) and isinstance(theirs, list):
        for index, (before, after) in enumerate(zip(ours, theirs, strict=False)):
            if before != after:
                told.invalid(f"spec.clusterIPs[{index}]", theirs, "may not change once set")


def _binding(obj: JsonObject, live: JsonObject, told: Complaints) -> None:
    new = object_at(obj, "roleRef")
    if new != object_at(live, "roleRef"):
        printed: JsonObject = {
            "APIGroup": new.get("apiGroup"),
            "Kind": new.get("kind"),
            "Name": new.get("name"),
        }
        told.invalid("roleRef", printed, "field is immutable")


def _priority(obj: JsonObject, live: JsonObject, told: Complaints) -> None:
    if obj.get("value") != live.get("value"):
        told.forbidden("value", "may not be changed in an update.")
    told.immutable("preemptionPolicy", obj.get("preemptionPolicy"), live.get("preemptionPolicy"))


_BEFORE: Mapping[tuple[str, str], Check] = {
    ("", "configmaps"): _sealed,
    ("", "secrets"): _secret,
    ("", "services"): _service,
    ("apps", "daemonsets"): _fixed("selector", part="spec"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"): _binding,
    ("rbac.authorization.k8s.io", "rolebindings"): _binding,
}
_AFTER: Mapping[tuple[str, str], Check] = {
    ("", "persistentvolumeclaims"): _claim,
    ("", "pods"): _pod,
    ("apps", "deployments"): _fixed("selector", part="spec"),
    ("apps", "replicasets"): _fixed("selector", part="spec"),
    ("apps", "statefulsets"): _fixed(
        "selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy", part="spec"
    ),
    ("batch", "jobs"): _job,
    ("discovery.k8s.io", "endpointslices"): _quietly_fixed("addressType"),
    ("scheduling.k8s.io", "priorityclasses"): _priority,
    ("storage.k8s.io", "storageclasses"): _quietly_fixed(
        "parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"
    ),
}


def check_changes(
    resource: Resource, obj: JsonObject, live: JsonObject, told: Complaints, *, after: bool
) -> None:
    """Complain about changes that are not allowed.

    Args:
        resource: The kind.
        obj: The object as it shall be.
        live: The object as it is.
        told: Gathers what is wrong.
        after: Whether the new content has been looked at; some kinds' changes are told before.
    """
    check = (_AFTER if after else _BEFORE).get((resource.group, resource.plural))
    if check:
        check(obj, live, told)
