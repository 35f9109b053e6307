"""Where a Service's requests go: its Endpoints, and what its slices are made of. Pure.

Rules: ``pkg/controller/endpoint/endpoints_controller.go``, ``k8s.io/endpointslice``.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.facts import (
    ENDPOINTS,
    NOTHING,
    POD,
    SERVICE,
    Create,
    Delete,
    Facts,
    Key,
    Plan,
    Refusal,
    Replace,
)
from gitopsd.sandbox.controllers.pods import is_finished, is_ready
from gitopsd.sandbox.controllers.reading import (
    annotations_of,
    is_deleted,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
    with_metadata,
)
from gitopsd.sandbox.controllers.selectors import has_all
from gitopsd.sandbox.fields import flag_at, objects_at, text_at, text_map_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject

HEADLESS_LABEL = "service.kubernetes.io/headless"
CHANGED_AT = "endpoints.kubernetes.io/last-change-trigger-time"
_MANAGED_BY = "endpoints.kubernetes.io/managed-by"


@dataclass(frozen=True, slots=True)
class Backend:
    """A pod behind a Service.

    Attributes:
        pod: The pod; it has an address.
        ports: The Service's ports as this pod has them: name, protocol and number.
    """

    pod: JsonObject
    ports: tuple[tuple[str, str, int, str], ...]


def selects(service: JsonObject, pod: JsonObject) -> bool:
    """Whether a Service's selector chooses a pod; one without a selector chooses none."""
    selector = text_map_at(service, "spec", "selector")
    return bool(selector) and has_all(selector, labels_of(pod))


def is_managed(service: JsonObject) -> bool:
    """Whether Endpoints and slices are made for a Service."""
    named = text_at(service, "spec", "type") == "ExternalName"
    return not named and bool(text_map_at(service, "spec", "selector"))


def backends(service: JsonObject, facts: Facts) -> list[Backend]:
    """The pods behind a Service that have an address and run, oldest first."""
    return [
        Backend(pod, _ports(service, pod))
        for pod in facts.among(POD.resource, namespace_of(service))
        if text_at(pod, "status", "podIP") and not is_finished(pod) and selects(service, pod)
    ]


def concerned(item: JsonObject, before: JsonObject | None, facts: Facts) -> set[Key]:
    """The Services that a change of a pod concerns; a pod without an address concerns none."""
    states = [state for state in (item, before) if state is not None]
    if not any(text_at(state, "status", "podIP") for state in states):
        return set()
    return {
        Key(namespace_of(service), name_of(service))
        for service in facts.among(SERVICE.resource, namespace_of(item))
        if any(selects(service, state) for state in states)
    }


def is_headless(service: JsonObject) -> bool:
    """Whether a Service has no address of its own."""
    return text_at(service, "spec", "clusterIP") in {"", "None"}


