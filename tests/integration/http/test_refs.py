"""What becomes of branches, tags and history is handled, and seen at the API."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.domain.sources import RefName
from tests.support.deliveries import sign
from tests.support.engine_world import MAIN, REPO, SECRET, STAGING, deployment, shop_spec
from tests.support.http_world import IMAGE, Document, HttpWorld, serving_world

OTHER_IMAGE = f"registry.example/api@sha256:{'b' * 64}"
COMMIT = "c" * 40


async def tell(http: HttpWorld, event: str, **payload: object) -> Document:
    """Send a signed delivery of GitHub's and return what became of it."""
    described = {"repository": {"clone_url": REPO, "full_name": "example/shop-deploy"}, **payload}
    body = json.dumps(described).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": f"guid-{hash(body)}",
        "X-Hub-Signature-256": sign(SECRET, body),
    }
    async with http.session.post(f"{http.url}/hooks/github", data=body, headers=headers) as answer:
        assert answer.status == 202
    found: list[Document] = []

    async def is_worked_on() -> bool:
        found[:] = (await http.get("/deliveries"))["items"]
        return bool(found) and all(row["state"] != "Stored" for row in found)

    await http.until(is_worked_on, "the delivery is worked on")
    return found[0]


@pytest.mark.parametrize(
    "payload,reason",
    [
        (
            {"ref": "refs/heads/somebody/tries", "after": COMMIT},
            "no application follows refs/heads/somebody/tries",
        ),
        ({"ref": "refs/tags/v1.0", "after": COMMIT}, "no application follows refs/tags/v1.0"),
        ({"ref": "refs/tags/main", "after": COMMIT}, "no application follows refs/tags/main"),
        (
            {"ref": "refs/heads/gone", "after": "0" * 40, "deleted": True},
            "no application follows refs/heads/gone",
        ),
        (
            {
                "ref": str(MAIN),
                "after": COMMIT,
                "repository": {"clone_url": "https://git.example/another.git"},
            },
            "no application follows https://git.example/another.git",
        ),
    ],
    ids=["branch", "tag", "tag of a branch's name", "deleted branch", "repository"],
)
async def test_what_nobody_follows_is_done_with_and_says_so(
    payload: dict[str, object], reason: str
) -> None:
    """A push to another ref or repository is no dead letter, starts nothing, and is listed."""
    async with serving_world() as http:
        await http.world.push("one", deployment(IMAGE))
        await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        fetched = len(http.world.repositories.fetched)
        told = await tell(http, "push", **payload)
        runs = await http.world.runs(STAGING)

    assert (told["state"], told["reason"]) == ("Done", reason)
    assert len(runs) == 1
    assert len(http.world.repositories.fetched) == fetched


@pytest.mark.parametrize("event", ["push", "delete"])
async def test_a_deleted_branch_is_shown_until_it_is_back(event: str) -> None:
    """The delivery and the application say so; what runs keeps running, and a new push goes on."""
    payload: dict[str, object] = {"ref": "main", "ref_type": "branch"}
    if event == "push":
        payload = {"ref": str(MAIN), "after": "0" * 40, "deleted": True}
    async with serving_world() as http:
        sha = await http.world.push("one", deployment(IMAGE))
        await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        http.world.repositories.delete(REPO, MAIN)
        told = await tell(http, event, **payload)
        await http.until(lambda: problem_of(http), "the problem is shown")
        shown = await problem_of(http)
        live = await http.get(f"/commits/{sha}?stage=staging")
        await http.world.push("two", deployment(OTHER_IMAGE))
        await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        healed = await problem_of(http)

    assert told["reason"] == "refs/heads/main was deleted; what runs keeps running"
    assert shown == "the remote has no refs/heads/main; what runs keeps running"
    assert [stage["state"] for stage in live["stages"]] == ["Live"]
    assert healed == ""


