"""The verbs of a person at a terminal, against a real server."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gitopsd.domain.manifests import Json
from gitopsd.domain.runs import Phase, RunId, RunKind, Step
from gitopsd.domain.stages import Stall
from gitopsd.domain.verifications import StallReason
from gitopsd.domain.work import Evidence, EvidenceKind
from gitopsd.pipeline.groups import name_plans
from gitopsd.store_ports import Transaction
from tests.support.command_line import CommandLine, Ran
from tests.support.engine_world import PRODUCTION, STAGING, config_map, deployment
from tests.support.http_world import (
    IMAGE,
    ROLES,
    Busy,
    HttpWorld,
    grouped,
    make_busy,
    serving_world,
)

ASK_AN_ADMIN = (
    "Ask an admin for a role or group that allows it, in people.yaml or with another token."
)


@asynccontextmanager
async def at_work(tmp_path: Path) -> AsyncIterator[tuple[HttpWorld, Busy, CommandLine]]:
    """A busy installation and an admin at its terminal."""
    async with serving_world() as http:
        busy = await make_busy(http)
        yield http, busy, CommandLine(http.url, http.tokens["admin"], tmp_path)


def lines(ran: Ran) -> list[list[str]]:
    """The words of each line, of a verb that worked."""
    assert ran.code == 0, ran.err
    return [line.split() for line in ran.out.splitlines()]


async def test_get_lists_every_kind(tmp_path: Path) -> None:
    """Each kind has a table with its heads, and the same rows as JSON and YAML."""
    async with at_work(tmp_path) as (_, busy, person):
        stages = lines(await person.run("get"))
        tables = {
            kind: lines(await person.run("get", kind))
            for kind in ("approvals", "quarantines", "freezes", "deliveries", "audit", "tokens")
        }
        runs = lines(await person.run("get", "runs", "shop"))
        of_stage = await person.run("get", "runs", "shop/production", "-o", "json")
        releases = lines(await person.run("get", "releases", "shop", "-o", "wide"))
        document = await person.run("get", "applications", "shop", "-o", "json")
        listed = await person.run("get", "applications", "-o", "json")
        yaml = await person.run("get", "stages", "shop/production", "-o", "yaml")
        wide = lines(await person.run("get", "stages", "-o", "wide"))

    assert stages[0] == ["APPLICATION", "STAGE", "RELEASE", "COMMIT", "HEALTH", "SYNC", "STATE"]
    assert stages[1][:2] == ["shop", "staging"]
    assert stages[1][-2:] == ["Healthy", "Synced"]
    assert stages[2][-2:] == ["Rollout", "Gate"]
    assert busy.quarantine in tables["quarantines"][1]
    assert busy.freeze in tables["freezes"][1]
    assert {row[1] for row in tables["tokens"][1:]} == {f"{role}-person" for role in ROLES}
    assert {row[0] for row in runs[1:]} == {busy.waiting, busy.finished}
    assert [row["id"] for row in of_stage.document["items"]] == [busy.waiting]
    assert releases[1][0] == busy.release
    assert "OFFER" in releases[0]
    assert "Advanced" in releases[1]
    assert document.document["name"] == "shop"
    assert [row["name"] for row in listed.document["items"]] == ["shop"]
    assert "name: production" in yaml.out
    assert "CLUSTER" in wide[0]


async def test_get_shows_one_thing(tmp_path: Path) -> None:
    """A run or a release by its id, for people or for programs; what is over waits for nothing."""
    async with at_work(tmp_path) as (_, busy, person):
        over = await person.run("get", "runs", busy.finished)
        run = await person.run("get", "runs", busy.waiting)
        same = await person.run("get", "runs", busy.waiting, "-o", "json")
        release = await person.run("get", "releases", busy.release)

    steps = [line for line in run.out.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in steps] == ["Render", "Validate", "Diff", "Gate"]
    assert len({line.index(" 20") for line in steps}) == 1, "times stand below each other"
    assert f"run:       {busy.waiting}\n" in run.out
    assert f"({busy.release})\n" in run.out
    assert f"commit:    {busy.commit}\n" in run.out
    assert "gate approval: Closed: 0 of 1 approvals" in run.out
    assert f"(to open: gitopsd approve {busy.waiting} " in run.out
    assert "waits for" not in over.out
    assert "Certify" in over.out
    assert same.document["id"] == busy.waiting
    assert "verified" in release.out
    assert "Advanced" in release.out
    assert busy.finished in release.out


async def test_history_and_explain_tell_the_story(tmp_path: Path) -> None:
    """What was tried, what came of it, what is next; a stage stands for its last run."""
    async with at_work(tmp_path) as (_, busy, person):
        history = lines(await person.run("history", "shop", "staging"))
        by_run = await person.run("explain", busy.waiting)
        by_stage = await person.run("explain", "shop", "production")
        by_path = await person.run("explain", "shop/production", "-o", "json")

    assert history[0][:6] == ["RUN", "STAGE", "KIND", "RELEASE", "COMMIT", "PHASE"]
    assert history[1][0] == busy.finished
    assert history[1][4] == busy.commit[:12]
    assert "OFFER" in history[0]
    assert "Advanced" in history[1]
    assert len(history) == 2
    assert "Render succeeded" in by_run.out
    for told in (by_run, by_stage):
        assert "Waits for approval: 0 of 1 approvals" in told.out
        assert f"to do: gitopsd approve {busy.waiting} " in told.out
    assert by_stage.out.startswith("shop/production is Held since ")
    assert by_path.document["run"] == busy.waiting
    assert by_path.document["state"] == "Held"


def change_nothing(tx: Transaction, run: RunId) -> None:
    """Store that a run's plan changes nothing."""
    found: Json = {"objects": [{"object": "Deployment shop/api", "action": "unchanged"}]}
    tx.runs.put_evidence(
        Evidence(run, Step.DIFF, EvidenceKind.CHANGE_SET, tx.now, found, key="plan")
    )


