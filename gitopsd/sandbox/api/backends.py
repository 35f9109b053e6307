"""Where a request goes that is for a pod, a service or a container's log. Reads the store only."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from gitopsd.sandbox.api.keys import Key, Kind
from gitopsd.sandbox.fields import field_at, number_at, objects_at, text_at, texts_at
from gitopsd.sandbox.objects.status_errors import StatusError, bad_request
from gitopsd.sandbox.status import TERMINAL_PHASES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from multidict import MultiMapping

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.api.storage import ObjectStore

PODS = Kind("", "pods")
NODES = Kind("", "nodes")
SERVICES = Kind("", "services")
SLICES = Kind("discovery.k8s.io", "endpointslices")
OF_SERVICE = "kubernetes.io/service-name"
UNAVAILABLE = 503
_SCHEMES = frozenset({"http", "https", ""})
_LOG_FLAGS = ("follow", "previous", "timestamps")
_YES = frozenset({"true", "1"})
_EXEC_FLAGS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
_LOG_NUMBERS = ("sinceSeconds", "tailLines", "limitBytes")
_PARTS = 3


@dataclass(frozen=True, slots=True)
class Backend:
    """Who answers.

    Attributes:
        scheme: ``http`` or ``https``.
        address: IP address.
        port: Port.
    """

    scheme: str
    address: str
    port: int

    @property
    def url(self) -> str:
        """Without a path."""
        return f"{self.scheme}://{self.address}:{self.port}"


def unavailable(message: str) -> StatusError:
    """Nobody is there to answer."""
    return StatusError(UNAVAILABLE, "ServiceUnavailable", message)


def split_name(name: str, what: str) -> tuple[str, str, str]:
    """Scheme, name and port out of ``name``, ``name:port`` or ``scheme:name:port``.

    Raises:
        StatusError: It is none of these.
    """
    parts = name.split(":")
    if len(parts) == 1:
        return "http", parts[0], ""
    if len(parts) == _PARTS - 1:
        return "http", parts[0], parts[1]
    if len(parts) != _PARTS or parts[0] not in _SCHEMES:
        raise bad_request(f'invalid {what} request "{name}"')
    return parts[0] or "http", parts[1], parts[2]


def find_service(store: ObjectStore, namespace: str, name: str) -> Backend:
    """A ready endpoint of a service, any one of them.

    Raises:
        StatusError: There is none, or the service has no such port.
    """
    scheme, service, port = split_name(name, "service")
    if port.isdigit():
        port = _port_name(store, namespace, service, int(port))
    slices = store.list(SLICES, namespace, labels={OF_SERVICE: service}).items
    found = [
        Backend(scheme, address, number)
        for item in slices
        for number in _numbers(item, port)
        for address in _ready_addresses(store, namespace, item)
    ]
    if not found:
        raise unavailable(f'no endpoints available for service "{service}"')
    return secrets.choice(found)


def find_pod(store: ObjectStore, namespace: str, name: str) -> Backend:
    """A pod's own address.

    Raises:
        StatusError: There is no such pod, or it has no address yet.
    """
    scheme, pod_name, port = split_name(name, "pod")
    pod = _pod(store, namespace, pod_name)
    if not port:
        ports = (
            int(number_at(item, "containerPort"))
            for container in objects_at(pod, "spec", "containers")
            for item in objects_at(container, "ports")
        )
        port = str(next(ports, 80))
    address = text_at(pod, "status", "podIP")
    if not address or not port.isdigit():
        raise unavailable(f'address not allowed: pod "{pod_name}" has none yet')
    return Backend(scheme, address, int(port))


def find_log(
    store: ObjectStore, namespace: str, name: str, query: Mapping[str, str]
) -> tuple[Backend, str] | None:
    """The node that has a container's log, and the path there; None while the pod has no node.

    Raises:
        StatusError: There is no such pod, container or node.
    """
    pod = _pod(store, namespace, name)
    container = _container(pod, name, query.get("container", ""))
    node = _find_node(store, pod)
    if node is None:
        return None
    wanted = {flag: "true" for flag in _LOG_FLAGS if query.get(flag) in {"true", "1"}}
    wanted |= {field: query[field] for field in _LOG_NUMBERS if query.get(field, "").isdigit()}
    if query.get("sinceTime"):
        wanted["sinceTime"] = query["sinceTime"]
    return node, f"/containerLogs/{namespace}/{name}/{container}?{urlencode(wanted)}"


def find_exec(
    store: ObjectStore, namespace: str, name: str, query: MultiMapping[str]
) -> tuple[Backend, str]:
    """The node that can run a command in a container, and the path there.

    Raises:
        StatusError: There is no such pod, container or node, or the pod does not run.
    """
    pod = _pod(store, namespace, name)
    container = _container(pod, name, query.get("container", ""))
    if text_at(pod, "status", "phase") in TERMINAL_PHASES:
        phase = text_at(pod, "status", "phase")
        said = f"cannot exec into a container in a completed pod; current phase is {phase}"
        raise bad_request(said)
    node = _find_node(store, pod)
    if node is None:
        raise bad_request(f"pod {name} does not have a host assigned")
    wanted = [
        (node_word, "1") for word, node_word in _EXEC_FLAGS.items() if query.get(word) in _YES
    ]
    if not wanted:
        raise bad_request("you must specify at least 1 of stdin, stdout, stderr")
    wanted += [("command", word) for word in query.getall("command", [])]
    return node, f"/exec/{namespace}/{name}/{container}?{urlencode(wanted)}"


def _find_node(store: ObjectStore, pod: JsonObject) -> Backend | None:
    """The endpoint of a pod's node; None while it has no node."""
    node_name = text_at(pod, "spec", "nodeName")
    if not node_name:
        return None
    node = store.get(Key(*NODES, "", node_name))
    addresses = objects_at(node, "status", "addresses")
    address = next(
        (text_at(item, "address") for item in addresses if item.get("type") == "InternalIP"), ""
    )
    port = int(number_at(node, "status", "daemonEndpoints", "kubeletEndpoint", "Port"))
    if not address or not port:
        raise StatusError(500, "InternalError", f'nodes "{node_name}" not found')
    return Backend("https", address, port)