async def problem_of(http: HttpWorld) -> str:
    """Read what is wrong with the application's source."""
    return str((await http.get("/applications/shop"))["source"]["problem"])


async def test_a_deleted_branch_of_one_stage_is_shown_too() -> None:
    """A stage with a branch of its own has a line of its own, and its trouble is told."""
    europe = RefName("refs/heads/europe")
    spec = shop_spec()
    spec = replace(spec, stages=(spec.stages[0], replace(spec.stages[1], after=(), ref=europe)))
    async with serving_world(spec) as http:
        await http.world.push("one", deployment(IMAGE))
        await http.until(lambda: problem_of(http), "the problem is shown")

        assert await problem_of(http) == (
            "the remote has no refs/heads/europe; what runs keeps running"
        )


async def test_a_followed_tag_is_shown_and_its_pushes_are_told_apart() -> None:
    """The application names the tag it stands on; a tag that nobody follows is done with."""
    spec = shop_spec()
    source = replace(spec.source, ref=RefName("refs/tags/v*:>=1_<2"))
    async with serving_world(replace(spec, source=source)) as http:
        world = http.world
        sha = await world.push("one", deployment(IMAGE), hint=False)
        made = world.repositories.annotate(REPO, "v1.2.0", sha)
        told = await tell(http, "push", ref="refs/tags/v1.2.0", after=made)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        shown = (await http.get("/applications/shop"))["source"]
        live = await http.get("/commits/v1.2.0?stage=staging")
        other = await tell(http, "push", ref="refs/tags/v2.0.0", after=COMMIT)
        world.repositories.delete(REPO, RefName("refs/tags/v1.2.0"))
        gone = await tell(http, "delete", ref="v1.2.0", ref_type="tag")
        await http.until(lambda: problem_of(http), "the problem is shown")
        problem = await problem_of(http)

    assert told["reason"] == "looking at refs/tags/v1.2.0"
    assert (shown["ref"], shown["tag"], shown["problem"]) == (source.ref, "v1.2.0", "")
    assert [stage["state"] for stage in live["stages"]] == ["Live"]
    assert other["reason"] == "no application follows refs/tags/v2.0.0"
    assert gone["reason"] == "refs/tags/v1.2.0 was deleted; what runs keeps running"
    assert problem == "the remote has no tag for v* in >=1 <2; what runs keeps running"


async def test_a_force_push_to_an_older_commit_is_shown_at_its_gate() -> None:
    """The run says which gate holds it and what opens it; the release list has it first."""
    async with serving_world() as http:
        first = await http.world.push("one", deployment(IMAGE))
        await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        second = await http.world.push("two", deployment(OTHER_IMAGE))
        await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        http.world.repositories.push(REPO, MAIN, first)
        told = await tell(http, "push", ref=str(MAIN), before=second, after=first, forced=True)
        run = await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)

        async def rewind() -> Document:
            gates = (await http.get(f"/runs/{run.id}"))["gates"]
            return next((gate for gate in gates if gate["name"] == "rewind"), None)

        await http.until(rewind, "the gates were evaluated")
        gate = await rewind()
        releases = (await http.get("/applications/shop/releases"))["items"]
        runs = (await http.get("/applications/shop/runs?stage=staging"))["items"]

    assert told["reason"] == "looking at refs/heads/main"
    assert gate["state"] == "Closed"
    assert "older" in gate["reason"]
    assert gate["opener"] == f"gitopsd promote shop staging {releases[0]['id']}"
    assert [one["commit"]["sha"] for one in releases] == [first, second]
    assert [one["offers"][0]["kind"] for one in releases] == ["Rewound", "Advanced"]
    assert [one["offer"] for one in runs] == ["Rewound", "Advanced", ""]
    assert [one["offers"][0]["ref"] for one in releases] == ["refs/heads/main"] * 2
    assert releases[0]["offers"][0]["number"] > releases[1]["offers"][0]["number"]
