"""What kustomize itself makes of an overlay, found without any code of gitopsd's renderer.

A checkout on disk, an overlay of our own around the one asked about that adds labels and image
digests in kustomize's words, the pinned kubectl, and PyYAML (in C) to read its output.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # comes with another package, without types

from tests.support.rendering import find_kubectl
from tests.support.repositories import Files

_MANAGED_BY = "app.kubernetes.io/managed-by"


class _Loader(yaml.CSafeLoader):  # type: ignore[misc] # the base has no types
    """YAML as Kubernetes means it: dates and ``=`` are strings."""


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if not pair[0].endswith((":timestamp", ":value"))]
    for first, pairs in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}

# JSON writes small numbers without a dot, which PyYAML alone takes for text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"-?[0-9]+(\.[0-9]+)?e[+-]?[0-9]+$"), list("-0123456789")
)


def write_checkout(directory: Path, files: Files) -> None:
    """Write files to disk as a checkout would."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(content, str | bytes)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def run_kubectl(directory: Path) -> list[dict[str, Any]]:
    """Run the pinned kubectl's kustomize and read what it writes."""
    done = subprocess.run(
        [str(find_kubectl()), "kustomize", str(directory)],
        capture_output=True,
        check=True,
        env={"PATH": os.defpath, "HOME": str(directory), "KUBERC": "off"},
    )
    return [document for document in yaml.load_all(done.stdout, Loader=_Loader) if document]


def build(
    directory: Path,
    overlay: str,
    *,
    labels: Mapping[str, str],
    pins: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Build an overlay with labels and pins.

    Args:
        directory: Checkout, as `write_checkout` made it.
        overlay: Overlay in it.
        labels: Labels for every object.
        pins: Image reference as written -> digest.
    """
    outer = directory.parent / f"{directory.name}-outer"
    outer.mkdir()
    inner = os.path.relpath(directory / overlay, outer)
    wrapping = {
        "resources": [inner],
        "labels": [{"pairs": dict(labels), "includeSelectors": False}],
        "images": [_pin(reference, digest) for reference, digest in pins.items()],
    }
    (outer / "kustomization.yaml").write_text(json.dumps(wrapping), encoding="utf-8")
    objects = run_kubectl(outer)
    for obj in objects:
        obj["metadata"]["labels"].setdefault(_MANAGED_BY, "gitopsd")
    return objects


def _pin(reference: str, digest: str) -> dict[str, str]:
    name, colon, tag = reference.rpartition(":")
    if not colon or "/" in tag:
        return {"name": reference, "digest": digest}
    return {"name": name, "newTag": tag, "digest": digest}


def find_images(value: object) -> Iterator[str]:
    """List the images of pod specs, by the names their fields have."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("containers", "initContainers") and isinstance(inner, list):
                yield from (item["image"] for item in inner if "image" in item)
            if key == "volumes":
                yield from (item["image"]["reference"] for item in inner if "image" in item)
            yield from find_images(inner)
    elif isinstance(value, list):
        for item in value:
            yield from find_images(item)


def canonical(objects: Iterable[object]) -> list[str]:
    """Spell objects so that sets can be compared, whatever their order."""
    return sorted(json.dumps(obj, sort_keys=True) for obj in objects)
