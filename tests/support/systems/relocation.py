"""Moves a working copy's images to a registry of the user's, for nodes that run real programs.

Two things change in what is rendered: image names, and what only the real images understand. A
stand-in has one program, so commands and arguments of containers are left out, and commands of
probes and hooks become ``true``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped] # comes with another package, without types

from gitopsd.sandbox.image_reference import parse_reference
from tests.support.kustomize_oracle import run_kubectl, write_checkout

if TYPE_CHECKING:
    from tests.support.systems.working_copy import Files

Object = dict[str, Any]

_TEMPLATE = ("spec", "template", "spec")
_TEMPLATES = {
    "Deployment": _TEMPLATE,
    "StatefulSet": _TEMPLATE,
    "DaemonSet": _TEMPLATE,
    "Job": _TEMPLATE,
    "CronJob": ("spec", "jobTemplate", *_TEMPLATE),
}
_EXECUTED = (
    *((probe, "exec") for probe in ("startupProbe", "readinessProbe", "livenessProbe")),
    *(("lifecycle", hook, "exec") for hook in ("postStart", "preStop")),
)


@dataclass(frozen=True, slots=True)
class Relocation:
    """Where images go.

    Attributes:
        host: What image names begin with there.
        overlays: The overlays that are released.
        images: Image names, as manifests have them.
    """

    host: str
    overlays: tuple[str, ...]
    images: tuple[str, ...]

    @property
    def original(self) -> dict[str, str]:
        """Name in the manifests by name there."""
        return {self._moved(name): name for name in self.images}

    def _moved(self, name: str) -> str:
        return f"{self.host}/{parse_reference(name).path}"

    def finish(self, files: Files) -> Files:
        """Return the files with the overlays changed."""
        finished = dict(files)
        with TemporaryDirectory() as directory:
            write_checkout(Path(directory), files)
            for overlay in self.overlays:
                name = f"{overlay}/kustomization.yaml"
                patches = _list_patches(run_kubectl(Path(directory) / overlay))
                finished[name] = self._finish(files[name], list(patches))
        return finished

    def _finish(self, kustomization: str, patches: list[Object]) -> str:
        document = yaml.safe_load(kustomization)
        moved = [{"name": name, "newName": self._moved(name)} for name in self.images]
        document["images"] = [*document.get("images", []), *moved]
        document["patches"] = [*document.get("patches", []), *patches]
        comments = [line for line in kustomization.splitlines() if line.startswith("#")]
        written = yaml.safe_dump(document, sort_keys=False)
        return "\n".join([written, *comments, ""])


def _list_patches(objects: list[Object]) -> Iterator[Object]:
    """Patches that make every container run its image's own program."""
    for one in objects:
        template = _TEMPLATES.get(one["kind"])
        if template is None:
            continue
        operations = list(_list_operations(one, template))
        if operations:
            target = {"kind": one["kind"], "name": one["metadata"]["name"]}
            yield {"target": target, "patch": json.dumps(operations)}


def _list_operations(one: Object, template: tuple[str, ...]) -> Iterator[Object]:
    spec = one
    for part in template:
        spec = spec[part]
    for group in ("initContainers", "containers"):
        for number, container in enumerate(spec.get(group, [])):
            place = "/".join(("", *template, group, str(number)))
            for key in ("command", "args"):
                if key in container:
                    yield {"op": "remove", "path": f"{place}/{key}"}
            for path in _EXECUTED:
                found = container
                for part in path:
                    found = found.get(part, {})
                if found:
                    where = "/".join((place, *path, "command"))
                    yield {"op": "replace", "path": where, "value": ["true"]}
