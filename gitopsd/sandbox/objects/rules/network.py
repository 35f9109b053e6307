"""Rules of Services, Ingresses and NetworkPolicies."""

from __future__ import annotations

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import object_at, text_at, texts_at
from gitopsd.sandbox.objects.rules.complaints import Complaints, items
from gitopsd.sandbox.objects.rules.containers import PROTOCOLS, check_port, check_port_number
from gitopsd.sandbox.objects.rules.metadata import check_labels, check_selector
from gitopsd.sandbox.objects.rules.names import (
    address_problems,
    label_problems,
    rfc_1035_problems,
    subdomain_problems,
)

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_AFFINITIES = ("ClientIP", "None")
_POLICIES = ("Cluster", "Local")
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")


def check_service(obj: JsonObject, told: Complaints) -> None:
    """A Service."""
    spec = object_at(obj, "spec")
    type_ = text_at(spec, "type")
    ports = items(spec.get("ports"), "spec.ports")
    headless = text_at(spec, "clusterIP") == "None"
    if not ports and type_ != "ExternalName" and not headless:
        told.required("spec.ports")
    if type_ == "ExternalName":
        name = text_at(spec, "externalName")
        if not name:
            told.required("spec.externalName")
        for problem in subdomain_problems(name.removesuffix(".")) if name else ():
            told.invalid("spec.externalName", name, problem)
    _check_service_ports(ports, told)
    check_labels(spec.get("selector"), "spec.selector", told)
    affinity = text_at(spec, "sessionAffinity")
    if affinity not in _AFFINITIES:
        told.unsupported("spec.sessionAffinity", affinity, _AFFINITIES)
    _check_addresses(spec, told)
    if type_ not in _TYPES:
        told.unsupported("spec.type", type_, _TYPES)
    _check_used_ports(ports, type_, told)
    for name in ("externalTrafficPolicy", "internalTrafficPolicy"):
        policy = spec.get(name)
        if policy is not None and policy not in _POLICIES:
            told.unsupported(f"spec.{name}", policy, _POLICIES)


def check_service_status(obj: JsonObject, told: Complaints) -> None:
    """A Service's status."""
    balanced = object_at(obj, "status", "loadBalancer").get("ingress")
    if balanced and text_at(obj, "spec", "type") != "LoadBalancer":
        told.forbidden(
            "status.loadBalancer.ingress",
            "may only be used when `spec.type` is 'LoadBalancer'",
        )


def _check_addresses(spec: JsonObject, told: Complaints) -> None:
    for index, address in enumerate(texts_at(spec, "clusterIPs")):
        for problem in address_problems(address) if address != "None" else ():
            told.invalid(f"spec.clusterIPs[{index}]", address, problem)


def _check_service_ports(ports: list[tuple[str, JsonObject]], told: Complaints) -> None:
    names: set[str] = set()
    for where, port in ports:
        name = text_at(port, "name")
        if not name and len(ports) > 1:
            told.required(f"{where}.name")
        for problem in label_problems(name) if name else ():
            told.invalid(f"{where}.name", name, problem)
        if name and name in names:
            told.duplicate(f"{where}.name", name)
        names.add(name)
        check_port_number(port.get("port"), f"{where}.port", told)
        protocol = text_at(port, "protocol")
        if protocol not in PROTOCOLS:
            told.unsupported(f"{where}.protocol", protocol, PROTOCOLS)
        check_port(port.get("targetPort"), f"{where}.targetPort", told)


def _check_used_ports(ports: list[tuple[str, JsonObject]], type_: str, told: Complaints) -> None:
    seen: set[tuple[Json, Json]] = set()
    for where, port in ports:
        if port.get("nodePort") and type_ in {"ClusterIP", "ExternalName"}:
            told.forbidden(f"{where}.nodePort", f"may not be used when `type` is '{type_}'")
    for where, port in ports:
        used = (port.get("protocol"), port.get("port"))
        if used in seen:
            printed: JsonObject = {
                "Name": "",
                "Protocol": port.get("protocol"),
                "AppProtocol": None,
                "Port": port.get("port"),
                "TargetPort": 0,
                "NodePort": 0,
            }
            told.duplicate(where, printed)
        seen.add(used)