async def test_diff_says_by_its_exit_code_whether_something_changes(tmp_path: Path) -> None:
    """0: nothing, 1: something, 2: it could not be found out."""
    async with at_work(tmp_path) as (http, busy, person):
        changes = await person.run("diff", "shop", "production")
        document = await person.run("diff", busy.waiting, "-o", "json")
        await http.world.store.transact(partial(change_nothing, run=RunId(busy.finished)))
        nothing = await person.run("diff", busy.finished)
        missing = await person.run("diff", "none")

    assert changes.code == document.code == 1
    assert changes.out.startswith("created Deployment shop/api\n")
    assert document.document["objects"][0]["action"] == "created"
    assert (nothing.code, nothing.out) == (0, "")
    assert missing.code == 2


async def test_a_person_does_everything_from_the_terminal(tmp_path: Path) -> None:
    """Each verb does what it says and says what it did."""
    async with at_work(tmp_path) as (http, busy, person):
        world = http.world
        approved = await person.run("approve", busy.waiting, "--reason", "looks well")
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        second = await world.push("two", deployment(IMAGE), config_map("c", v="2"))
        held = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        rejected = await person.run("reject", "shop", "production", "-m", "not today")
        retried = await person.run("retry", held.id)
        retry_run = await world.until_run(
            PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE
        )
        aborted = await person.run("abort", retry_run.id, "--restore")
        rolled = await person.run("rollback", "shop", "staging")
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        synced = await person.run("sync", "shop", "staging", "-o", "json")
        await world.until_run(STAGING, RunKind.SYNC, Phase.SUCCEEDED)
        promoted = await person.run("promote", "shop", "staging", second)
        suspended = await person.run("suspend", "shop", "staging", "--reason", "lunch")
        resumed = await person.run("resume", "shop", "staging")
        lifted = await person.run("quarantine", "lift", busy.quarantine)
        quarantines = await person.run("quarantine", "list", "-o", "json")
        frozen = await person.run("freeze", "application:shop", "--for", "2h", "-o", "json")
        thawed = await person.run("thaw", frozen.document["id"])

    ran = [approved, rejected, retried, aborted, rolled, synced, promoted, suspended, resumed]
    assert [one.code for one in (*ran, lifted, thawed)] == [0] * 11, [one.err for one in ran]
    assert approved.out.startswith("admin-person approved ")
    assert rolled.out.endswith("; nothing newer follows until: gitopsd resume shop staging\n")
    assert suspended.out.endswith("is admitted until: gitopsd resume shop staging\n")
    assert synced.document["run"]
    assert lifted.out == f"quarantine {busy.quarantine} of shop/staging is lifted\n"
    assert quarantines.document["items"][0]["liftedBy"] == "admin-person"
    assert thawed.out == f"freeze {frozen.document['id']} ended\n"


