"""Facts about Kubernetes' API that the sandbox's schemas are made of.

The real API server tells types, defaults and list keys in its OpenAPI documents and resources in
its discovery. How a field's zero value is written it does not tell; the Go types do.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from tests.support.cluster_client import ClusterClient
from tests.support.processes import inherited_environment

Node: TypeAlias = Any
"""A part of a JSON document."""

SERVED: dict[str, tuple[str, ...]] = {
    "v1": (
        "configmaps",
        "endpoints",
        "events",
        "limitranges",
        "namespaces",
        "nodes",
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "resourcequotas",
        "secrets",
        "serviceaccounts",
        "services",
    ),
    "admissionregistration.k8s.io/v1": (
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
    ),
    "apiextensions.k8s.io/v1": ("customresourcedefinitions",),
    "apps/v1": (
        "controllerrevisions",
        "daemonsets",
        "deployments",
        "replicasets",
        "statefulsets",
    ),
    "authentication.k8s.io/v1": ("selfsubjectreviews", "tokenreviews"),
    "authorization.k8s.io/v1": (
        "localsubjectaccessreviews",
        "selfsubjectaccessreviews",
        "selfsubjectrulesreviews",
        "subjectaccessreviews",
    ),
    "autoscaling/v2": ("horizontalpodautoscalers",),
    "batch/v1": ("cronjobs", "jobs"),
    "coordination.k8s.io/v1": ("leases",),
    "discovery.k8s.io/v1": ("endpointslices",),
    "networking.k8s.io/v1": ("ingressclasses", "ingresses", "networkpolicies"),
    "policy/v1": ("poddisruptionbudgets",),
    "rbac.authorization.k8s.io/v1": (
        "clusterrolebindings",
        "clusterroles",
        "rolebindings",
        "roles",
    ),
    "scheduling.k8s.io/v1": ("priorityclasses",),
    "storage.k8s.io/v1": ("storageclasses",),
}
"""The resources that the sandbox serves, by API version."""

_REF = "#/components/schemas/"
_GVK = "x-kubernetes-group-version-kind"
_KEPT = frozenset(
    {
        "$ref",
        "additionalProperties",
        "allOf",
        "default",
        "enum",
        "format",
        "items",
        "oneOf",
        "properties",
        "required",
        "type",
    }
)
_GO_MODULES = {
    "io.k8s.api.": "k8s.io/api",
    "io.k8s.apimachinery.": "k8s.io/apimachinery",
    "io.k8s.apiextensions-apiserver.": "k8s.io/apiextensions-apiserver",
}
_EXTRA_ROOTS = (
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.policy.v1.Eviction",
    "io.k8s.api.authentication.v1.TokenRequest",
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
)


def collect_server_facts(client: ClusterClient) -> dict[str, Any]:
    """Ask a real API server: ``version``, ``resources`` and ``definitions``."""
    resources = list(_resources(client))
    definitions: dict[str, Any] = {}
    for api_version in SERVED:
        group = "apis" if "/" in api_version else "api"
        document = client.get(f"/openapi/v3/{group}/{api_version}")
        for name, schema in document["components"]["schemas"].items():
            # A definition is the same in every document but for the kinds that only one lists.
            facts: Any = _facts(schema)
            known = definitions.setdefault(name, facts)
            for kind in schema.get(_GVK, ()):
                if kind not in known.setdefault(_GVK, []):
                    known[_GVK].append(kind)
    roots = [name for name, schema in definitions.items() if _is_served(schema, resources)]
    reached = _reachable(definitions, [*roots, *_EXTRA_ROOTS])
    for schema in reached.values():
        schema[_GVK] = sorted(schema.get(_GVK, ()), key=lambda gvk: sorted(gvk.items()))
        if not schema[_GVK]:
            del schema[_GVK]
    return {
        "version": client.get("/version")["gitVersion"],
        "resources": resources,
        "definitions": reached,
    }


def _resources(client: ClusterClient) -> Iterable[dict[str, Any]]:
    for api_version, wanted in SERVED.items():
        group, _, version = api_version.rpartition("/")
        listed = client.get(f"/{'apis' if group else 'api'}/{api_version}")["resources"]
        for name in wanted:
            found = next(entry for entry in listed if entry["name"] == name)
            fact = {"group": group, "version": version, "plural": name, **_resource(found)}
            fact["subresources"] = [
                {"name": entry["name"].partition("/")[2], **_resource(entry)}
                for entry in listed
                if entry["name"].startswith(f"{name}/")
            ]
            yield fact


def _resource(entry: dict[str, Any]) -> dict[str, Any]:
    keys = (
        ("singular", "singularName"),
        ("kind", "kind"),
        ("namespaced", "namespaced"),
        ("verbs", "verbs"),
        ("shortNames", "shortNames"),
        ("categories", "categories"),
        ("responseGroup", "group"),
        ("responseVersion", "version"),
    )
    return {ours: entry[theirs] for ours, theirs in keys if entry.get(theirs) not in (None, "")}


def _is_served(schema: dict[str, Any], resources: list[dict[str, Any]]) -> bool:
    served = {(fact["group"], fact["version"], fact["kind"]) for fact in resources}
    kinds = {(gvk["group"], gvk["version"], gvk["kind"]) for gvk in schema.get(_GVK, ())}
    return bool(kinds & served)


def _facts(schema: Node, *, named: bool = False) -> Node:
    """Drop prose; ``named`` says that the keys are names of fields, not keywords."""
    if isinstance(schema, list):
        return [_facts(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if named:
        return {name: _facts(value) for name, value in schema.items()}
    return {
        key: _keyword_facts(key, value)
        for key, value in schema.items()
        if key in _KEPT or key.startswith("x-kubernetes-")
    }


def _keyword_facts(key: str, value: Node) -> Node:
    if key in {"default", "enum"} or key.startswith("x-kubernetes-"):
        return value
    return _facts(value, named=key == "properties")


def _reachable(definitions: dict[str, Any], roots: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = definitions[name]
            waiting.extend(_references(definitions[name]))
    return dict(sorted(found.items()))


def _references(schema: Node) -> Iterable[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from _references(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(_REF)
            else:
                yield from _references(value)


# ---------------------------------------------------------------------------- Go types

_STRUCT = re.compile(r"^type (\w+) struct \{$(.*?)^\}$", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^\t(?:(\w+)[ \t]+)?([*\[\]\w.]+)[ \t]+`(?:[^`]*\s)?json:\"([^\"]*)\"[^`]*`")


def collect_go_facts(definitions: Iterable[str], envtest: Path) -> dict[str, dict[str, str]]:
    """How each field of each definition is written to JSON, where OpenAPI does not tell.

    Args:
        definitions: Names of definitions.
        envtest: The Go module that pins Kubernetes.

    Returns:
        By definition and field: ``p`` a pointer, left out when nil; ``v`` a value, left out when
        zero; ``V`` a value that is always written; ``z`` a struct, left out when zero.
    """
    folders = {prefix: _module_folder(name, envtest) for prefix, name in _GO_MODULES.items()}
    packages: dict[Path, dict[str, str]] = {}
    found = {}
    for definition in definitions:
        prefix = next((prefix for prefix in folders if definition.startswith(prefix)), None)
        if prefix is None:
            continue
        *parts, name = definition.removeprefix(prefix).split(".")
        folder = folders[prefix].joinpath(*parts)
        bodies = packages.setdefault(folder, _structs(folder))
        if name in bodies:
            found[definition] = dict(sorted(_fields(bodies, name)))
    return found


def _module_folder(module: str, envtest: Path) -> Path:
    result = subprocess.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", module],
        cwd=envtest,
        env=inherited_environment("HOME", "PATH", "GOPATH", "GOMODCACHE", "GOFLAGS", "GOPROXY"),
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(result.stdout.strip())


def _structs(folder: Path) -> dict[str, str]:
    bodies = {}
    for source in sorted(folder.glob("*.go")):
        if not source.name.startswith("zz_") and not source.name.endswith("_test.go"):
            bodies.update(dict(_STRUCT.findall(source.read_text(encoding="utf-8"))))
    return bodies


def _fields(bodies: dict[str, str], name: str) -> Iterable[tuple[str, str]]:
    for line in bodies[name].splitlines():
        match = _FIELD.match(line)
        if match is None:
            continue
        _, type_, tag = match.groups()
        key, *options = tag.split(",")
        if key == "-":
            continue
        if not key:
            if type_ in bodies:
                yield from _fields(bodies, type_)
            continue
        yield key, _code(type_, options)


def _code(type_: str, options: list[str]) -> str:
    if "omitzero" in options:
        return "z"
    if "omitempty" not in options:
        return "V"
    return "p" if type_.startswith("*") else "v"
