"""Rows of services, endpoints, ingresses and network policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.printing.cells import (
    NONE,
    Cells,
    Printer,
    age_of,
    columns,
    count_at,
    name_of,
    say_labels,
    say_some,
    selector_at,
)
from gitopsd.sandbox.fields import field_at, object_at, objects_at, text_at, texts_at

if TYPE_CHECKING:
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject

DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
_SHOWN = 3


def _service(obj: JsonObject, now: datetime) -> Cells:
    return [
        name_of(obj),
        text_at(obj, "spec", "type"),
        next(iter(texts_at(obj, "spec", "clusterIPs")), NONE),
        _external(obj),
        ",".join(_say_port(port) for port in objects_at(obj, "spec", "ports")) or NONE,
        age_of(obj, now),
        say_labels(object_at(obj, "spec", "selector")),
    ]


def _external(obj: JsonObject) -> str:
    kind = text_at(obj, "spec", "type")
    addresses = list(texts_at(obj, "spec", "externalIPs"))
    if kind == "ExternalName":
        return text_at(obj, "spec", "externalName")
    if kind == "LoadBalancer":
        return ",".join([*_balanced(obj), *addresses]) or "<pending>"
    return ",".join(addresses) or NONE


def _balanced(obj: JsonObject) -> list[str]:
    found = objects_at(obj, "status", "loadBalancer", "ingress")
    return sorted({text_at(item, "ip") or text_at(item, "hostname") for item in found} - {""})


def _say_port(port: JsonObject) -> str:
    outside = count_at(port, "nodePort")
    number = count_at(port, "port")
    said = f"{number}:{outside}" if outside else str(number)
    return f"{said}/{text_at(port, 'protocol', default='TCP')}"


def _endpoints(obj: JsonObject, now: datetime) -> Cells:
    said: list[str] = []
    for part in objects_at(obj, "subsets"):
        addresses = [text_at(item, "ip") for item in objects_at(part, "addresses")]
        ports = objects_at(part, "ports")
        if not ports:
            said.extend(addresses)
        for port in ports:
            said.extend(f"{address}:{count_at(port, 'port')}" for address in addresses)
    shown = ",".join(said[:_SHOWN])
    if len(said) > _SHOWN:
        shown = f"{shown} + {len(said) - _SHOWN} more..."
    return [name_of(obj), shown if objects_at(obj, "subsets") else NONE, age_of(obj, now)]


def _endpoint_slice(obj: JsonObject, now: datetime) -> Cells:
    ports = [
        text_at(port, "name", default="*")
        if field_at(port, "port") is None
        else str(count_at(port, "port"))
        for port in objects_at(obj, "ports")
    ]
    addresses = [
        address
        for endpoint in objects_at(obj, "endpoints")
        for address in texts_at(endpoint, "addresses")
    ]
    return [
        name_of(obj),
        text_at(obj, "addressType"),
        say_some(ports),
        say_some(addresses),
        age_of(obj, now),
    ]


def _ingress(obj: JsonObject, now: datetime) -> Cells:
    rules = objects_at(obj, "spec", "rules")
    hosts = [host for rule in rules if (host := text_at(rule, "host"))]
    said = ",".join(hosts[:_SHOWN]) or "*"
    if len(hosts) > _SHOWN:
        said = f"{said} + {len(rules) - _SHOWN} more..."
    return [
        name_of(obj),
        text_at(obj, "spec", "ingressClassName") or NONE,
        said,
        ",".join(_balanced(obj)),
        "80, 443" if objects_at(obj, "spec", "tls") else "80",
        age_of(obj, now),
    ]


def _ingress_class(obj: JsonObject, now: datetime) -> Cells:
    default = text_at(obj, "metadata", "annotations", DEFAULT_CLASS) == "true"
    found = object_at(obj, "spec", "parameters")
    said = NONE
    if found:
        group = text_at(found, "apiGroup")
        kind = text_at(found, "kind")
        said = f"{kind}.{group}" if group else kind
        said = f"{said}/{text_at(found, 'name')}"
    name = f"{name_of(obj)} (default)" if default else name_of(obj)
    return [name, text_at(obj, "spec", "controller"), said, age_of(obj, now)]


def _network_policy(obj: JsonObject, now: datetime) -> Cells:
    return [name_of(obj), selector_at(obj, "spec", "podSelector"), age_of(obj, now)]


SERVICES = Printer(columns("Name,Type,Cluster-IP,External-IP,Port(s),Age|Selector"), _service)
ENDPOINTS = Printer(columns("Name,Endpoints,Age"), _endpoints)
ENDPOINT_SLICES = Printer(columns("Name,AddressType,Ports,Endpoints,Age"), _endpoint_slice)
INGRESSES = Printer(columns("Name,Class,Hosts,Address,Ports,Age"), _ingress)
INGRESS_CLASSES = Printer(columns("Name,Controller,Parameters,Age"), _ingress_class)
NETWORK_POLICIES = Printer(columns("Name,Pod-Selector,Age"), _network_policy)
