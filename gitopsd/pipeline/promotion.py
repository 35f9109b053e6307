"""Which stage feeds which: entry, upstream and downstream stages, and whether that is an order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gitopsd.domain.config import ApplicationSpec, StageSpec
from gitopsd.domain.gate_specs import SoakGate
from gitopsd.domain.releases import ReleaseId, StageName


@dataclass(frozen=True, slots=True)
class OrderProblem:
    """Why the stages of an application cannot be put in order.

    Attributes:
        path: Dotted path in the file, e.g. ``spec.stages[1].after[0]``.
        problem: What is wrong.
        remedy: What to write instead.
    """

    path: str
    problem: str
    remedy: str


def is_entry(spec: StageSpec) -> bool:
    """Tell whether releases come to the stage from its line, not from another stage."""
    return not spec.after


def downstream_of(spec: ApplicationSpec, stage: StageName) -> tuple[StageName, ...]:
    """List the stages that a verification in ``stage`` makes releases eligible for, in file order.

    Only those directly after it: what comes later asks for their verification, not for this one.
    """
    return tuple(other.name for other in spec.stages if stage in other.after)


def waiting_for(spec: ApplicationSpec, stage: StageName) -> tuple[StageName, ...]:
    """List the stages whose gates may open when ``stage`` verifies something, in file order.

    Beside those after it, the ones that follow a line of their own and ask it for their images.
    """
    return tuple(
        other.name
        for other in spec.stages
        if stage in other.after or (other.upstream is not None and other.upstream.stage == stage)
    )


def judging(spec: ApplicationSpec, stages: Iterable[StageName]) -> tuple[StageName, ...]:
    """List the stages whose quarantines keep images out of a line that feeds ``stages``.

    Those it feeds, and the ones that these ask for verified images: what failed there would only
    stand at their gates.
    """
    found: dict[StageName, None] = {}
    for name in stages:
        found[name] = None
        stage = spec.stage(name)
        if stage is not None and stage.upstream is not None:
            found[stage.upstream.stage] = None
    return tuple(found)


def missing_upstream(
    after: Iterable[StageName], release: ReleaseId, upstream: Mapping[str, AbstractSet[ReleaseId]]
) -> tuple[StageName, ...]:
    """List the upstream stages where a release is not verified; a missing fact counts as not."""
    return tuple(name for name in after if release not in upstream.get(name, frozenset()))


def check_order(spec: ApplicationSpec) -> tuple[OrderProblem, ...]:
    """Find everything that makes promotion between the stages impossible, in file order."""
    problems: list[OrderProblem] = []
    known = [stage.name for stage in spec.stages]
    for number, stage in enumerate(spec.stages):
        where = f"spec.stages[{number}]"
        if stage.name in known[:number]:
            problems.append(
                OrderProblem(
                    f"{where}.name",
                    f"there is a stage {stage.name} already",
                    "give each stage a name of its own",
                )
            )
        if stage.after and stage.ref is not None:
            problems.append(
                OrderProblem(
                    f"{where}.after",
                    f"{stage.name} follows a ref of its own and other stages as well",
                    "remove after, or branch and tags",
                )
            )
        problems += _unknown(stage, where, known)
        problems += _soaks(spec, stage, where)
    return (*problems, *_cycles(spec))


def _unknown(stage: StageSpec, where: str, known: list[StageName]) -> list[OrderProblem]:
    choice = ", ".join(name for name in known if name != stage.name) or "no other stage"
    return [
        OrderProblem(
            f"{where}.after[{number}]",
            f"there is no stage {name}",
            f"there is: {choice}",
        )
        for number, name in enumerate(stage.after)
        if name not in known
    ]


def _soaks(spec: ApplicationSpec, stage: StageSpec, where: str) -> list[OrderProblem]:
    upstream = _all_upstream(spec, stage.name)
    return [
        OrderProblem(
            f"{where}.gates[{number}].soak.stage",
            f"{gate.stage} does not come before {stage.name}",
            f"name a stage that does: {', '.join(sorted(upstream)) or 'add one with after'}",
        )
        for number, gate in enumerate(stage.gates)
        if isinstance(gate, SoakGate) and gate.stage not in upstream
    ]


def _all_upstream(spec: ApplicationSpec, stage: StageName) -> set[StageName]:
    after = {other.name: other.after for other in spec.stages}
    found: set[StageName] = set()
    waiting = list(after.get(stage, ()))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += after.get(name, ())
    return found


def _cycles(spec: ApplicationSpec) -> list[OrderProblem]:
    """Name each stage that comes, by way of others or directly, before itself."""
    return [
        OrderProblem(
            f"spec.stages[{number}].after",
            f"{stage.name} comes after itself",
            f"remove the way from {stage.name} back to it: {', '.join(stage.after)}",
        )
        for number, stage in enumerate(spec.stages)
        if stage.name in _all_upstream(spec, stage.name)
    ]
