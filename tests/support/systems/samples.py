"""Small releases for tests of the judge: objects as kustomize renders them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.systems.object_sets import Object

IMAGE, DIGEST = "registry.example/shop/web:1.0", f"sha256:{'1' * 64}"
OTHER = f"sha256:{'2' * 64}"
DIGESTS = {IMAGE: DIGEST}
FIRST = ("spec", "template", "spec", "containers", 0)
"""Where the Deployment's container is."""


def config(name: str, **data: str) -> Object:
    """A ConfigMap as it is rendered."""
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def workload(*, replicas: int = 0) -> Object:
    """A Deployment as it is rendered."""
    container = {
        "name": "web",
        "image": IMAGE,
        "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
        "env": [{"name": "MODE", "value": "fast"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [container], "hostNetwork": False, "volumes": []},
            },
        },
    }


def job(name: str) -> Object:
    """A hook as it is rendered."""
    hook = {"argocd.argoproj.io/hook": "PreSync"}
    metadata = {"name": name, "namespace": "shop", "annotations": hook}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}}


def with_value(one: Object, *path: str | int, value: object) -> Object:
    """A copy of an object with another value somewhere."""
    changed = copy.deepcopy(one)
    place: Any = changed
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return changed
