"""``explain`` at a terminal: of everything that has a name, now and at another time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from gitopsd.domain.config import StageSpec
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.domain.sources import RefName
from gitopsd.domain.windows import WeeklyWindow, WindowGate
from tests.support.command_line import CommandLine, Ran
from tests.support.engine_world import PRODUCTION, deployment, shop_spec
from tests.support.http_world import HttpWorld, serving_world

API = "registry.example/team/api"
_FEATURE = RefName("refs/heads/feature")
EVERY_DAY = tuple(range(7))


def shut(http_spec: StageSpec) -> StageSpec:
    """Let nothing in."""
    never = WeeklyWindow("Mon-Sun", EVERY_DAY, 0, 1440)
    return replace(http_spec, gates=(*http_spec.gates, WindowGate(deny=(never,))))


async def held(http: HttpWorld) -> str:
    """Push, and wait until production holds it; returns the commit."""
    sha = await http.world.push("one", deployment(API))
    await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    return sha


def words(ran: Ran) -> list[str]:
    """The lines of a verb that worked."""
    assert ran.code == 0, ran.err
    return ran.out.splitlines()


async def test_whatever_has_a_name_is_explained(tmp_path: Path) -> None:
    """An application with its stages, a stage, a run, a commit; as text, as JSON, as YAML."""
    async with serving_world() as http:
        sha = await held(http)
        await http.world.ring(None, http.world.head, ref=_FEATURE)

        async def told() -> bool:
            return bool((await http.get("/applications/shop/explain"))["ignored"])

        await http.until(told, "the delivery was looked at")
        person = CommandLine(http.url, http.tokens["viewer"], tmp_path)
        application = await person.run("explain", "shop")
        narrow = await CommandLine(
            http.url, await http.token("kim", "viewer", applications=("shop",)), tmp_path
        ).run("explain", "shop", "-o", "json")
        person = CommandLine(http.url, http.tokens["viewer"], tmp_path)
        stage = await person.run("explain", "shop/production")
        document = await person.run("explain", "shop", "production", "-o", "json")
        yaml = await person.run("explain", "shop", "production", "-o", "yaml")
        run = await person.run("explain", document.document["run"])
        commit = await person.run("explain", sha)
        unknown = await person.run("explain", "0" * 40)
        nothing = await person.run("explain", "shop", "none")

    heads = [line.split(" since")[0] for line in words(application) if " is " in line]
    assert heads[0] == "shop is Followed"
    assert "shop/production is Held" in heads
    assert any("no application follows refs/heads/feature" in line for line in words(application))
    assert narrow.document["ignored"][0]["reason"] == "no application follows refs/heads/feature"
    assert words(stage)[0].startswith("shop/production is Held since ")
    assert document.document["text"] == words(stage)[: len(document.document["text"])]
    assert document.document["waitingFor"][0]["who"].startswith("gitopsd approve ")
    assert "waitingFor:" in yaml.out
    assert words(run)[-1].endswith("Diff succeeded")
    assert f"{sha} in shop/production is Held" in commit.out
    assert f"{'0' * 40} in shop/staging is NotSeen" in unknown.out
    assert (nothing.code, nothing.err.splitlines()[0]) == (
        2,
        "gitopsd: There is no stage shop/none.",
    )


async def test_another_time_is_foreseen(tmp_path: Path) -> None:
    """A span or a time to come; what is over, or is no time, is refused with what to write."""
    async with serving_world(shop_spec(shut)) as http:
        await held(http)
        person = CommandLine(http.url, http.tokens["viewer"], tmp_path)
        later = await person.run("explain", "shop", "production", "--at", "+2h")
        now = http.world.clock.now()
        moment = (now + timedelta(days=2)).replace(tzinfo=None).isoformat(timespec="minutes")
        named = await person.run("explain", "shop", "production", "--at", moment, "-o", "json")
        zoned = await person.run("explain", "shop", "--at", f"{moment}+00:00", "-o", "json")
        idle = await person.run("explain", "shop", "staging", "--at", "+2h")
        over = await person.run("explain", "shop", "production", "--at", "2020-01-01T08:00")
        wrong = await person.run("explain", "shop", "production", "--at", "tomorrow")

    assert any("window would be closed" in line for line in words(later))
    assert any("does not open by itself" in line for line in words(later))
    foresight = named.document["foresight"]
    assert foresight["at"].startswith(moment)
    assert foresight["opensAt"] is None
    gates = {gate["name"]: gate["state"] for gate in foresight["gates"]}
    assert gates["window"] == gates["approval"] == "Closed"
    assert zoned.document["stages"][1]["foresight"] == foresight
    assert any("every gate is open" in line for line in words(idle))
    assert (over.code, "Give a time to come" in over.err) == (2, True)
    assert wrong.err.startswith("gitopsd: 'tomorrow' is no time; write 2030-06-03T08:00")
