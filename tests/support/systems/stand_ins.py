"""Stand-ins for a system's images: built from its story, pushed under the names it uses."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from gitopsd.sandbox.image_reference import parse_reference
from tests.support.kustomize_oracle import find_images, run_kubectl
from tests.support.systems.story import VERSION, Behaviour, Scenario, SystemStory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from tests.support.images import Image

Object = dict[str, Any]


class ImagePlace(Protocol):
    """A registry, as far as stand-ins need it."""

    @property
    def url(self) -> str:
        """Its base URL."""
        ...

    def push(self, image: Image, name: str) -> object:
        """Push an image under ``path:tag``."""
        ...


@dataclass(slots=True)
class StandIns:
    """What was pushed for one system.

    Attributes:
        story: Whose images.
        registry: Where they go; it stands in for every registry that manifests name.
        original: An image's name in the story, by its name in the working copy, where these differ.
        build: Makes an image of a version and a behaviour.
        digests: Digest by reference as written; of references that were left out on purpose too.
    """

    story: SystemStory
    registry: ImagePlace
    original: Mapping[str, str]
    build: Callable[..., Image]
    digests: dict[str, str] = field(default_factory=dict)

    def push_new(self, rendered: Mapping[str, list[Object]], scenario: Scenario) -> None:
        """Push every image of rendered overlays that is not known yet.

        Args:
            rendered: Objects by stage.
            scenario: Says how new ones behave and which are missing.
        """
        for reference in sorted({one for it in rendered.values() for one in find_images(it)}):
            if reference not in self.digests:
                self._push(reference, scenario)

    def _push(self, reference: str, scenario: Scenario) -> None:
        found = parse_reference(reference)
        name = self._named(reference)
        behaviour = scenario.images.get(name, self.story.images.get(name))
        if behaviour is None:
            message = f"the story of {self.story.name} has no image {name}"
            raise LookupError(message)
        image = self.build(version=found.tag, behaviour=_filled(behaviour, found.tag))
        self.digests[reference] = image.digest
        if name not in scenario.missing:
            self.registry.push(image, f"{found.path}:{found.tag}")

    def _named(self, reference: str) -> str:
        name = name_of(reference)
        return self.original.get(name, name)

    def digest_of(self, name: str, objects: list[Object]) -> str:
        """The digest that an image has in a rendered overlay."""
        found = {one for one in find_images(objects) if self._named(one) == name}
        if len(found) != 1:
            message = f"{name}: rendered as {sorted(found)}"
            raise LookupError(message)
        return self.digests[found.pop()]


def name_of(reference: str) -> str:
    """An image's name as manifests write it, without tag and digest."""
    found = parse_reference(reference)
    rest = reference.partition("@")[0]
    return rest.removesuffix(f":{found.tag}")


def _filled(behaviour: Behaviour, version: str) -> Behaviour:
    filled: Behaviour = json.loads(json.dumps(behaviour).replace(VERSION, version))
    return filled


def list_hosts(objects: Iterable[Object]) -> set[str]:
    """The registries that rendered objects name."""
    return {parse_reference(reference).host for reference in find_images(list(objects))}


def render(directory: Path, overlay: str) -> list[Object]:
    """What kustomize makes of an overlay of a working copy."""
    return run_kubectl(directory / overlay)