async def test_a_person_skips_a_gate_with_a_reason(tmp_path: Path) -> None:
    """Named by the run or its stage; without a reason, or for a gate that is open, it is not."""
    async with at_work(tmp_path) as (http, busy, person):
        silent = await person.run("skip", busy.waiting, "approval")
        alone = await person.run("skip", "approval", "-m", "which run?")
        opened = await person.run("skip", busy.waiting, "freeze", "--reason", "none there")
        missing = await person.run("skip", "shop", "production", "soak", "--reason", "none there")
        done = await person.run("skip", "shop", "production", "approval", "-m", "shop is down")
        await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        shown = await http.get(f"/runs/{busy.waiting}")

    assert [one.code for one in (silent, alone, opened, missing, done)] == [2, 2, 2, 2, 0]
    assert "--reason" in silent.err
    assert "gitopsd skip RUN GATE" in alone.err
    assert opened.err.startswith("gitopsd: Freeze is open already.")
    assert "has no gate soak; it has approval, slot, freeze" in missing.err
    assert done.out.startswith(f"{busy.waiting} passes its gate approval (plan sha256:")
    assert [(one["gate"], one["subject"], one["reason"]) for one in shown["skips"]] == [
        ("approval", "admin-person", "shop is down")
    ]
    approval = next(gate for gate in shown["gates"] if gate["name"] == "approval")
    assert approval["reason"] == "skipped by admin-person: shop is down"


async def test_a_person_chooses_whom_to_believe_after_a_restored_database(tmp_path: Path) -> None:
    """Without a choice, or with both, nothing goes on; one of them lets the stage go on."""

    def stall(tx: Transaction) -> None:
        stage = tx.stages.get(STAGING)
        assert stage is not None
        found = Stall(StallReason.RESTORED_DATABASE, "a higher fence", tx.now, fence=70)
        tx.stages.save(replace(stage, stall=found))

    async with at_work(tmp_path) as (http, _, person):
        await http.world.store.transact(stall)
        asked = await person.run("resume", "shop", "staging")
        both = await person.run("resume", "shop", "staging", "--keep-cluster", "--redeploy")
        kept = await person.run("resume", "shop", "staging", "--keep-cluster")
        slip = await person.run("resume", "shop", "staging", "--redeploy")
        await http.world.store.transact(stall)
        again = await person.run("resume", "shop", "staging", "--redeploy", "-o", "json")
        stage = await http.world.stage(STAGING)

    assert (asked.code, both.code, slip.code) == (2, 2, 2)
    assert "gitopsd resume shop staging --keep-cluster, or --redeploy" in asked.err
    assert "exclude each other" in both.err
    assert (kept.code, again.code) == (0, 0)
    assert "nothing is written until something newer comes" in kept.out
    assert "not stalled by a restored database" in slip.err
    assert "goes on" in again.document["message"]
    assert stage.stall is None
    assert stage.fence > 70


async def test_tokens_are_made_listed_and_revoked(tmp_path: Path) -> None:
    """The secret alone goes to standard output, so that it can be piped; once."""
    async with at_work(tmp_path) as (http, _, person):
        made = await person.run(
            "token", "create", "ci", "--role", "viewer", "--app", "shop", "--group", "bots",
            "--expires", "90d",
        )  # fmt: skip
        secret = made.out.strip()
        works = await http.ask("GET", "/applications", token=secret)
        listed = await person.run("token", "list", "-o", "json")
        row = next(row for row in listed.document["items"] if row["subject"] == "ci")
        revoked = await person.run("token", "revoke", row["id"])
        gone = await http.ask("GET", "/applications", token=secret)
        wrong = await person.run("token", "create", "ci", "--expires", "soon")

    assert made.out == f"{secret}\n"
    assert "it is not shown again" in made.err
    assert (works.status, gone.status) == (200, 401)
    assert (row["role"], row["groups"], row["applications"]) == ("viewer", ["bots"], ["shop"])
    assert revoked.code == 0
    assert secret not in listed.out
    assert (wrong.code, wrong.err) == (
        2,
        "gitopsd: 'soon' is no span of time; write 30s, 10m, 2h or 7d\n",
    )


@pytest.mark.parametrize("form", ["table", "json"])
async def test_events_are_followed_until_interrupted(tmp_path: Path, form: str) -> None:
    """A line for each event as it happens; what the process was interrupted by is its exit code."""
    async with at_work(tmp_path) as (http, _, _):
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "gitopsd", "events", "--after", "0", "--app", "shop", "-o", form),
            *("--server", http.url, "--token-file", str(tmp_path / "token")),
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdout is not None
        first = (await child.stdout.readline()).decode()
        await http.world.push("two", deployment(IMAGE), config_map("c", v="2"))
        line = ""
        while "two" not in line:
            line = (await child.stdout.readline()).decode()
        child.send_signal(signal.SIGINT)
        code = await child.wait()

    assert code == 130
    if form == "json":
        assert json.loads(first)["trigger"] == "on-release-created"
    else:
        assert first.split()[1:3] == ["on-release-created", "shop"]


