"""What a server does to an object of a kind before it stores it, whatever the request says.

Source: ``PrepareForCreate`` and ``PrepareForUpdate`` of the strategies in Kubernetes'
``pkg/registry``, and the admission plug-ins that are on by default. What they do to status goes
for every kind alike: a write of the object leaves it, a write of the status changes nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import object_at, objects_at, text_at
from gitopsd.sandbox.objects.decoding import always_written
from gitopsd.sandbox.objects.defaults import TEMPLATE_GENERATION, Struct, part, parts
from gitopsd.sandbox.objects.quality import quality_of_service
from gitopsd.sandbox.objects.resources import Resource
from gitopsd.sandbox.objects.schema_tree import Schema
from gitopsd.sandbox.objects.service_addresses import ServiceAddresses

_UNREACHABLE_SECONDS = 300
_BATCH = "batch.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a strategy needs besides the object.

    Attributes:
        uid: The object's.
        now: The time, as the API writes it.
        addresses: Gives a Service its addresses and ports.
    """

    uid: str
    now: str
    addresses: ServiceAddresses


Prepare: TypeAlias = Callable[[Struct, Circumstances], None]


def prepare_create(
    resource: Resource, schema: Schema, obj: Struct, circumstances: Circumstances
) -> None:
    """Make a new object what a server stores, in place."""
    if resource.custom:
        if resource.has_status():
            obj.pop("status", None)
        return
    if resource.has_status() and resource.plural != "nodes":
        status = schema.fields["status"].schema
        obj["status"] = dict(always_written(status))
    prepare = _CREATE.get((resource.group, resource.plural))
    if prepare:
        prepare(obj, circumstances)


def prepare_update(
    resource: Resource,
    obj: Struct,
    live: JsonObject,
    subresource: str,
    addresses: ServiceAddresses,
) -> Struct:
    """The object as it may become: what this path cannot change is as it was."""
    if subresource == "status":
        return _with_status_only(resource, obj, live)
    if resource.has_status():
        if "status" in live:
            obj["status"] = live["status"]
        else:
            obj.pop("status", None)
    prepare = _UPDATE.get((resource.group, resource.plural))
    if prepare:
        prepare(obj, live)
    if (resource.group, resource.plural) == ("", "services"):
        _update_service(obj, live, addresses)
    return obj


def _with_status_only(resource: Resource, obj: Struct, live: JsonObject) -> Struct:
    kept = {name: value for name, value in live.items() if name != "status"}
    theirs, ours = object_at(obj, "metadata"), object_at(live, "metadata")
    if resource.custom:
        metadata = dict(ours)
        metadata.pop("managedFields", None)
        if "managedFields" in theirs:
            metadata["managedFields"] = theirs["managedFields"]
    else:
        metadata = dict(theirs)
        fixed = _STATUS_METADATA.get((resource.group, resource.plural), ())
        for name in fixed:
            metadata.pop(name, None)
            if name in ours:
                metadata[name] = ours[name]
    kept["metadata"] = metadata
    if "status" in obj:
        kept["status"] = obj["status"]
    return kept


_STATUS_METADATA: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("apps", "deployments"): ("labels",),
    ("", "pods"): ("ownerReferences",),
}


def _pod(pod: Struct, _: Circumstances) -> None:
    status = part(pod, "status")
    status["phase"] = "Pending"
    status["qosClass"] = quality_of_service(object_at(pod, "spec"))


def _namespace(namespace: Struct, _: Circumstances) -> None:
    part(namespace, "status")["phase"] = "Active"
    spec = part(namespace, "spec")
    found = spec.get("finalizers")
    finalizers = list(found) if isinstance(found, list) else []
    if "kubernetes" not in finalizers:
        spec["finalizers"] = [*finalizers, "kubernetes"]


def _claim(claim: Struct, _: Circumstances) -> None:
    part(claim, "status")["phase"] = "Pending"


def _volume(volume: Struct, circumstances: Circumstances) -> None:
    part(volume, "status").update(phase="Pending", lastPhaseTransitionTime=circumstances.now)


def _service(service: Struct, circumstances: Circumstances) -> None:
    spec = part(service, "spec")
    if spec.get("type") != "ExternalName":
        _allocate(spec, circumstances.addresses)


