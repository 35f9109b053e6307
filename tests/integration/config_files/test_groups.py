"""Groups of stages, several stages before one, and what comes by itself, in application files."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped] # comes with another package, without types

from gitopsd.adapters.config_files.live import LoadResult, load_configuration
from gitopsd.domain.config import ApplicationSpec, Promotion
from gitopsd.domain.gate_specs import ApprovalGate, SoakGate
from gitopsd.domain.groups import GroupSpec, OnFailure
from gitopsd.domain.releases import ApplicationName, ReleaseId, StageKey, StageName
from gitopsd.domain.runs import Failure, Phase, Run, RunKind, Step
from gitopsd.pipeline.groups import GroupFacts, MemberFacts, say_stopped
from tests.support.configuration import CLUSTER, write_files
from tests.support.runs import run_at

HEAD = """\
apiVersion: gitopsd.io/v1
kind: Application
metadata: {name: shop}
spec:
  source: {repoURL: https://git.example/shop.git, branch: main}
"""
FILE = "applications/shop.yaml"


def stage(name: str, rest: str = "") -> str:
    """One entry of the stages."""
    more = f", {rest}" if rest else ""
    return f"    - {{name: {name}, cluster: one, path: o/{name}, namespace: {name}{more}}}\n"


MEMBERS = "".join(
    stage(name, "group: world, after: [staging]") for name in ("canary", "eu", "us", "asia")
)


def load(folder: Path, stages: str, groups: str = "") -> LoadResult:
    """Load one application."""
    text = f"{HEAD}  stages:\n{stages}"
    if groups:
        text += f"  groups:\n    - {groups}\n"
    files = {FILE: text, "clusters/one.yaml": CLUSTER.replace("NAME", "one")}
    return load_configuration(write_files(folder, files))


def read(folder: Path, stages: str, groups: str = "") -> ApplicationSpec:
    """Load a valid application."""
    result = load(folder, stages, groups)
    assert [str(error) for error in result.errors] == []
    return result.configuration.applications[ApplicationName("shop")]


def said(result: LoadResult) -> list[tuple[str, str, str]]:
    """Where something is wrong, what, and what to do."""
    return [(error.path, error.problem, error.remedy) for error in result.errors]


def names(*stages: str) -> tuple[StageName, ...]:
    """Names of stages."""
    return tuple(map(StageName, stages))


def test_a_group_is_read(tmp_path: Path) -> None:
    """Waves of one stage or several; its approval stands behind each stage's own gates."""
    spec = read(
        tmp_path,
        stage("staging")
        + MEMBERS.replace("[staging]}", "[staging], gates: [{soak: S}]}", 1).replace(
            "soak: S", "soak: {stage: staging, for: 5m}"
        ),
        "{name: world, order: [canary, [eu, us], asia], maxFailures: 2, onFailure: rollbackAll, "
        'approval: {from: ["group:leads"], count: 2}}',
    )
    approval = ApprovalGate(("group:leads",), 2)
    waves = (names("canary"), names("eu", "us"), names("asia"))
    group = GroupSpec("world", waves, 2, OnFailure.ROLLBACK_ALL, approval)
    assert spec.groups == (group,)
    assert spec.waves_of(group) == waves
    soak = SoakGate(StageName("staging"), timedelta(minutes=5))
    assert [one.gates for one in spec.stages] == [(), (soak, approval), *[(approval,)] * 3]
    assert [one.group for one in spec.stages] == ["", *["world"] * 4]
    assert spec.group_of(spec.stages[1]) == group
    assert spec.group_of(spec.stages[0]) is None


def test_a_group_without_an_order_is_one_wave(tmp_path: Path) -> None:
    """It allows no failure, holds, and asks nobody, unless it says otherwise."""
    spec = read(tmp_path, stage("staging") + MEMBERS, "{name: world}")
    (group,) = spec.groups
    assert group == GroupSpec("world")
    assert spec.waves_of(group) == (names("canary", "eu", "us", "asia"),)


def test_a_soak_gate_may_ask_an_earlier_wave(tmp_path: Path) -> None:
    """What stands before a stage by the order of its group is before it."""
    asking = stage(
        "eu", "group: world, after: [staging], gates: [{soak: {stage: canary, for: 1h}}]"
    )
    stages = stage("staging") + stage("canary", "group: world, after: [staging]") + asking
    read(tmp_path, stages, "{name: world, order: [canary, eu]}")
    result = load(tmp_path, stages, "{name: world}")
    assert [path for path, _, _ in said(result)] == ["spec.stages[2].gates[0].soak.stage"]


@pytest.mark.parametrize(
    "after,found,any_of",
    [
        ("[eu, us]", names("eu", "us"), False),
        ("{all: [eu, us]}", names("eu", "us"), False),
        ("{any: [eu, us]}", names("eu", "us"), True),
    ],
)
def test_several_stages_before_one(
    tmp_path: Path, after: str, found: tuple[StageName, ...], any_of: bool
) -> None:
    """A list means all of them."""
    spec = read(tmp_path, stage("eu") + stage("us") + stage("world", f"after: {after}"))
    assert (spec.stages[2].after, spec.stages[2].after_any) == (found, any_of)


def test_what_comes_by_itself_is_read(tmp_path: Path) -> None:
    """The newest, unless it is said."""
    follows = stage("eu", "after: [staging], promotion: upstream")
    spec = read(tmp_path, stage("staging") + follows + stage("us", "promotion: manual"))
    found = [one.promotion for one in spec.stages]
    assert found == [Promotion.NEWEST, Promotion.UPSTREAM, Promotion.MANUAL]


@pytest.mark.parametrize(
    "rest,path,problem,remedy",
    [
        ("after: {}", "after", "a stage comes after all of some stages, or after any of them",
         "Write `after: {any: [eu, us]}`, or `after: [eu, us]` for all"),
        ("after: {all: [a], any: [b]}", "after",
         "a stage comes after all of some stages, or after any of them",
         "Write `after: {any: [eu, us]}`, or `after: [eu, us]` for all"),
        ("after: {some: [a]}", "after.some", "unknown key `some`", "Known here: `all`, `any`"),
        ("after: {any: []}", "after.any",
         "List should have at least 1 item after validation, not 0",
         "Write a value within this bound"),
        ("after: {any: [1]}", "after.any[0]", "it is the number 1, expected text",
         'Write it as text, in quotes if it looks like a number: "1.10"'),
        ("after: {any: [stagin]}", "after.any[0]", "there is no stage 'stagin'",
         "Did you mean `staging`?"),
        ("promotion: newer", "promotion",
         "it is 'newer', expected `newest` or `upstream` or `manual`", "Did you mean `newest`?"),
        ("promotion: upstream", "promotion",
         "last comes after no stage whose release it could follow",
         "Write `after`, or `promotion: newest`"),
        ("group: world", "group", "there is no group 'world'", "Write it under `spec.groups`"),
        ("after: [last]", "after", "stage last waits for itself",
         "Let the first stage have no `after`, and each other name an earlier one"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_stage_is_said(
    tmp_path: Path, rest: str, path: str, problem: str, remedy: str
) -> None:
    """Where it is, what it is, and what to write instead."""
    result = load(tmp_path, stage("staging") + stage("last", rest))
    assert said(result) == [(f"spec.stages[1].{path}", problem, remedy)]


@pytest.mark.parametrize(
    "group,path,problem,remedy",
    [
        ("{name: world, maxFailures: -1}", "maxFailures",
         "the value should be greater than or equal to 0", "Write a value within this bound"),
        ("{name: world, maxFailures: 4}", "maxFailures",
         "4 stages cannot fail more than 4 times", "Write at most 3"),
        ("{name: world, onFailure: stop}", "onFailure",
         "it is 'stop', expected `hold` or `rollbackAll`", "Known here: `hold`, `rollbackAll`"),
        ("{name: world, order: [canary, eu, us]}", "order", "it leaves out asia",
         "Name every stage of the group; those that begin together in one list"),
        ("{name: world, order: [canary, [eu, us], asia, staging]}", "order[3]",
         "staging is no stage of group world",
         "Write `group: world` in that stage; Known here: `asia`, `canary`, `eu`, `us`"),
        ("{name: world, order: [canary, [eu, us], asia, eu]}", "order[3]", "eu is there already",
         "Name each stage once"),
        ("{name: world, order: [canary, [], eu, us, asia]}", "order[1]",
         "List should have at least 1 item after validation, not 0",
         "Write a value within this bound"),
        ("{name: world, order: [canary, [eu, 2], us, asia]}", "order[1][1]",
         "it is the number 2, expected text",
         'Write it as text, in quotes if it looks like a number: "1.10"'),
        ("{name: world, order: [canary, {eu: us}, us, asia]}", "order[1]",
         "it is a mapping, expected text",
         'Write it as text, in quotes if it looks like a number: "1.10"'),
        ("{name: world, order: canary}", "order", "it is 'canary', expected a list",
         "Write a list: one entry a line, each after a dash"),
        ("{name: world, steps: []}", "steps", "unknown key `steps`",
         "Known here: `approval`, `maxFailures`, `name`, `onFailure`, `order`"),
        ("{}", "name", "it is missing",
         "Write `name: production` (Its name, which its stages give as group)"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_group_is_said(
    tmp_path: Path, group: str, path: str, problem: str, remedy: str
) -> None:
    """Where it is, what it is, and what to write instead."""
    result = load(tmp_path, stage("staging") + MEMBERS, group)
    assert (f"spec.groups[0].{path}", problem, remedy) in said(result)


def test_groups_and_stages_have_to_fit(tmp_path: Path) -> None:
    """A group of nobody, two of one name, a misspelt one, stages that observe or follow others."""
    empty = load(tmp_path, stage("staging"), "{name: world}")
    assert said(empty) == [
        (
            "spec.groups[0].name",
            "no stage belongs to group world",
            "Write `group: world` in its stages, or remove the group",
        )
    ]
    twice = load(tmp_path, stage("staging", "group: world"), "{name: world}\n    - {name: world}")
    assert [one[:2] for one in said(twice)] == [
        (f"spec.groups[{number}].name", "there are 2 groups world") for number in (0, 1)
    ]
    near = stage("staging", "group: wworld") + stage("eu", "group: world")
    assert said(load(tmp_path, near, "{name: world}"))[0] == (
        "spec.stages[0].group",
        "there is no group 'wworld'",
        "Did you mean `world`?",
    )
    quiet = stage("staging", "group: world, mode: observe") + stage("eu", "group: world")
    assert said(load(tmp_path, quiet, "{name: world}")) == [
        (
            "spec.groups[0]",
            "staging only observes, so that no release is ever verified there",
            "Remove `group` from staging, or `mode: observe`",
        )
    ]
    apart = stage("staging", "group: world") + stage("eu", "group: world, branch: eu")
    assert said(load(tmp_path, apart, "{name: world}")) == [
        (
            "spec.stages[1].group",
            "eu and staging get their releases from other refs",
            "A group is for stages that one release goes to: make two groups",
        )
    ]


def test_an_order_against_after_is_a_circle(tmp_path: Path) -> None:
    """Both stages of it are told, each at its own place."""
    stages = stage("eu", "group: world") + stage("us", "group: world, after: [eu]")
    result = load(tmp_path, stages, "{name: world, order: [us, eu]}")
    assert [one[:2] for one in said(result)] == [
        ("spec.stages[0].group", "stage eu waits for itself"),
        ("spec.stages[1].after", "stage us waits for itself"),
    ]
    assert said(result)[1][2].endswith("the order of its group counts, too")
    read(tmp_path, stages, "{name: world, order: [eu, us]}")


def test_a_circle_over_a_dependency_and_an_order_is_found(tmp_path: Path) -> None:
    """A stage waits for another application, whose gate asks for a later wave of the first."""
    gate = "gates: [{dependency: {application: web, stage: live}}]"
    stages = stage("eu", f"group: world, {gate}") + stage("us", "group: world")
    text = f"{HEAD}  stages:\n{stages}  groups:\n    - {{name: world, order: [eu, us]}}\n"
    asks = "gates: [{dependency: {application: shop, stage: us}}]"
    web = f"{HEAD.replace('shop', 'web')}  stages:\n{stage('live', asks)}"
    files = {
        FILE: text,
        "applications/web.yaml": web,
        "clusters/one.yaml": CLUSTER.replace("NAME", "one"),
    }
    problems = [error.problem for error in load_configuration(write_files(tmp_path, files)).errors]
    assert problems
    assert "shop/us waits for shop/eu" in problems[0]


DOCUMENT = Path(__file__).parents[3] / "docs" / "promotion.md"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
STORY = re.compile(r"`(r-7 failed in .*?)`")


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_examples_of_the_document_are_read(block: str, tmp_path: Path) -> None:
    """What people copy works, once what it leaves out is there."""
    written: dict[str, Any] = yaml.safe_load(block)
    given: dict[str, Any] = yaml.safe_load(HEAD + "  stages:\n" + stage("staging"))
    spec = given["spec"] | written.get("spec", written)
    clusters = {one["cluster"] for one in spec["stages"]}
    files = {FILE: yaml.safe_dump(given | {"spec": spec})}
    files |= {f"clusters/{name}.yaml": CLUSTER.replace("NAME", name) for name in clusters}
    assert [str(error) for error in load_configuration(write_files(tmp_path, files)).errors] == []


def test_the_document_says_why_a_release_goes_no_further_as_the_gate_does() -> None:
    """Its sentence is the one that people will read."""
    members = [
        MemberFacts(StageKey(ApplicationName("shop"), StageName(name)), run=_failed(reason))
        for name, reason in (("eu", "CrashLoopBackOff"), ("us", "DeadlineExceeded"))
    ]
    others = [MemberFacts(StageKey(ApplicationName("shop"), StageName(name))) for name in "ab"]
    facts = GroupFacts(GroupSpec("world", max_failures=1), ReleaseId("r-7"), (*members, *others))
    [told] = STORY.findall(DOCUMENT.read_text("utf-8"))
    assert told == say_stopped(facts)


def _failed(reason: str) -> Run:
    run = run_at(RunKind.ROLLOUT, Phase.FAILED)
    return replace(run, failure=Failure(reason, "it failed", Step.WAIT_HEALTHY))
