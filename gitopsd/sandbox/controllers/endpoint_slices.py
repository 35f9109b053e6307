"""EndpointSlices: where a Service's requests go, in pieces of a hundred. Pure.

Rules: ``k8s.io/endpointslice/{reconciler,utils}.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.endpoints import (
    CHANGED_AT,
    HEADLESS_LABEL,
    Backend,
    backends,
    hostname_in,
    is_headless,
    is_managed,
    target_of,
)
from gitopsd.sandbox.controllers.facts import (
    ENDPOINT_SLICE,
    NOTHING,
    SERVICE,
    Create,
    Delete,
    Facts,
    Key,
    Plan,
    Refusal,
    Replace,
    Write,
)
from gitopsd.sandbox.controllers.ownership import controlled, controller_reference
from gitopsd.sandbox.controllers.pods import is_ready
from gitopsd.sandbox.controllers.reading import (
    annotations_of,
    is_deleted,
    labels_of,
    name_of,
    namespace_of,
    with_metadata,
)
from gitopsd.sandbox.fields import flag_at, text_at, texts_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_MOST_ENDPOINTS = 100


def reconcile(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """What to do about the slices of one Service; when it is gone, its garbage goes by itself."""
    service = facts.find(SERVICE.resource, *key)
    if service is None or not is_managed(service) or is_deleted(service):
        return NOTHING
    if refusals:
        return Plan(failed=not any(item.namespace_ends for item in refusals))
    wanted = _wanted(service, backends(service, facts))
    there = [item for item in controlled(facts, service, ENDPOINT_SLICE) if not is_deleted(item)]
    pairs, spare = _pair(wanted, there)
    labels = _labels(service)
    writes: list[Write] = []
    for content, item in pairs:
        if item is None:
            writes.append(_new(service, labels, content, now))
        elif labels_of(item) != labels or not content.items() <= item.items():
            annotations = {**annotations_of(item), CHANGED_AT: stamp(now)}
            changed = with_metadata(item, {"labels": labels, "annotations": annotations})
            writes.append(Replace(ENDPOINT_SLICE.resource, {**changed, **content}))
    writes.extend(Delete(ENDPOINT_SLICE.resource, item) for item in spare)
    return Plan(tuple(writes))


def _wanted(service: JsonObject, found: Sequence[Backend]) -> list[dict[str, Json]]:
    """The content of each slice: pods with the same ports, a hundred at most."""
    groups: dict[tuple[tuple[str, str, int, str], ...], list[JsonObject]] = {}
    for backend in found:
        groups.setdefault(backend.ports, []).append(_endpoint(service, backend.pod))
    wanted: list[dict[str, Json]] = []
    for ports, endpoints in groups.items():
        said = [_said_port(port) for port in ports]
        for start in range(0, len(endpoints), _MOST_ENDPOINTS):
            part = endpoints[start : start + _MOST_ENDPOINTS]
            wanted.append({"endpoints": part, "ports": said})
    # A Service without pods has one slice all the same, to be found by.
    return wanted or [{"endpoints": None, "ports": None}]


def _pair(
    wanted: Sequence[dict[str, Json]], there: Sequence[JsonObject]
) -> tuple[list[tuple[dict[str, Json], JsonObject | None]], list[JsonObject]]:
    """Each wanted content with the slice to hold it (None: a new one), and slices left over."""
    left = list(there)
    pairs: list[tuple[dict[str, Json], JsonObject | None]] = []
    for content in wanted:
        same = next((item for item in left if item.get("ports") == content["ports"]), None)
        if same is not None:
            left.remove(same)
        pairs.append((content, same))
    filled: list[tuple[dict[str, Json], JsonObject | None]] = [
        (content, item if item is not None or not left else left.pop(0)) for content, item in pairs
    ]
    return filled, left


def _new(service: JsonObject, labels: dict[str, str], content: JsonObject, now: datetime) -> Create:
    metadata: dict[str, Json] = {
        "generateName": f"{name_of(service)}-",
        "namespace": namespace_of(service),
        "labels": labels,
        "annotations": {CHANGED_AT: stamp(now)},
        "ownerReferences": [controller_reference(service, SERVICE)],
    }
    family = next(iter(texts_at(service, "spec", "ipFamilies")), "IPv4")
    return Create(ENDPOINT_SLICE, {"metadata": metadata, "addressType": family, **content})


def _labels(service: JsonObject) -> dict[str, str]:
    labels = {
        **labels_of(service),
        SERVICE_NAME: name_of(service),
        MANAGED_BY: "endpointslice-controller.k8s.io",
    }
    if is_headless(service):
        labels[HEADLESS_LABEL] = ""
    return labels


def _endpoint(service: JsonObject, pod: JsonObject) -> JsonObject:
    serving, terminating = is_ready(pod), is_deleted(pod)
    early = flag_at(service, "spec", "publishNotReadyAddresses")
    endpoint: dict[str, Json] = {
        "addresses": [text_at(pod, "status", "podIP")],
        "conditions": {
            "ready": early or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": target_of(pod),
    }
    node, hostname = text_at(pod, "spec", "nodeName"), hostname_in(service, pod)
    if hostname:
        endpoint["hostname"] = hostname
    if node:
        endpoint["nodeName"] = node
    return endpoint


def _said_port(port: tuple[str, str, int, str]) -> JsonObject:
    name, protocol, number, application = port
    said: dict[str, Json] = {"name": name, "protocol": protocol, "port": number}
    if application:
        said["appProtocol"] = application
    return said