def _allocate(spec: Struct, addresses: ServiceAddresses) -> None:
    address = text_at(spec, "clusterIP")
    if not address:
        listed = spec.get("clusterIPs")
        first = listed[0] if isinstance(listed, list) and listed else None
        address = first if isinstance(first, str) and first else addresses.cluster_ip()
    spec["clusterIP"], spec["clusterIPs"] = address, [address]
    # Nothing says of which families the endpoints of a Service are that nobody selects.
    both = address == "None" and not spec.get("selector") and not spec.get("ipFamilyPolicy")
    spec.setdefault("ipFamilyPolicy", "RequireDualStack" if both else "SingleStack")
    family = "IPv6" if ":" in address else "IPv4"
    spec.setdefault("ipFamilies", ["IPv4", "IPv6"] if both else [family])
    _allocate_ports(spec, addresses)


def _allocate_ports(spec: Struct, addresses: ServiceAddresses) -> None:
    type_ = spec.get("type")
    balanced = type_ == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
    if type_ != "NodePort" and not balanced:
        return
    taken: set[int] = set()
    for port in parts(spec, "ports"):
        known = port.get("nodePort")
        number = known if isinstance(known, int) and known else addresses.node_port(taken)
        port["nodePort"] = number
        taken.add(number)


def _daemon_set(daemon_set: Struct, _: Circumstances) -> None:
    annotations = part(part(daemon_set, "metadata"), "annotations")
    if annotations.get(TEMPLATE_GENERATION) == "0":
        annotations[TEMPLATE_GENERATION] = "1"


def _rules(role: Struct, _: Circumstances) -> None:
    role["rules"] = role.get("rules") or None  # storage knows no empty list


def _job(job: Struct, circumstances: Circumstances) -> None:
    spec = part(job, "spec")
    if spec.get("manualSelector") is True:
        return
    name, uid = text_at(job, "metadata", "name"), circumstances.uid
    metadata = part(job, "metadata")
    labels = part(part(part(spec, "template"), "metadata"), "labels")
    # A Job without labels takes those of its template, and so gets these too.
    shared = metadata.get("labels") in (None, {}, labels)
    for key, value in (("controller-uid", uid), ("job-name", name)):
        labels.setdefault(key, value)
        labels.setdefault(f"{_BATCH}{key}", value)
    if shared:
        metadata["labels"] = dict(labels)
    part(part(spec, "selector"), "matchLabels").setdefault(f"{_BATCH}controller-uid", uid)


def _definition(definition: Struct, _: Circumstances) -> None:
    status = part(definition, "status")
    status["storedVersions"] = [
        text_at(version, "name")
        for version in parts(part(definition, "spec"), "versions")
        if version.get("storage") is True
    ][:1]


def _update_namespace(namespace: Struct, live: JsonObject) -> None:
    spec = part(namespace, "spec")
    spec.pop("finalizers", None)
    finalizers = object_at(live, "spec").get("finalizers")
    if finalizers is not None:
        spec["finalizers"] = finalizers


def _update_secret(secret: Struct, live: JsonObject) -> None:
    if not secret.get("type"):
        secret["type"] = live.get("type")


def _update_daemon_set(daemon_set: Struct, live: JsonObject) -> None:
    annotations = part(part(daemon_set, "metadata"), "annotations")
    known = text_at(live, "metadata", "annotations", TEMPLATE_GENERATION, default="1")
    changed = object_at(daemon_set, "spec").get("template") != object_at(live, "spec").get(
        "template"
    )
    number = int(known) if known.isdigit() else 1
    annotations[TEMPLATE_GENERATION] = str(number + 1 if changed else number)


_TRAFFIC_FIELDS = (
    "internalTrafficPolicy",
    "externalTrafficPolicy",
    "allocateLoadBalancerNodePorts",
    "loadBalancerClass",
)
_ADDRESS_FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


def _update_service(service: Struct, live: JsonObject, addresses: ServiceAddresses) -> None:
    """Keep what was allocated when an update does not name it, and allocate what is new."""
    spec, old = part(service, "spec"), object_at(live, "spec")
    if spec.get("type") == "ExternalName":
        if old.get("type") != "ExternalName":
            for name in (*_ADDRESS_FIELDS, *_TRAFFIC_FIELDS):
                if spec.get(name) == old.get(name):
                    spec.pop(name, None)
        _keep_ports(spec, old)
        return
    if old.get("type") == "ExternalName":
        _allocate(spec, addresses)
        return
    if spec.get("type") != old.get("type"):
        _drop_traffic(spec, old)
    _follow_address(spec, old)
    # Addresses belong to the Service while it has its type: a request may leave them out.
    for name in _ADDRESS_FIELDS:
        if spec.get(name) in (None, "", []) and name in old:
            spec[name] = old[name]
    _keep_ports(spec, old)
    _allocate_ports(spec, addresses)


