"""Rules of ConfigMaps, Secrets, claims, quotas, rights, autoscalers and other small kinds."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import number_at, object_at, text_at, texts_at
from gitopsd.sandbox.objects.amounts import AmountError, parse_quantity
from gitopsd.sandbox.objects.rules.complaints import Complaints, items
from gitopsd.sandbox.objects.rules.metadata import check_selector
from gitopsd.sandbox.objects.rules.names import (
    config_key_problems,
    qualified_problems,
    subdomain_problems,
)
from gitopsd.sandbox.objects.rules.pods import check_not_negative
from gitopsd.sandbox.objects.rules.workloads import check_amount, check_not_above_all

_CONFIG_BYTES = 1024 * 1024
_ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_METRICS = ("ContainerResource", "External", "Object", "Pods", "Resource")
_NEEDED_KEYS: Mapping[str, tuple[str, ...]] = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_ACCOUNT = "kubernetes.io/service-account.name"
_REDACTED = "<secret contents redacted>"
_RBAC = "rbac.authorization.k8s.io"


def check_config_map(obj: JsonObject, told: Complaints) -> None:
    """A ConfigMap."""
    texts, binaries = object_at(obj, "data"), object_at(obj, "binaryData")
    size = 0
    for key, text in texts.items():
        for problem in config_key_problems(key):
            told.invalid(f"data[{key}]", key, problem)
        if key in binaries:
            told.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        size += len(str(text).encode())
    for key, text in binaries.items():
        for problem in config_key_problems(key):
            told.invalid(f"binaryData[{key}]", key, problem)
        size += len(base64.b64decode(str(text)))
    if size > _CONFIG_BYTES:
        told.too_long("[]", _CONFIG_BYTES)


def check_secret(obj: JsonObject, told: Complaints) -> None:
    """A Secret."""
    data = object_at(obj, "data")
    size = 0
    for key, text in data.items():
        for problem in config_key_problems(key):
            told.invalid(f"data[{key}]", key, problem)
        size += len(base64.b64decode(str(text)))
    if size > _CONFIG_BYTES:
        told.too_long("data", _CONFIG_BYTES)
    type_ = text_at(obj, "type")
    for key in _NEEDED_KEYS.get(type_, ()):
        if key not in data:
            told.required(f"data[{key}]")
        elif key.startswith(".docker"):
            _check_json(text_at(data, key), f"data[{key}]", told)
    if type_ == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        told.required("data[username]")
        told.required("data[password]")
    account = text_at(obj, "metadata", "annotations", _ACCOUNT)
    if type_ == "kubernetes.io/service-account-token" and not account:
        told.required(f"metadata.annotations[{_ACCOUNT}]")


def _check_json(text: str, path: str, told: Complaints) -> None:
    content = base64.b64decode(text).decode(errors="replace")
    try:
        json.loads(content)
    except ValueError:
        why = f"invalid character '{content[:1]}' looking for beginning of value"
        if not content:
            why = "unexpected end of JSON input"
        told.invalid(path, _REDACTED, why)


def check_claim(obj: JsonObject, told: Complaints) -> None:
    """A PersistentVolumeClaim."""
    spec = object_at(obj, "spec")
    modes = texts_at(spec, "accessModes")
    if not modes:
        told.required("spec.accessModes", "at least 1 access mode is required")
    for mode in modes:
        if mode not in _ACCESS_MODES:
            told.unsupported("spec.accessModes", mode, _ACCESS_MODES)
    storage = object_at(spec, "resources", "requests").get("storage")
    if storage is None:
        told.required("spec.resources[storage]")
    elif parse_quantity(str(storage)) <= 0:
        told.invalid("spec.resources[storage]", storage, "must be greater than zero")


def check_quota(obj: JsonObject, told: Complaints) -> None:
    """A ResourceQuota."""
    for name, amount in object_at(obj, "spec", "hard").items():
        path = f"spec.hard[{name}]"
        for problem in qualified_problems(name):
            told.invalid(path, name, problem)
        try:
            if parse_quantity(str(amount)) < 0:
                told.invalid(path, amount, "must be greater than or equal to 0")
        except AmountError:
            told.invalid(path, amount, "must be a quantity")


def check_limit_range(obj: JsonObject, told: Complaints) -> None:
    """A LimitRange."""
    for where, item in items(object_at(obj, "spec").get("limits"), "spec.limits"):
        for name, low in object_at(item, "min").items():
            for other, words in (
                ("max", "max"),
                ("defaultRequest", "default request"),
                ("default", "default"),
            ):
                high = object_at(item, other).get(name)
                if high is not None and parse_quantity(str(low)) > parse_quantity(str(high)):
                    place = "min" if other == "max" else other
                    value = low if other != "defaultRequest" else high
                    told.invalid(
                        f"{where}.{place}[{name}]",
                        value,
                        f"min value {low} is greater than {words} value {high}",
                    )


def check_role(obj: JsonObject, told: Complaints) -> None:
    """A Role or a ClusterRole."""
    namespaced = text_at(obj, "kind") == "Role"
    for where, rule in items(obj.get("rules"), "rules"):
        if rule.get("nonResourceURLs"):
            if namespaced:
                told.invalid(
                    f"{where}.nonResourceURLs",
                    rule["nonResourceURLs"],
                    "namespaced rules cannot apply to non-resource URLs",
                )
        else:
            for name, words in (("apiGroups", "api group"), ("resources", "resource")):
                if not rule.get(name):
                    why = f"resource rules must supply at least one {words}"
                    told.required(f"{where}.{name}", why)
        if not rule.get("verbs"):
            told.required(f"{where}.verbs")


def check_binding(obj: JsonObject, told: Complaints) -> None:
    """A RoleBinding or a ClusterRoleBinding."""
    reference = object_at(obj, "roleRef")
    namespaced = text_at(obj, "kind") == "RoleBinding"
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    if text_at(reference, "apiGroup") != _RBAC:
        told.unsupported("roleRef.apiGroup", reference.get("apiGroup"), (_RBAC,))
    if text_at(reference, "kind") not in kinds:
        told.unsupported("roleRef.kind", text_at(reference, "kind"), kinds)
    for where, subject in items(obj.get("subjects"), "subjects"):
        _check_subject(subject, where, told, namespaced=namespaced)
    if not text_at(reference, "name"):
        told.required("roleRef.name")


def _check_subject(subject: JsonObject, path: str, told: Complaints, *, namespaced: bool) -> None:
    kind, name = text_at(subject, "kind"), text_at(subject, "name")
    kinds = ("ServiceAccount", "User", "Group")
    if kind not in kinds:
        told.unsupported(f"{path}.kind", kind, kinds)
    if not name:
        told.required(f"{path}.name")
    elif kind == "ServiceAccount":
        for problem in subdomain_problems(name):
            told.invalid(f"{path}.name", name, problem)
        if not namespaced and not text_at(subject, "namespace"):
            told.required(f"{path}.namespace")


def check_disruption_budget(obj: JsonObject, told: Complaints) -> None:
    """A PodDisruptionBudget."""
    spec = object_at(obj, "spec")
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if least is not None and most is not None:
        printed: JsonObject = {
            "MinAvailable": least,
            "Selector": spec.get("selector"),
            "MaxUnavailable": most,
            "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
        }
        told.invalid("spec", printed, "minAvailable and maxUnavailable cannot be both set")
    for name, amount in (("minAvailable", least), ("maxUnavailable", most)):
        check_amount(amount, f"spec.{name}", told)
        check_not_above_all(amount, f"spec.{name}", told)
    check_selector(spec.get("selector"), "spec.selector", told)


def check_autoscaler(obj: JsonObject, told: Complaints) -> None:
    """A HorizontalPodAutoscaler."""
    spec = object_at(obj, "spec")
    target = object_at(spec, "scaleTargetRef")
    for name in ("kind", "name"):
        if not text_at(target, name):
            told.required(f"spec.scaleTargetRef.{name}")
    version = text_at(target, "apiVersion")
    if "/" not in version and text_at(target, "kind") != "ReplicationController":
        told.invalid("spec.scaleTargetRef.apiVersion", version, "apiVersion must specify API group")
    least, most = number_at(spec, "minReplicas", default=1), number_at(spec, "maxReplicas")
    metrics = items(spec.get("metrics"), "spec.metrics")
    if least < 0:
        told.invalid("spec.minReplicas", least, "must be greater than or equal to 0")
    if least == 0 and not any(item.get("type") in {"Object", "External"} for _, item in metrics):
        told.forbidden(
            "spec.metrics",
            "must specify at least one Object or External metric to support scaling to zero "
            "replicas",
        )
    if most < 1:
        told.required("spec.maxReplicas")
    elif most < least:
        told.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    for where, metric in metrics:
        if metric.get("type") not in _METRICS:
            told.unsupported(f"{where}.type", metric.get("type"), _METRICS)


def check_lease(obj: JsonObject, told: Complaints) -> None:
    """A Lease."""
    seconds = object_at(obj, "spec").get("leaseDurationSeconds")
    if isinstance(seconds, int) and seconds <= 0:
        told.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    check_not_negative(object_at(obj, "spec"), "spec", told, "leaseTransitions")


def check_priority_class(obj: JsonObject, told: Complaints) -> None:
    """A PriorityClass."""
    name = text_at(obj, "metadata", "name")
    if name.startswith("system-"):
        told.forbidden(
            "metadata.name",
            "priority class names with 'system-' prefix are reserved for system use only. "
            f"error: {name} is not a known system priority class",
        )


def check_storage_class(obj: JsonObject, told: Complaints) -> None:
    """A StorageClass."""
    if not text_at(obj, "provisioner"):
        told.required("provisioner")


def is_immutable(obj: Json) -> bool:
    """Whether a ConfigMap or a Secret has been declared never to change."""
    return isinstance(obj, Mapping) and obj.get("immutable") is True
