"""What a server warns about although it does as it was asked.

Source: ``WarningsOnCreate`` and ``WarningsOnUpdate`` of Kubernetes' strategies: the ones that
people meet with workloads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import number_at, object_at, text_at, texts_at
from gitopsd.sandbox.objects.amounts import parse_quantity
from gitopsd.sandbox.objects.resources import Resource
from gitopsd.sandbox.objects.rules.complaints import items
from gitopsd.sandbox.objects.rules.metadata import STANDARD_FINALIZERS

_TEMPLATES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): (),
    ("apps", "daemonsets"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
}
_NAMES_PODS = frozenset({("apps", "deployments"), ("apps", "replicasets"), ("batch", "jobs")})
_BYTES = ("memory", "ephemeral-storage")


def advise(resource: Resource, obj: JsonObject, *, created: bool) -> tuple[str, ...]:
    """Warnings about an object that is stored."""
    kind = (resource.group, resource.plural)
    return tuple(_advise(kind, obj, created=created, custom=resource.custom))


def _advise(
    kind: tuple[str, str], obj: JsonObject, *, created: bool, custom: bool
) -> Iterator[str]:
    if custom:
        for finalizer in texts_at(obj, "metadata", "finalizers"):
            if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
                yield (
                    f'metadata.finalizers: "{finalizer}": prefer a domain-qualified finalizer '
                    "name to avoid accidental conflicts with other finalizer writers"
                )
    if kind == ("", "endpoints"):
        yield "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    if created and kind in _NAMES_PODS and "." in text_at(obj, "metadata", "name"):
        yield (
            "metadata.name: this is used in Pod names and hostnames, which can result in "
            "surprising behavior; a DNS label is recommended: [must not contain dots]"
        )
    where = _TEMPLATES.get(kind)
    if where is not None:
        path = ".".join((*where, "spec"))
        yield from _advise_on_pod(object_at(obj, *where, "spec"), path)


def _advise_on_pod(spec: JsonObject, path: str) -> Iterator[str]:
    if number_at(spec, "terminationGracePeriodSeconds") < 0:
        yield (
            f"{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid "
            "and will be treated as 1"
        )
    for where, secret in items(spec.get("imagePullSecrets"), f"{path}.imagePullSecrets"):
        if not text_at(secret, "name"):
            yield f'{where}.name: invalid empty name ""'
    for where, container in items(spec.get("containers"), f"{path}.containers"):
        for kind in ("limits", "requests"):
            for name, amount in object_at(container, "resources", kind).items():
                if name in _BYTES and parse_quantity(str(amount)) % 1:
                    yield (
                        f"{where}.resources.{kind}[{name}]: fractional byte value "
                        f'"{amount}" is invalid, must be an integer'
                    )
    yield from _advise_on_ports(spec, path)


def _advise_on_ports(spec: JsonObject, path: str) -> Iterator[str]:
    ports = [
        (where, port)
        for kind in ("initContainers", "containers")
        for place, container in items(spec.get(kind), f"{path}.{kind}")
        for where, port in items(container.get("ports"), f"{place}.ports")
    ]
    known: dict[tuple[Json, Json], list[tuple[str, JsonObject]]] = {}
    for where, port in ports:
        others = known.setdefault((port.get("containerPort"), port.get("protocol")), [])
        for there, other in others:
            if all(port.get(name) == other.get(name) for name in ("hostIP", "hostPort")):
                yield f"{where}: duplicate port definition with {there}"
            elif not port.get("hostPort") or not other.get("hostPort"):
                yield f"{where}: overlapping port definition with {there}"
        others.append((where, port))
    named: dict[str, str] = {}
    for where, port in ports:
        name = text_at(port, "name")
        first = named.setdefault(name, where)
        if name and first != where:
            yield (
                f'{where}: duplicate port name "{name}" with {first}, services and probes that '
                f"select ports by name will use {first}"
            )