def _drop_traffic(spec: Struct, old: JsonObject) -> None:
    """Let go what only the type had that the Service has no longer."""
    gone = []
    if spec.get("type") == "ClusterIP" and not spec.get("externalIPs"):
        gone.append("externalTrafficPolicy")
    if spec.get("type") != "LoadBalancer":
        gone += ["allocateLoadBalancerNodePorts", "loadBalancerClass"]
    for name in gone:
        if spec.get(name) == old.get(name):
            spec.pop(name, None)


def _follow_address(spec: Struct, old: JsonObject) -> None:
    """Let the single address and the list of addresses say the same when one was changed."""
    one, many = spec.get("clusterIP"), spec.get("clusterIPs")
    if one != old.get("clusterIP") and (not many or many == old.get("clusterIPs")):
        spec["clusterIPs"] = [one] if one else []
    elif one == old.get("clusterIP") and many != old.get("clusterIPs"):
        spec["clusterIP"] = many[0] if isinstance(many, list) and many else ""


def _keep_ports(spec: Struct, old: JsonObject) -> None:
    """Node ports stay with their ports, and go when the Service's type has none."""
    known = {
        (port.get("protocol"), port.get("port")): port.get("nodePort")
        for port in objects_at(old, "ports")
    }
    wants = spec.get("type") in {"NodePort", "LoadBalancer"}
    for port in parts(spec, "ports"):
        before = known.get((port.get("protocol"), port.get("port")))
        if wants and before and not port.get("nodePort"):
            port["nodePort"] = before
        elif not wants and spec.get("type") != old.get("type") and port.get("nodePort") == before:
            port.pop("nodePort", None)


_CREATE: Mapping[tuple[str, str], Prepare] = {
    ("", "pods"): _pod,
    ("", "namespaces"): _namespace,
    ("", "persistentvolumeclaims"): _claim,
    ("", "persistentvolumes"): _volume,
    ("", "services"): _service,
    ("apps", "daemonsets"): _daemon_set,
    ("rbac.authorization.k8s.io", "clusterroles"): _rules,
    ("rbac.authorization.k8s.io", "roles"): _rules,
    ("batch", "jobs"): _job,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _definition,
}


def _update_rules(role: Struct, _: JsonObject) -> None:
    role["rules"] = role.get("rules") or None


_UPDATE: Mapping[tuple[str, str], Callable[[Struct, JsonObject], None]] = {
    ("", "namespaces"): _update_namespace,
    ("", "secrets"): _update_secret,
    ("apps", "daemonsets"): _update_daemon_set,
    ("rbac.authorization.k8s.io", "clusterroles"): _update_rules,
    ("rbac.authorization.k8s.io", "roles"): _update_rules,
}


def admit_create(resource: Resource, obj: Struct) -> None:
    """What admission adds to a new object, in place: its manager does not come to own it."""
    if resource.group:
        return
    if resource.plural == "pods":
        _admit_pod(part(obj, "spec"))
    elif resource.plural in _PROTECTED:
        metadata = part(obj, "metadata")
        found = metadata.get("finalizers")
        finalizers = list(found) if isinstance(found, list) else []
        if _PROTECTED[resource.plural] not in finalizers:
            metadata["finalizers"] = [*finalizers, _PROTECTED[resource.plural]]


_PROTECTED: Mapping[str, str] = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
}


def _admit_pod(spec: Struct) -> None:
    if not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"] = "default"
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    found = spec.get("tolerations")
    tolerations: list[Json] = list(found) if isinstance(found, list) else []
    for taint in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{taint}"
        if not any(_tolerates(toleration, key) for toleration in tolerations):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _UNREACHABLE_SECONDS,
                }
            )
    spec["tolerations"] = tolerations


def _tolerates(toleration: Json, key: str) -> bool:
    return text_at(toleration, "key") in {"", key} and text_at(toleration, "effect") in {
        "",
        "NoExecute",
    }
