"""How channels fare, as the API tells it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.testing.clock import START
from tests.support.engine_world import deployment
from tests.support.http_world import HttpWorld, serving_world

# The API answers over a real socket: time stands still for a few turns of the loop.
pytestmark = pytest.mark.looptime(noop_cycles=42)

SLACK = ChannelSpec("deploys", ChannelType.SLACK)
GOOD = "registry.example/api:1"


async def _use_slack(http: HttpWorld) -> None:
    world = http.world
    channels = {**world.configuration[0].channels, SLACK.name: SLACK}
    await world.configure(replace(world.configuration[0], channels=channels))


async def _state(http: HttpWorld) -> dict[str, object]:
    items = (await http.get("/channels"))["items"]
    assert [one["name"] for one in items] == ["deploys", "ops"]
    return dict(items[0])


async def test_a_channel_that_was_never_in_trouble_says_so() -> None:
    """Every configured channel is there, by name, with its type."""
    async with serving_world() as http:
        await _use_slack(http)
        assert await _state(http) == {
            "name": "deploys",
            "type": "slack",
            "problem": "",
            "since": None,
            "dropped": 0,
            "droppedAt": None,
            "droppedWhy": "",
        }


async def test_a_channel_in_trouble_says_why_until_it_works_again() -> None:
    """Since when too; secrets in the other side's words are masked."""
    async with serving_world() as http:
        await _use_slack(http)
        error = TemporaryError("channel deploys: no answer, password=hunter22hunter22")
        http.world.notifier.break_channel("deploys", error)
        await http.world.push("good", deployment(GOOD))

        async def failing() -> bool:
            return bool((await _state(http))["problem"])

        await http.until(failing, "the trouble is told")
        state = await _state(http)
        assert state["problem"] == "channel deploys: no answer, password=***"
        assert str(state["since"]) > START.isoformat()[:10]
        http.world.notifier.mend_channel("deploys")

        async def mended() -> bool:
            return not await failing()

        await http.until(mended, "it works again")


async def test_what_was_given_up_is_counted_with_its_reason() -> None:
    """Somebody was not told; here it can be seen."""
    async with serving_world() as http:
        await _use_slack(http)
        error = PermanentError("channel deploys: Slack answered 200: msg_too_long")
        http.world.notifier.break_channel("deploys", error)
        await http.post("/freezes", {"scope": "*", "reason": "audit"})

        async def dropped() -> bool:
            return (await _state(http))["dropped"] == 1

        await http.until(dropped, "it is counted")
        state = await _state(http)
        assert state["droppedWhy"] == "channel deploys: Slack answered 200: msg_too_long"
        assert state["problem"] == ""
        assert state["droppedAt"] is not None
        await http.world.clock.sleep(timedelta(minutes=10))
        assert (await _state(http))["dropped"] == 1
