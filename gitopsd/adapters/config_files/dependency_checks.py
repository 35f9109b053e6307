"""Checks of gates that ask another application's stage: it must be there, and no circle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from gitopsd.adapters.config_files.group_checks import find_waves_before
from gitopsd.adapters.config_files.problems import suggest
from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.dependencies import DependencyGate
from gitopsd.domain.releases import ApplicationName, StageKey
from gitopsd.errors import ConfigError


def find_dependency_problems(
    file: str,
    application: ApplicationSpec,
    applications: Mapping[ApplicationName, ApplicationSpec],
    *,
    complete: bool,
) -> Iterator[ConfigError]:
    """Find gates that can never open, because what they ask for is not there or waits for them.

    Args:
        file: File of the application.
        application: The application.
        applications: All of them.
        complete: Whether every application file could be read; what one of the others would
            define is not missed.
    """
    if not any(
        isinstance(gate, DependencyGate) for one in application.stages for gate in one.gates
    ):
        return  # most ask for nothing, and what everybody waits for takes time to find
    before = _find_edges(applications.values())
    for number, stage in enumerate(application.stages):
        for index, gate in enumerate(stage.gates):
            if not isinstance(gate, DependencyGate):
                continue
            path = f"spec.stages[{number}].gates[{index}].dependency"
            if gate.on.application == application.name:
                yield ConfigError(
                    file=file,
                    path=f"{path}.application",
                    problem="a dependency is on another application",
                    remedy="For a stage of this one write `after`, `upstream` or a soak gate",
                )
                continue
            known = applications.get(gate.on.application)
            if known is None and complete:
                yield ConfigError(
                    file=file,
                    path=f"{path}.application",
                    problem=f"there is no application {gate.on.application!r}",
                    remedy=suggest(gate.on.application, set(applications) - {application.name}),
                )
            elif known is not None and known.stage(gate.on.stage) is None:
                yield ConfigError(
                    file=file,
                    path=f"{path}.stage",
                    problem=f"{gate.on.application} has no stage {gate.on.stage!r}",
                    remedy=suggest(gate.on.stage, (one.name for one in known.stages)),
                )
            key = StageKey(application.name, stage.name)
            circle = _find_path(gate.on, key, before)
            if circle:
                around = ", ".join(f"{one} waits for {two}" for one, two in _pairs(key, *circle))
                yield ConfigError(
                    file=file,
                    path=path,
                    problem=f"{key} waits for itself: {around}",
                    remedy="Remove one of these",
                )


def _find_edges(applications: Iterable[ApplicationSpec]) -> Mapping[StageKey, Sequence[StageKey]]:
    """Find what each stage waits for directly: stages before it, and those its gates ask."""
    edges: dict[StageKey, list[StageKey]] = {}
    for application in applications:
        waves = find_waves_before(application)
        for stage in application.stages:
            earlier = sorted(waves.get(stage.name, ()))
            own = [
                *stage.after,
                *earlier,
                *((stage.upstream.stage,) if stage.upstream is not None else ()),
            ]
            asked = [gate.on for gate in stage.gates if isinstance(gate, DependencyGate)]
            edges[StageKey(application.name, stage.name)] = [
                *(StageKey(application.name, name) for name in own),
                *asked,
            ]
    return edges


def _find_path(
    begin: StageKey, end: StageKey, edges: Mapping[StageKey, Sequence[StageKey]]
) -> tuple[StageKey, ...]:
    """Find the shortest way from one stage to another; empty when there is none."""
    came: dict[StageKey, StageKey | None] = {begin: None}
    queue = [begin]
    for current in queue:
        if current == end:
            way, back = [current], came[current]
            while back is not None:
                way.append(back)
                back = came[back]
            return tuple(reversed(way))
        for following in edges.get(current, ()):
            if following not in came:
                came[following] = current
                queue.append(following)
    return ()


def _pairs(*keys: StageKey) -> Iterator[tuple[StageKey, StageKey]]:
    yield from pairwise(keys)
