"""What clients ask first: the groups, versions and kinds there are, in both forms of discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.served import ServedResources
    from gitopsd.sandbox.objects.resources import Resource, Subresource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# The release whose behaviour the sandbox follows.
VERSION: JsonObject = {
    "major": "1",
    "minor": "37",
    "emulationMajor": "1",
    "emulationMinor": "37",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "36",
    "gitVersion": "v1.37.1+gitopsd-sandbox",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}


def describe_core_versions(address: str) -> JsonObject:
    """``/api`` for clients that do not know the aggregated form."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def describe_groups(served: ServedResources) -> JsonObject:
    """``/apis`` for clients that do not know the aggregated form."""
    groups: list[Json] = [_group(name, versions) for name, versions in served.groups() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def describe_group(served: ServedResources, group: str) -> JsonObject | None:
    """``/apis/{group}``; None where there is no such group."""
    for name, versions in served.groups():
        if name and name == group:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}
    return None


def describe_version(served: ServedResources, group: str, version: str) -> JsonObject | None:
    """``/api/v1`` and ``/apis/{group}/{version}``; None where there is no such version."""
    resources: list[Json] = []
    for item in served.of_version(group, version):
        resources.append(_resource(item))
        resources.extend(_part(item, part) for part in item.subresources)
    if not resources:
        return None
    named = f"{group}/{version}" if group else version
    listed: dict[str, Json] = {"kind": "APIResourceList"}
    if group:
        listed["apiVersion"] = "v1"
    return {**listed, "groupVersion": named, "resources": resources}


def describe_everything(served: ServedResources, *, core: bool) -> JsonObject:
    """The aggregated form: every group with its versions and kinds in one answer.

    Args:
        served: What is served.
        core: The core group, as ``/api`` answers; otherwise all others, as ``/apis`` answers.
    """
    items: list[Json] = []
    for name, versions in served.groups():
        if core is not (not name):
            continue
        described: list[Json] = [
            {
                "version": version,
                "resources": [_aggregated(item) for item in served.of_version(name, version)],
                "freshness": "Current",
            }
            for version in versions
        ]
        items.append({"metadata": {"name": name} if name else {}, "versions": described})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _group(name: str, versions: tuple[str, ...]) -> JsonObject:
    described: list[Json] = [
        {"groupVersion": f"{name}/{version}", "version": version} for version in versions
    ]
    return {"name": name, "versions": described, "preferredVersion": described[0]}


def _resource(item: Resource) -> JsonObject:
    described: dict[str, Json] = {
        "name": item.plural,
        "singularName": item.singular,
        "namespaced": item.namespaced,
        "kind": item.kind,
        "verbs": list(item.verbs),
    }
    if item.short_names:
        described["shortNames"] = list(item.short_names)
    if item.categories:
        described["categories"] = list(item.categories)
    return described


def _part(item: Resource, part: Subresource) -> JsonObject:
    described: dict[str, Json] = {
        "name": f"{item.plural}/{part.name}",
        "singularName": "",
        "namespaced": item.namespaced,
        "kind": part.kind,
        "verbs": list(part.verbs),
    }
    if (part.group, part.version) != (item.group, item.version):
        described |= {"group": part.group, "version": part.version}
    return described


def _aggregated(item: Resource) -> JsonObject:
    described: dict[str, Json] = {
        "resource": item.plural,
        "responseKind": _response_kind(item.group, item.version, item.kind),
        "scope": "Namespaced" if item.namespaced else "Cluster",
        "singularResource": item.singular,
        "verbs": list(item.verbs),
    }
    if item.short_names:
        described["shortNames"] = list(item.short_names)
    if item.categories:
        described["categories"] = list(item.categories)
    parts: list[Json] = [
        {
            "subresource": part.name,
            "responseKind": _response_kind(part.group, part.version, part.kind),
            "verbs": list(part.verbs),
        }
        for part in item.subresources
    ]
    if parts:
        described["subresources"] = parts
    return described


def _response_kind(group: str, version: str, name: str) -> JsonObject:
    return {"group": group, "version": version, "kind": name}
