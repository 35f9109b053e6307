"""What a request to approve tells somebody to type, typed as it stands there."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from gitopsd.adapters.clock import SystemClock
from gitopsd.adapters.notify.by_type import NotifierByType
from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.groups import GroupSpec
from gitopsd.domain.runs import AbortReason, Phase, RunKind
from gitopsd.engine.actions import Actions
from gitopsd.pipeline.groups import name_plans
from tests.support import slack_server
from tests.support.command_line import CommandLine
from tests.support.engine_world import PRODUCTION, config_map, deployment, started
from tests.support.http_world import IMAGE, HttpWorld, grouped, serving_world
from tests.support.slack_server import CONVERSATION, SlackServer, run_slack

SOON = timedelta(seconds=30)
HOSTILE = "<!channel> *Approved* ```gitopsd approve evil``` https://evil.example & $(reboot)"


@asynccontextmanager
async def _asking(
    folder: Path, *specs: ApplicationSpec
) -> AsyncIterator[tuple[HttpWorld, SlackServer]]:
    """A world that tells a Slack."""
    (folder / "slack").write_text(slack_server.TOKEN)
    channel = ChannelSpec(
        "deploys",
        ChannelType.SLACK,
        token_file=str(folder / "slack"),
        conversation=CONVERSATION,
    )
    async with serving_world(*specs, run=False) as http, run_slack() as slack:
        world = http.world
        notifier = NotifierByType(SystemClock(), slack_url=slack.url)
        world.services = replace(world.services, notifier=notifier)
        world.actions = Actions(world.services)
        world.configuration[0] = replace(world.configuration[0], channels={"deploys": channel})
        async with started(world):
            yield http, slack
        await notifier.close()


async def _commands(http: HttpWorld, slack: SlackServer, number: int) -> list[list[str]]:
    """The commands of a request, as a person copies them out of their boxes."""

    def asked() -> bool:
        return len([one for one in slack.parents if "To approve:" in one.text]) >= 1

    await http.world.until(asked, f"request {number}", SOON)
    text = next(one.text for one in slack.parents if "To approve:" in one.text)
    boxes = [html.unescape(box) for box in re.findall(r"```(.*?)```", text)]
    return [shlex.split(box) for box in boxes]


async def test_the_command_to_approve_works_as_it_is_written(tmp_path: Path) -> None:
    """Whatever the commit says, there are two commands and both mean this run and this plan."""
    async with _asking(tmp_path) as (http, slack):
        person = CommandLine(http.url, http.tokens["approver"], tmp_path)
        await http.world.push(HOSTILE, deployment(IMAGE))
        approve, reject = await _commands(http, slack, 1)
        assert approve[:2] == ["gitopsd", "approve"]
        assert reject[:2] == ["gitopsd", "reject"]
        assert reject[2:] == approve[2:]
        done = await person.run(*approve[1:])
        assert (done.code, done.err) == (0, "")
        run = await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert approve[2:] == [run.id, "--plan", run.plan]
        await http.world.until(
            lambda: any("*Approved: shop to production*" in one.text for one in slack.parents),
            "the request says who approved",
            SOON,
        )
        late = await person.run(*approve[1:])
        assert late.code == 2

        await http.world.push("another", deployment(IMAGE), config_map("c", v="2"))
        _, reject = await _commands(http, slack, 2)
        done = await person.run(*reject[1:])
        assert (done.code, done.err) == (0, "")
        run = await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.ABORTED)

    assert run.failure is not None
    assert run.failure.reason == AbortReason.REJECTED.value
    assert all("<!channel>" not in one.text for one in slack.messages)


async def test_the_command_for_a_group_is_for_the_plans_that_the_message_shows(
    tmp_path: Path,
) -> None:
    """It votes for these; when they are others by now it shows them and votes for none."""
    spec = grouped()
    staging, production = spec.stages
    (approval,) = (gate for gate in production.gates if isinstance(gate, ApprovalGate))
    world = replace(spec.groups[0], approval=approval)
    assert isinstance(world, GroupSpec)
    spec = replace(spec, stages=(staging, production), groups=(world,))
    async with _asking(tmp_path, spec) as (http, slack):
        person = CommandLine(http.url, http.tokens["approver"], tmp_path)
        await http.world.push(HOSTILE, deployment(IMAGE))
        old, _ = await _commands(http, slack, 1)
        assert old[1:5] == ["approve", "shop", "--group", "world"]

        await http.world.push("another", deployment(IMAGE), config_map("c", v="2"))
        await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.ABORTED)

        def asked_anew() -> bool:
            asking = [one.text for one in slack.parents if "To approve:" in one.text]
            return len(asking) == 1 and "another" in asking[0]

        await http.world.until(asked_anew, "the newer release is asked for", SOON)
        late = await person.run(*old[1:])
        assert late.code == 2
        assert "are others than you saw" in late.err
        new, _ = await _commands(http, slack, 2)
        done = await person.run(*new[1:])
        assert (done.code, done.err) == (0, "")
        assert done.out.splitlines()[-1].endswith(
            "approved 1 plan of group world of shop: production"
        )
        run = await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert new[5:] == ["--plan", name_plans({str(run.id): str(run.plan)})]