@pytest.mark.parametrize(
    "arguments,message",
    [
        (("get", "runs"), "name an application or a run: gitopsd get runs NAME"),
        (("get", "releases"), "name an application or a release: gitopsd get releases NAME"),
        (("get", "stages", "shop/none"), "shop has no stage none"),
        (("explain", "a", "b", "c"), "name one run, or an application and a stage"),
    ],
)
async def test_words_that_name_nothing(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """What has to be said instead is said."""
    async with at_work(tmp_path) as (_, _, person):
        ran = await person.run(*arguments)

    assert (ran.code, ran.err) == (2, f"gitopsd: {message}\n")


async def test_an_error_at_three_in_the_morning(tmp_path: Path) -> None:
    """What happened, where, and what to do."""
    async with serving_world(run=False) as http:
        person = CommandLine(http.url, http.tokens["viewer"], tmp_path)
        refused = await person.run("promote", "shop", "production", "r-1")
        unknown = await person.run("explain", "none")
        stranger = await CommandLine(http.url, "gitopsd_wrong", tmp_path).run("get")
        nobody = await CommandLine("http://127.0.0.1:9", "gitopsd_x", tmp_path).run("get")

    assert refused.code == unknown.code == stranger.code == nobody.code == 2
    assert refused.err.splitlines() == [
        "gitopsd: viewer-person may not deploy any application.",
        f"  where: POST {http.url}/api/v1/applications/shop/stages/production/promote answered 403",
        f"  what to do: {ASK_AN_ADMIN}",
    ]
    assert unknown.err.startswith("gitopsd: there is no application and no run none; list them")
    assert "what to do: Send a valid token" in stranger.err
    assert nobody.err.startswith("gitopsd: http://127.0.0.1:9 does not answer: ")
    assert "curl http://127.0.0.1:9/health" in nobody.err


async def test_what_people_wrote_cannot_move_the_cursor(tmp_path: Path) -> None:
    """Control characters of a commit message do not reach the terminal."""
    async with serving_world() as http:
        await http.world.push("\x1b[2J\x07evil [bold]title", deployment(IMAGE))
        await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        person = CommandLine(http.url, http.tokens["viewer"], tmp_path)
        ran = await person.run("get", "releases", "shop")

    assert "evil [bold]title" in ran.out
    assert "\x1b" not in ran.out
    assert "\x07" not in ran.out


async def test_a_group_is_approved_as_it_is_shown(tmp_path: Path) -> None:
    """Its plans are listed, each with what it changes, and one vote is given for exactly these."""
    async with serving_world(grouped()) as http:
        busy = await make_busy(http)
        person = CommandLine(http.url, http.tokens["admin"], tmp_path)
        before = lines(await person.run("get", "groups", "shop"))
        listed = await person.run("get", "groups", "-o", "json")
        queue = await person.run("get", "stages", "shop/production")
        shown = (await http.get("/applications/shop"))["groups"][0]
        unknown = await person.run("approve", "shop", "--group", "moon")
        twofold = await person.run("approve", "shop", "production", "--group", "world")
        other = await person.run("approve", "shop", "--group", "world", "--plan", "plans-other")
        own = shown["waiting"][0]
        seen = name_plans({own["run"]: own["plan"]})
        approved = await person.run(
            "approve", "shop", "--group", "world", "--plan", seen, "--reason", "fine"
        )
        await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        nothing = await person.run("reject", "shop", "--group", "world")
        votes = (await http.get("/approvals"))["items"]

    assert before[1][:3] == ["shop", "world", busy.release]
    assert before[1][3:] == ["0", "of", "1", "verified", "production"]
    assert before[-1] == ["1", "production", "Waiting", "at", "its", "Gate", busy.waiting]
    assert [row["name"] for row in listed.document["items"]] == ["world"]
    assert "approval: 0 of 1 approvals" in queue.out
    assert shown["order"] == [["production"]]
    assert shown["stages"][0]["state"] == "Waiting"
    assert shown["stages"][0]["reason"] == "at its Gate"
    assert shown["waiting"][0]["run"] == busy.waiting
    assert shown["waiting"][0]["asked"] is True
    assert shown["waiting"][0]["changes"] == {"created": 1}
    assert unknown.code == 2
    assert "shop has no group moon; it has world" in unknown.err
    assert other.code == 2
    assert "are others than you saw; to approve those that wait now" in other.err
    assert busy.waiting in other.out
    assert twofold.code == 2
    assert "name the application alone" in twofold.err
    assert shown["waiting"][0]["plan"] in approved.out
    assert "admin-person approved 1 plan of group world of shop: production" in approved.out
    assert nothing.code == 2
    assert "nothing of group world of shop waits for a vote" in nothing.err
    assert [(vote["run"], vote["reason"]) for vote in votes] == [(busy.waiting, "fine")]
