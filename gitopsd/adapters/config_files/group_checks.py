"""Checks of groups of stages: who belongs to them, in which order, and what could never end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from gitopsd.adapters.config_files.problems import suggest
from gitopsd.domain.config import ApplicationSpec, Promotion, StageMode, StageSpec
from gitopsd.domain.groups import GroupSpec
from gitopsd.domain.releases import StageName
from gitopsd.errors import ConfigError


def find_group_problems(file: str, application: ApplicationSpec) -> Iterator[ConfigError]:
    """Find groups that nothing belongs to, orders that do not fit, and what could never end.

    That a stage waits for itself by way of an order is told where circles are looked for.
    """
    yield from _find_unknown_groups(file, application)
    names = Counter(group.name for group in application.groups)
    for number, group in enumerate(application.groups):
        place = f"spec.groups[{number}]"
        members = [stage for stage in application.stages if stage.group == group.name]
        if names[group.name] > 1:
            yield ConfigError(
                file=file,
                path=f"{place}.name",
                problem=f"there are {names[group.name]} groups {group.name}",
                remedy="Give each group a name of its own",
            )
        elif not members:
            yield ConfigError(
                file=file,
                path=f"{place}.name",
                problem=f"no stage belongs to group {group.name}",
                remedy=f"Write `group: {group.name}` in its stages, or remove the group",
            )
        else:
            yield from _find_order_problems(file, place, group, members)
            yield from _find_endless(file, place, group, members)
            yield from _find_other_lines(file, application, group, members)


def find_waves_before(application: ApplicationSpec) -> Mapping[StageName, frozenset[StageName]]:
    """Find for each stage the stages of earlier waves of its group, for which it waits."""
    before: dict[StageName, frozenset[StageName]] = {}
    for group in application.groups:
        earlier: frozenset[StageName] = frozenset()
        for wave in group.order:
            for name in wave:
                before.setdefault(name, earlier)
            earlier |= frozenset(wave)
    return before


def find_promotion_problems(file: str, place: str, stage: StageSpec) -> Iterator[ConfigError]:
    """Find a stage that follows what the stages before it run, and comes after none."""
    if stage.promotion is Promotion.UPSTREAM and not stage.after:
        yield ConfigError(
            file=file,
            path=f"{place}.promotion",
            problem=f"{stage.name} comes after no stage whose release it could follow",
            remedy="Write `after`, or `promotion: newest`",
        )


def _find_unknown_groups(file: str, application: ApplicationSpec) -> Iterator[ConfigError]:
    known = {group.name for group in application.groups}
    for number, stage in enumerate(application.stages):
        if stage.group and stage.group not in known:
            remedy = suggest(stage.group, known) if known else "Write it under `spec.groups`"
            yield ConfigError(
                file=file,
                path=f"spec.stages[{number}].group",
                problem=f"there is no group {stage.group!r}",
                remedy=remedy,
            )


def _find_order_problems(
    file: str, place: str, group: GroupSpec, members: list[StageSpec]
) -> Iterator[ConfigError]:
    names = {stage.name for stage in members}
    seen: set[StageName] = set()
    for number, wave in enumerate(group.order):
        for name in wave:
            if name not in names:
                problem = f"{name} is no stage of group {group.name}"
                remedy = f"Write `group: {group.name}` in that stage; {suggest(name, names)}"
            elif name in seen:
                problem, remedy = f"{name} is there already", "Name each stage once"
            else:
                seen.add(name)
                continue
            yield ConfigError(
                file=file, path=f"{place}.order[{number}]", problem=problem, remedy=remedy
            )
    missing = [stage.name for stage in members if stage.name not in seen]
    if group.order and missing:
        yield ConfigError(
            file=file,
            path=f"{place}.order",
            problem=f"it leaves out {', '.join(missing)}",
            remedy="Name every stage of the group; those that begin together in one list",
        )


def _find_endless(
    file: str, place: str, group: GroupSpec, members: list[StageSpec]
) -> Iterator[ConfigError]:
    if group.max_failures >= len(members):
        yield ConfigError(
            file=file,
            path=f"{place}.maxFailures",
            problem=f"{len(members)} stages cannot fail more than {group.max_failures} times",
            remedy=f"Write at most {len(members) - 1}",
        )
    for stage in members:
        if stage.mode is StageMode.OBSERVE:
            yield ConfigError(
                file=file,
                path=place,
                problem=f"{stage.name} only observes, so that no release is ever verified there",
                remedy=f"Remove `group` from {stage.name}, or `mode: observe`",
            )


def _find_other_lines(
    file: str, application: ApplicationSpec, group: GroupSpec, members: list[StageSpec]
) -> Iterator[ConfigError]:
    first = application.ref_of(members[0])
    for number, stage in enumerate(application.stages):
        if stage.group == group.name and application.ref_of(stage) != first:
            yield ConfigError(
                file=file,
                path=f"spec.stages[{number}].group",
                problem=f"{stage.name} and {members[0].name} get their releases from other refs",
                remedy="A group is for stages that one release goes to: make two groups",
            )
