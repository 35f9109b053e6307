"""Whether live objects hold what was rendered: leaf by leaf, and rolled out.

Rendered by kubectl, read from the API server; nobody asks gitopsd. Live objects may say more:
defaults, what controllers write, what gitopsd adds. What they say otherwise is a complaint.
"""

from __future__ import annotations

import base64
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from gitopsd.sandbox.image_reference import parse_reference
from tests.support.systems.object_sets import is_hook, key_of, scaled, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gitopsd.domain.manifests import Json
    from tests.support.systems.object_sets import Object

_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti|)")
_OF_QUANTITIES: Final = re.compile(r"\.(resources|sizeLimit|averageValue|divisor)\b")
_FACTORS: Final = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    **{unit: Decimal(1000) ** (power + 1) for power, unit in enumerate("kMGT")},
    **{f"{unit}i": Decimal(1024) ** (power + 1) for power, unit in enumerate("KMGT")},
}
_ROLLED_OUT: Final = ("Deployment", "StatefulSet")
_COUNTED: Final = ("replicas", "updatedReplicas", "availableReplicas")


def lacks(
    rendered: Iterable[Object], live: Iterable[Object], digests: Mapping[str, str]
) -> list[str]:
    """Tell what live objects lack of what was rendered, and which are not rolled out.

    Args:
        rendered: What kustomize made; hooks are left out.
        live: The objects that there are.
        digests: An image's digest, by its reference as rendered.
    """
    wanted = [one for one in rendered if not is_hook(one)]
    there = {key_of(one): one for one in live}
    free = scaled(wanted)
    said = []
    for one in wanted:
        key = key_of(one)
        found = there.get(key)
        if found is None:
            said.append(f"{shown(key)} is not there")
            continue
        promised = _without_replicas(one) if key in free else one
        leaves = _missing(_stored(promised), found, "", digests)
        said += [f"{shown(key)}: {leaf}" for leaf in leaves]
        if key not in free:
            said += _behind(found)
    return said


def behind(rendered: Iterable[Object], live: Iterable[Object]) -> list[str]:
    """Tell which workloads that an autoscaler scales are not rolled out.

    It may have asked for more of them just now, so these get a moment.
    """
    free = scaled(rendered)
    return [late for one in live if key_of(one) in free for late in _behind(one)]


def _without_replicas(one: Object) -> Object:
    spec = {name: value for name, value in one["spec"].items() if name != "replicas"}
    return {**one, "spec": spec}


def _stored(one: Object) -> Object:
    """An object as an API server keeps it: a Secret's texts are encoded."""
    if one["kind"] != "Secret" or "stringData" not in one:
        return one
    texts = {
        name: base64.b64encode(str(text).encode()).decode()
        for name, text in one["stringData"].items()
    }
    kept = {name: value for name, value in one.items() if name != "stringData"}
    return {**kept, "data": {**one.get("data", {}), **texts}}


def _behind(found: Object) -> list[str]:
    """What a workload's controller has not done yet."""
    if found["kind"] not in _ROLLED_OUT:
        return []
    name, status = shown(key_of(found)), found.get("status", {})
    generation, wanted = found["metadata"]["generation"], found["spec"].get("replicas", 1)
    said = [
        f"{name}: {field} is {status.get(field, 0)}, not {wanted}"
        for field in _COUNTED
        if status.get(field, 0) != wanted
    ]
    if status.get("observedGeneration", 0) < generation:
        said.append(f"{name}: generation {generation} is not observed")
    return said


def _missing(wanted: Json, found: object, path: str, digests: Mapping[str, str]) -> Iterator[str]:
    """Leaves that are not there as they were rendered."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name, value in wanted.items():
            below = f"{path}.{name}"
            if name == "image" and isinstance(value, str) and value in digests:
                yield from _other_image(value, found.get(name), below, digests[value])
            elif name in found:
                yield from _missing(value, found[name], below, digests)
            elif not _says_nothing(value):
                yield f"{below} is not there"
    elif isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            yield f"{path} has {len(found)} items, not {len(wanted)}"
            return
        for place, (value, there) in enumerate(zip(wanted, found, strict=True)):
            yield from _missing(value, there, f"{path}[{place}]", digests)
    elif not _same(wanted, found, path):
        yield f"{path} is {found!r}, not {wanted!r}"


def _other_image(reference: str, found: object, path: str, digest: str) -> Iterator[str]:
    text = str(found)
    named, _, there = text.partition("@")
    ours, theirs = parse_reference(reference), parse_reference(named)
    if (theirs.host, theirs.path, there) != (ours.host, ours.path, digest):
        yield f"{path} is {text}, not {reference} with {digest}"


def _says_nothing(value: Json) -> bool:
    """Whether a value is as good as none, so that an API server may leave it out."""
    if isinstance(value, dict):
        return all(_says_nothing(one) for one in value.values())
    return value in (None, "", 0, False, [])


def _same(wanted: Json, found: object, path: str) -> bool:
    if wanted == found and isinstance(wanted, bool) == isinstance(found, bool):
        return True
    if not _OF_QUANTITIES.search(path):
        return False
    ours, theirs = _quantity(wanted), _quantity(found)
    return ours is not None and ours == theirs


def _quantity(value: object) -> Decimal | None:
    """An amount of a resource; API servers spell it in their own way."""
    parts = _QUANTITY.fullmatch(str(value))
    return Decimal(parts[1]) * _FACTORS[parts[2]] if parts else None