def _pod(store: ObjectStore, namespace: str, name: str) -> JsonObject:
    pod = store.get(Key(*PODS, namespace, name))
    if pod is None:
        details: JsonObject = {"name": name, "kind": "pods"}
        raise StatusError(404, "NotFound", f'pods "{name}" not found', details)
    return pod


def _container(pod: JsonObject, pod_name: str, wanted: str) -> str:
    names = [text_at(item, "name") for item in objects_at(pod, "spec", "containers")]
    begun = [text_at(item, "name") for item in objects_at(pod, "spec", "initContainers")]
    if wanted:
        if wanted in names or wanted in begun:
            return wanted
        raise bad_request(f"container {wanted} is not valid for pod {pod_name}")
    if len(names) == 1:
        return names[0]
    said = f"a container name must be specified for pod {pod_name}, choose one of: "
    more = f" or one of the init containers: [{' '.join(begun)}]" if begun else ""
    raise bad_request(f"{said}[{' '.join(names)}]{more}")


def _port_name(store: ObjectStore, namespace: str, service: str, number: int) -> str:
    obj = store.get(Key(*SERVICES, namespace, service))
    if obj is None:
        details: JsonObject = {"name": service, "kind": "services"}
        raise StatusError(404, "NotFound", f'services "{service}" not found', details)
    for port in objects_at(obj, "spec", "ports"):
        if int(number_at(port, "port")) == number:
            return text_at(port, "name")
    raise unavailable(f'no service port {number} found for service "{service}"')


def _numbers(item: JsonObject, name: str) -> Sequence[int]:
    return [
        int(number_at(port, "port"))
        for port in objects_at(item, "ports")
        if text_at(port, "name") == name
    ]


def _ready_addresses(store: ObjectStore, namespace: str, item: JsonObject) -> list[str]:
    """Addresses of endpoints that are pods and ready; nothing else is ever proxied to."""
    found: list[str] = []
    for endpoint in objects_at(item, "endpoints"):
        pod = store.get(Key(*PODS, namespace, text_at(endpoint, "targetRef", "name")))
        known = {text_at(entry, "ip") for entry in objects_at(pod, "status", "podIPs")}
        if field_at(endpoint, "conditions", "ready") is not False:
            found.extend(item for item in texts_at(endpoint, "addresses")[:1] if item in known)
    return found
