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
_PODS = ("", "pods")
_DAEMON_SETS = ("apps", "daemonsets")
_DEPLOYMENTS = ("apps", "deployments")
_NAMES_PODS = frozenset({("apps", "deployments"), ("apps", "replicasets"), ("batch", "jobs")})
_BYTES = ("memory", "ephemeral-storage")


def advise(resource: Resource, obj: JsonObject, live: JsonObject | None) -> tuple[str, ...]:
    """Warnings about an object that is stored, each once.

    Args:
        resource: Its kind.
        obj: The object.
        live: What it was before; None for a new one.
    """
    kind = (resource.group, resource.plural)
    return tuple(dict.fromkeys(_advise(kind, obj, live, custom=resource.custom)))


def _advise(
    kind: tuple[str, str], obj: JsonObject, live: JsonObject | None, *, custom: bool
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
    if live is None and kind in _NAMES_PODS and "." in text_at(obj, "metadata", "name"):
        yield (
            "metadata.name: this is used in Pod names and hostnames, which can result in "
            "surprising behavior; a DNS label is recommended: [must not contain dots]"
        )
    where = _TEMPLATES.get(kind)
    if where is not None and (live is None or _is_judged_again(kind, obj, live)):
        path = ".".join((*where, "spec"))
        yield from _advise_on_pod(object_at(obj, *where, "spec"), path)


def _is_judged_again(kind: tuple[str, str], obj: JsonObject, live: JsonObject) -> bool:
    """Whether an update is looked through: a new generation; of DaemonSets, a new template.

    Updates of pods are not: people hardly write them, and machines do all the time.
    """
    if kind == _PODS:
        return False
    if kind == _DAEMON_SETS:
        return object_at(obj, "spec", "template") != object_at(live, "spec", "template")
    annotations = ("metadata", "annotations")
    annotated = kind == _DEPLOYMENTS and object_at(obj, *annotations) != object_at(
        live, *annotations
    )
    return annotated or obj.get("spec") != live.get("spec")


def _advise_on_pod(spec: JsonObject, path: str) -> Iterator[str]:
    known: set[str] = set()
    secrets = items(spec.get("imagePullSecrets"), f"{path}.imagePullSecrets")
    for where, secret in secrets:
        name = text_at(secret, "name")
        if name in known:
            yield f'{where}.name: duplicate name "{name}"'
        known.add(name)
    for where, secret in secrets:
        if not text_at(secret, "name"):
            yield f'{where}.name: invalid empty name ""'
    containers = [
        found
        for kind in ("initContainers", "containers")
        for found in items(spec.get(kind), f"{path}.{kind}")
    ]
    for where, container in containers:
        yield from _advise_on_bytes(container, where)
        yield from _advise_on_variables(container, where)
    yield from _advise_on_ports(containers)
    if number_at(spec, "terminationGracePeriodSeconds") < 0:
        yield (
            f"{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid "
            "and will be treated as 1"
        )


def _advise_on_bytes(container: JsonObject, where: str) -> Iterator[str]:
    for name in _BYTES:
        for kind in ("limits", "requests"):
            amount = object_at(container, "resources", kind).get(name)
            if amount is not None and parse_quantity(str(amount)) % 1:
                yield (
                    f"{where}.resources.{kind}[{name}]: fractional byte value "
                    f'"{amount}" is invalid, must be an integer'
                )


def _advise_on_variables(container: JsonObject, where: str) -> Iterator[str]:
    known: set[str] = set()
    for place, variable in items(container.get("env"), f"{where}.env"):
        name, value = text_at(variable, "name"), text_at(variable, "value")
        reference = f"$({name})"
        extends = "valueFrom" not in variable and value != reference and reference in value
        if name in known and not extends:
            yield (
                f'{place}: hides previous definition of "{name}", which may be dropped when '
                "using apply"
            )
        known.add(name)


def _advise_on_ports(containers: list[tuple[str, Mapping[str, Json]]]) -> Iterator[str]:
    ports = [
        found
        for place, container in containers
        for found in items(container.get("ports"), f"{place}.ports")
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
