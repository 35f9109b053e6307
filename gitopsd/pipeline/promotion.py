"""Which stage feeds which: entry, upstream and downstream stages, and whether that is an order."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gitopsd.domain.config import ApplicationSpec, Promotion, StageSpec
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


def find_missing(spec: StageSpec, found: Container[StageName]) -> tuple[StageName, ...]:
    """List the stages before a stage where something is missing; none when enough have it.

    Args:
        spec: The stage: it comes after all of them, or after any of them.
        found: Those that have it; a missing fact counts as not.
    """
    missing = tuple(name for name in spec.after if name not in found)
    return () if spec.after_any and len(missing) < len(spec.after) else missing


def name_missing(spec: StageSpec, missing: Iterable[StageName]) -> str:
    """Name stages before a stage in a sentence; empty for none."""
    return (" or " if spec.after_any else ", ").join(missing)


def missing_upstream(
    spec: StageSpec, release: ReleaseId, upstream: Mapping[str, AbstractSet[ReleaseId]]
) -> tuple[StageName, ...]:
    """List the stages before where a release is not verified; none when it is in enough."""
    return find_missing(
        spec, {name for name in spec.after if release in upstream.get(name, frozenset())}
    )


def not_running(
    spec: StageSpec, release: ReleaseId, running: Mapping[str, ReleaseId | None]
) -> str:
    """Say why a stage that follows those before it does not take a release; empty when it does."""
    if spec.promotion is not Promotion.UPSTREAM:
        return ""
    missing = find_missing(spec, {name for name in spec.after if running.get(name) == release})
    if not missing:
        return ""
    now = ", ".join(f"{name} runs {running.get(name) or 'nothing verified'}" for name in spec.after)
    return f"it follows what {name_missing(spec, missing)} runs now: {now}"


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
