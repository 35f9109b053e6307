"""Skipping a gate over HTTP: who may, what is asked for, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitopsd.domain.manifests import Json
from gitopsd.domain.people import People, RoleBinding
from gitopsd.domain.runs import Phase, RunKind
from tests.support.engine_world import PRODUCTION
from tests.support.http_world import make_busy, serving_world


async def test_whoever_people_yaml_binds_skips_a_gate() -> None:
    """The run goes on; who, why, what the gate said before and says now are kept."""
    async with serving_world() as http:
        busy = await make_busy(http)
        bound = People(bindings=(RoleBinding("skip-gate", ("user:kim",), ("shop",)),))
        configuration = http.world.configuration[0]
        http.world.configuration[0] = replace(configuration, people=bound)
        token = await http.token("kim")
        path = f"/runs/{busy.waiting}"
        vote = await http.ask("POST", f"{path}/approve", token=token)
        body: Json = {"gate": "approval", "reason": "  production is down  "}
        done = await http.ask("POST", f"{path}/skip", token=token, body=body)
        await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        shown = await http.get(path)
        log = (await http.get("/audit"))["items"]

    assert vote.status == 403
    assert done.status == 200, done.text
    assert done.document["run"] == busy.waiting
    assert done.document["message"] == (
        f"{busy.waiting} passes its gate approval (plan {shown['plan']})"
    )
    (skip,) = shown["skips"]
    assert (skip["gate"], skip["subject"], skip["reason"], skip["plan"], skip["voidAt"]) == (
        "approval",
        "kim",
        "production is down",
        shown["plan"],
        None,
    )
    (entry,) = [row for row in log if row["action"] == "skip"]
    assert (entry["subject"], entry["target"], entry["outcome"]) == ("kim", busy.waiting, "done")
    assert entry["details"]["before"].startswith("Closed: 0 of 1 approvals")
    assert entry["details"]["after"] == "Open: skipped by kim: production is down"


@pytest.mark.parametrize(
    "body,field",
    [
        ({"gate": "approval"}, "reason"),
        ({"gate": "approval", "reason": ""}, "reason"),
        ({"gate": "approval", "reason": " \n"}, "reason"),
        ({"gate": "", "reason": "now"}, "gate"),
        ({"reason": "now"}, "gate"),
        ({"gate": "approval", "reason": "now", "subject": "sam"}, "subject"),
    ],
)
async def test_a_skip_without_a_gate_or_a_reason_is_refused(body: Json, field: str) -> None:
    """Nothing is passed for no reason, nor in another's name."""
    async with serving_world() as http:
        busy = await make_busy(http)
        reply = await http.ask("POST", f"/runs/{busy.waiting}/skip", body=body)
        shown = await http.get(f"/runs/{busy.waiting}")

    assert reply.status == 422
    assert reply.document["problems"][0]["field"] == field
    assert shown["skips"] == []


async def test_what_cannot_be_skipped_says_what_to_do_instead() -> None:
    """A run that is not there, a gate it does not have, one with a verb of its own."""
    async with serving_world() as http:
        busy = await make_busy(http)
        nobody = await http.ask("POST", "/runs/none/skip", body={"gate": "x", "reason": "y"})
        path = f"/runs/{busy.waiting}/skip"
        missing = await http.ask("POST", path, body={"gate": "window", "reason": "y"})
        frozen = (await http.post("/freezes", {"scope": "application:shop"}))["id"]
        freeze = await http.ask("POST", path, body={"gate": "freeze", "reason": "y"})
        ended = await http.ask(
            "POST", f"/runs/{busy.finished}/skip", body={"gate": "approval", "reason": "y"}
        )

    assert [one.status for one in (nobody, missing, freeze, ended)] == [404, 404, 409, 409]
    said = missing.document["detail"].lower()
    assert said.startswith(f"{busy.waiting} has no gate window; it has approval, slot")
    assert freeze.document["detail"] == (
        f"Freeze is not skipped: a freeze is ended, not passed; gitopsd thaw {frozen}."
    )
    assert ended.document["detail"].lower().startswith(f"{busy.finished} ended succeeded")
