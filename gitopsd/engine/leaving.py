"""Leaves objects alone that need no apply: many of one collection are looked at as one list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gitopsd.cluster_ports import ApiRefusal
from gitopsd.domain.manifests import JsonObject
from gitopsd.engine.applying import Sent, Writer
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.placing import Placed
from gitopsd.kube.objects import name_of

LISTED = 16
"""From so many objects of one collection on, a list costs the server less than they do."""


def group_looks(items: Iterable[Placed]) -> list[tuple[Placed, ...]]:
    """Group objects by collection; where they are few, each is a group of its own."""
    collections: dict[tuple[str, str, str], list[Placed]] = {}
    for item in items:
        key = item.ref.key
        collections.setdefault((item.ref.api_version, key.kind, key.namespace), []).append(item)
    groups: list[tuple[Placed, ...]] = []
    for found in collections.values():
        few = len(found) < LISTED
        groups += [(item,) for item in found] if few else [tuple(found)]
    return groups


async def leave_group(writer: Writer, items: Sequence[Placed]) -> list[Sent]:
    """Leave the objects of a group alone whose bytes and live version are those of the dry-run.

    Whoever may not list them looks at each. Safe to repeat: it only looks.

    Returns:
        Those that are clean after all.

    Raises:
        TemporaryError: The cluster did not answer.
    """
    listed = await _list(writer, items) if len(items) > 1 else None

    async def leave(item: Placed) -> Sent | None:
        live = listed.get(item.ref.key.name) if listed is not None else None
        gone = listed is not None and live is None
        return None if gone else await writer.leave(item, live)

    return [found for found in await run_all(items, leave) if found is not None]


async def _list(writer: Writer, items: Sequence[Placed]) -> Mapping[str, JsonObject] | None:
    """Read the stage's objects of one collection, as they are now; None where that is refused."""
    ref = items[0].ref
    ours = ",".join(f"{label}={value}" for label, value in writer.context.labels.items())
    found = await writer.cluster.fetch_list(
        ref.api_version, ref.key.kind, ref.key.namespace, label_selector=ours
    )
    return None if isinstance(found, ApiRefusal) else {name_of(live): live for live in found}