def check_ingress(obj: JsonObject, told: Complaints) -> None:
    """An Ingress."""
    spec = object_at(obj, "spec")
    rules = items(spec.get("rules"), "spec.rules")
    backend = spec.get("defaultBackend")
    if not rules and backend is None:
        told.invalid("spec", None, "either `defaultBackend` or `rules` must be specified")
    for where, rule in rules:
        _check_host(text_at(rule, "host"), f"{where}.host", told)
        http = rule.get("http")
        if http is not None:
            _check_paths(object_at(http).get("paths"), f"{where}.http.paths", told)
    for where, entry in items(spec.get("tls"), "spec.tls"):
        for index, host in enumerate(texts_at(entry, "hosts")):
            _check_host(host, f"{where}.hosts[{index}]", told)
    if backend is not None:
        _check_backend(object_at(backend), "spec.defaultBackend", told)
    name = spec.get("ingressClassName")
    if isinstance(name, str):
        for problem in subdomain_problems(name):
            told.invalid("spec.ingressClassName", name, problem)


def _check_host(host: str, path: str, told: Complaints) -> None:
    if host:
        for problem in subdomain_problems(host.removeprefix("*.")):
            told.invalid(path, host, problem)


def _check_paths(paths: Json, path: str, told: Complaints) -> None:
    listed = items(paths, path)
    if not listed:
        told.required(path)
    for where, entry in listed:
        kind = entry.get("pathType")
        if kind is None:
            told.required(f"{where}.pathType", "pathType must be specified")
            return
        target = text_at(entry, "path")
        if kind not in _PATH_TYPES:
            told.unsupported(f"{where}.pathType", kind, _PATH_TYPES)
        elif not target.startswith("/") and (target or kind != "ImplementationSpecific"):
            told.invalid(f"{where}.path", target, "must be an absolute path")
        _check_backend(object_at(entry, "backend"), f"{where}.backend", told)


def _check_backend(backend: JsonObject, path: str, told: Complaints) -> None:
    service = backend.get("service")
    if service is None:
        if backend.get("resource") is None:
            told.invalid(path, "", "resource or service backend is required")
        return
    name = text_at(service, "name")
    if not name:
        told.required(f"{path}.service.name")
    for problem in rfc_1035_problems(name) if name else ():
        told.invalid(f"{path}.service.name", name, problem)
    port = object_at(service, "port")
    number = port.get("number")
    if text_at(port, "name"):
        check_port(port.get("name"), f"{path}.service.port.name", told)
    elif not number:
        told.required(path, "port name or number is required")
    else:
        check_port_number(number, f"{path}.service.port.number", told)


def check_network_policy(obj: JsonObject, told: Complaints) -> None:
    """A NetworkPolicy."""
    spec = object_at(obj, "spec")
    check_selector(spec.get("podSelector"), "spec.podSelector", told)
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for where, rule in items(spec.get(direction), f"spec.{direction}"):
            for place, port in items(rule.get("ports"), f"{where}.ports"):
                if port.get("protocol") not in PROTOCOLS:
                    told.unsupported(f"{place}.protocol", port.get("protocol"), PROTOCOLS)
                if port.get("port") is not None:
                    check_port(port.get("port"), f"{place}.port", told)
            for place, peer in items(rule.get(peers), f"{where}.{peers}"):
                if not peer:
                    told.required(place, "must specify a peer")
    for index, kind in enumerate(texts_at(spec, "policyTypes")):
        if kind not in {"Ingress", "Egress"}:
            told.unsupported(f"spec.policyTypes[{index}]", kind, ("Ingress", "Egress"))