def reconcile(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """What to do about the Endpoints of one Service."""
    if refusals:
        return Plan(failed=not any(item.namespace_ends for item in refusals))
    service = facts.find(SERVICE.resource, *key)
    found = facts.find(ENDPOINTS.resource, *key)
    if service is None:
        return Plan((Delete(ENDPOINTS.resource, found),)) if found is not None else NOTHING
    if not is_managed(service) or is_deleted(service):
        return NOTHING
    labels = {**labels_of(service), _MANAGED_BY: "endpoint-controller"}
    if is_headless(service):
        labels[HEADLESS_LABEL] = ""
    subsets = _subsets(service, backends(service, facts))
    if found is not None:
        old = list(objects_at(found, "subsets"))
        if old == subsets and labels_of(found) == labels:
            return NOTHING
    annotations = {**annotations_of(found or {}), CHANGED_AT: stamp(now)}
    said: dict[str, Json] = {"labels": labels, "annotations": annotations}
    content: dict[str, Json] = {"subsets": subsets} if subsets else {}
    if found is None:
        metadata: dict[str, Json] = {"name": key.name, "namespace": key.namespace, **said}
        return Plan((Create(ENDPOINTS, {"metadata": metadata, **content}),))
    kept = {name: value for name, value in with_metadata(found, said).items() if name != "subsets"}
    return Plan((Replace(ENDPOINTS.resource, {**kept, **content}),))


def target_of(pod: JsonObject) -> dict[str, Json]:
    """The reference by which an address tells its pod."""
    return {
        "kind": POD.kind,
        "namespace": namespace_of(pod),
        "name": name_of(pod),
        "uid": uid_of(pod),
    }


def hostname_in(service: JsonObject, pod: JsonObject) -> str:
    """The name that a pod has below its headless Service; empty when it has none."""
    in_it = text_at(pod, "spec", "subdomain") == name_of(service)
    return text_at(pod, "spec", "hostname") if in_it else ""


def _ports(service: JsonObject, pod: JsonObject) -> tuple[tuple[str, str, int, str], ...]:
    found: list[tuple[str, str, int, str]] = []
    for port in objects_at(service, "spec", "ports"):
        protocol = text_at(port, "protocol", default="TCP")
        number = _target_number(port, pod, protocol)
        if number is not None:
            found.append((text_at(port, "name"), protocol, number, text_at(port, "appProtocol")))
    return tuple(found)


def _target_number(port: JsonObject, pod: JsonObject, protocol: str) -> int | None:
    target = port.get("targetPort") or port.get("port")
    if isinstance(target, int):
        return target
    sidecars = (
        container
        for container in objects_at(pod, "spec", "initContainers")
        if text_at(container, "restartPolicy") == "Always"
    )
    for container in (*objects_at(pod, "spec", "containers"), *sidecars):
        for offered in objects_at(container, "ports"):
            number = offered.get("containerPort")
            same = text_at(offered, "protocol", default="TCP") == protocol
            if offered.get("name") == target and same and isinstance(number, int):
                return number
    return None


def _subsets(service: JsonObject, found: Sequence[Backend]) -> list[JsonObject]:
    """Pods with the same ports together; those that are ready and those that are not apart."""
    early = flag_at(service, "spec", "publishNotReadyAddresses")
    groups: dict[tuple[tuple[str, str, int, str], ...], dict[str, list[JsonObject]]] = {}
    for backend in found:
        pod = backend.pod
        if is_deleted(pod) and not early:
            continue
        if not backend.ports and objects_at(service, "spec", "ports"):
            continue
        field = "addresses" if is_ready(pod) or early else "notReadyAddresses"
        group = groups.setdefault(backend.ports, {})
        group.setdefault(field, []).append(_address(service, pod))
    subsets: list[JsonObject] = []
    for ports, group in sorted(groups.items()):
        subset: dict[str, Json] = {}
        for field, addresses in group.items():
            ordered: list[JsonObject] = sorted(addresses, key=_by_number)
            subset[field] = ordered
        if ports:
            subset["ports"] = [_said_port(port) for port in ports]
        subsets.append(subset)
    return subsets


def _by_number(address: JsonObject) -> tuple[int, int]:
    ip = ip_address(text_at(address, "ip"))
    return ip.version, int(ip)


def _address(service: JsonObject, pod: JsonObject) -> JsonObject:
    address: dict[str, Json] = {"ip": text_at(pod, "status", "podIP")}
    hostname = hostname_in(service, pod)
    if hostname:
        address["hostname"] = hostname
    node = text_at(pod, "spec", "nodeName")
    if node:
        address["nodeName"] = node
    return {**address, "targetRef": target_of(pod)}


def _said_port(port: tuple[str, str, int, str]) -> JsonObject:
    name, protocol, number, application = port
    said: dict[str, Json] = {"name": name} if name else {}
    said.update({"port": number, "protocol": protocol})
    if application:
        said["appProtocol"] = application
    return said
