"""What a server warns about although it does as it was asked.

Source: ``WarningsOnCreate`` and ``WarningsOnUpdate`` of Kubernetes' strategies: the ones that
people meet with workloads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gitopsd.domain.manifests import JsonObject
from gitopsd.sandbox.fields import number_at, object_at, text_at
from gitopsd.sandbox.objects.amounts import parse_quantity
from gitopsd.sandbox.objects.resources import Resource
from gitopsd.sandbox.objects.rules.complaints import items

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
    return tuple(_advise((resource.group, resource.plural), obj, created=created))


def _advise(kind: tuple[str, str], obj: JsonObject, *, created: bool) -> Iterator[str]:
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
        yield from _advise_on_ports(container, where)


def _advise_on_ports(container: JsonObject, path: str) -> Iterator[str]:
    seen: dict[tuple[object, ...], str] = {}
    for where, port in items(container.get("ports"), f"{path}.ports"):
        known = tuple(
            port.get(name) for name in ("containerPort", "protocol", "hostPort", "hostIP")
        )
        if known in seen:
            yield f"{where}: duplicate port definition with {seen[known]}"
        seen.setdefault(known, where)
