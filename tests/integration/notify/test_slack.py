"""Slack: what its messages say, how they are found again, and what its refusals mean."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.notify.outgoing import MAX_BODY_BYTES, Outgoing
from gitopsd.adapters.notify.slack import EVENT_TYPE, SlackReports
from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import StageName
from gitopsd.domain.reports import ApprovalReport, Outcome, StageLine, Standing
from gitopsd.domain.runs import Phase, RunId
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.ports import MISCONFIGURED
from gitopsd.testing.clock import START, ManualClock
from tests.support.lying_server import hang as hang_up
from tests.support.lying_server import pour, reply, reset_in_body, run_lying_server
from tests.support.odd_answers import drop_after, say
from tests.support.redis import find_free_port
from tests.support.report_values import (
    APPROVAL,
    CALL,
    GROUP,
    PLAN,
    RELEASE,
    Memory,
    settled,
    write_file,
)
from tests.support.slack_server import CONVERSATION, TOKEN, SlackServer, run_slack

TELLING = "<!channel> & <https://evil.example|click> `rm` @here"


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    """A workspace."""
    async with run_slack() as running:
        yield running


@pytest.fixture
def channel(tmp_path: Path) -> ChannelSpec:
    """A channel to its conversation."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return ChannelSpec(
        "deploys",
        ChannelType.SLACK,
        token_file=str(tmp_path / "token"),
        conversation=CONVERSATION,
    )


@pytest.fixture
async def outgoing() -> AsyncIterator[Outgoing]:
    """Connections that wait for no answer longer than a moment."""
    made = Outgoing(timeout=timedelta(milliseconds=400))
    yield made
    await made.close()


@pytest.fixture
def reports(slack: SlackServer, outgoing: Outgoing) -> SlackReports:
    """What shows reports there."""
    return SlackReports(outgoing, ManualClock(), slack.url)


async def test_a_release_is_one_message_with_its_runs_in_the_thread(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """A line for each stage; the steps of each run below it."""
    memory = Memory()
    await reports.show(channel, RELEASE, memory.state, memory.remember)
    [parent] = slack.parents
    assert "*shop*  brave-otter\nServe two kinds of tea" in parent.text
    assert ":large_blue_circle:  *staging*: Apply" in parent.text
    assert ":white_circle:  *production*: waits for staging" in parent.text
    assert "Ada Example" in parent.text
    assert "<https://gitopsd.example/api/v1/releases/r-1|details>" in parent.text
    assert parent.arguments["text"] == (
        "shop brave-otter: staging: Apply; production: waits for staging"
    )
    [run] = slack.below(parent)
    assert ":white_check_mark:  Render, 1.2 s" in run.text
    assert ":large_blue_circle:  Apply, since <!date^" in run.text
    assert "1 of 2 waves" in run.text
    assert "reply_broadcast" not in run.arguments


async def test_only_what_changed_is_updated(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """A step moves the thread; the message of the release stays as it is."""
    memory = Memory()
    await reports.show(channel, RELEASE, memory.state, memory.remember)
    run = replace(RELEASE.runs[0], sentence="a clause more")
    await reports.show(channel, replace(RELEASE, runs=(run,)), memory.state, memory.remember)
    assert slack.calls == ["chat.postMessage", "chat.postMessage", "chat.update"]
    assert [len(one.versions) for one in slack.messages] == [1, 2]


async def test_an_approval_can_be_decided_on_a_phone(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """What changes, where, who pushed, who may, until when, and the command to approve."""
    memory = Memory()
    await reports.show(channel, APPROVAL, memory.state, memory.remember)
    [asked] = slack.messages
    assert "*Approve? shop to production*" in asked.text
    assert "*brave-otter: Serve two kinds of tea*\nby Ada Example, commit `3f9a1c2d`" in asked.text
    assert "*Where:* cluster `prod`, namespace `shop`" in asked.text
    assert "*Who may:* group:release-managers, 0 of 1 so far" in asked.text
    assert "*Until:* <!date^" in asked.text
    assert "*What changes:* 1 created, 2 configured, 1 pruned" in asked.text
    assert "\u2022 pruned `ConfigMap shop/old`" in asked.text
    assert f"```gitopsd approve shop-production-cd34 --plan {PLAN}```" in asked.text
    assert f"```gitopsd reject shop-production-cd34 --plan {PLAN}```" in asked.text
    assert "<https://gitopsd.example/api/v1/runs/shop-production-cd34|details>" in asked.text
    fallback = asked.arguments["text"]
    assert fallback.startswith("Approve? shop to production: brave-otter")
    assert f"gitopsd approve shop-production-cd34 --plan {PLAN}" in fallback


@pytest.mark.parametrize(
    "outcome, said",
    [
        (Outcome.APPROVED, "*Approved: shop to production*"),
        (Outcome.REJECTED, "*Rejected: shop to production*"),
        (Outcome.EXPIRED, "*Expired: shop to production*"),
        (Outcome.CHANGED, "*Asked anew: shop to production*"),
        (Outcome.ENDED, "*Not asked any more: shop to production*"),
    ],
)
async def test_a_request_is_updated_to_its_outcome(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec, outcome: Outcome, said: str
) -> None:
    """Nobody is told a command that does nothing any more."""
    memory = Memory()
    await reports.show(channel, APPROVAL, memory.state, memory.remember)
    done = replace(APPROVAL, outcome=outcome, sentence="approved by alex", at=START)
    await reports.show(channel, done, memory.state, memory.remember)
    [told] = slack.messages
    assert f"{said}\napproved by alex, <!date^" in told.text
    assert "gitopsd approve" not in told.text
    assert "gitopsd approve" not in told.arguments["text"]


async def test_a_group_is_asked_for_in_one_message(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """Each stage with what changes there, who may, until when, and one command for all."""
    memory = Memory()
    await reports.show(channel, GROUP, memory.state, memory.remember)
    [asked] = slack.messages
    assert "*Approve? group world of shop: 3 plans*" in asked.text
    assert "*brave-otter: Serve two kinds of tea*\nby Ada Example, commit `3f9a1c2d`" in asked.text
    assert "*Who may:* group:release-managers, 0 of 1 so far" in asked.text
    assert "*Until:* <!date^" in asked.text
    where = "*eu* (cluster `eu`, namespace `shop`): 1 configured"
    assert f"{where}\n\u2022 configured `Deployment shop/api`" in asked.text
    assert ":white_circle:  *asia*: in Diff" in asked.text
    command = "shop --group world --plan plans-0123456789abcdef"
    assert f"```gitopsd approve {command}```" in asked.text
    assert f"```gitopsd reject {command}```" in asked.text
    assert asked.arguments["text"].endswith(f"3 plans. gitopsd approve {command}")

    many = replace(GROUP.plans[0], changes=(("created", TELLING),) * 7)
    await _show_of_group(reports, channel, memory, many)
    [asked] = slack.messages
    assert "and 2 more" in asked.text
    assert "<!channel" not in asked.text


async def test_a_groups_request_says_what_became_of_each_stage(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """What is asked still stays to be approved; afterwards there is no command."""
    memory = Memory()
    first, *rest = GROUP.plans
    done = replace(first, outcome=Outcome.APPROVED, sentence="approved by alex", at=START)
    await _show_of_group(reports, channel, memory, done, *rest)
    [told] = slack.messages
    assert "*Approve? group world of shop: 2 plans*" in told.text
    assert (
        ":white_check_mark:  *canary* (cluster `canary`, namespace `shop`): approved by alex"
        in (told.text)
    )
    ended = [replace(one, outcome=Outcome.APPROVED, sentence="approved by alex") for one in rest]
    await _show_of_group(reports, channel, memory, done, *ended)
    assert "*Approved: group world of shop*" in told.text
    assert "gitopsd approve" not in told.text + told.arguments["text"]
    refused = replace(first, outcome=Outcome.REJECTED)
    await _show_of_group(reports, channel, memory, refused, *ended)
    assert "*Not asked any more: group world of shop*" in told.text
    assert ":no_entry_sign:  *canary* (cluster `canary`, namespace `shop`): rejected" in told.text


async def _show_of_group(
    reports: SlackReports, channel: ChannelSpec, memory: Memory, *plans: ApprovalReport
) -> None:
    await reports.show(channel, replace(GROUP, plans=plans), memory.state, memory.remember)


async def test_a_call_is_in_the_thread_and_heard_in_the_conversation(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """An update rings no phone, so what a person must see is a message too."""
    memory, call = Memory(), Memory()
    await reports.show(channel, RELEASE, memory.state, memory.remember)
    await reports.show(channel, CALL, call.state, call.remember, under=memory.state)
    told = slack.find(":rotating_light:")
    assert told.thread == slack.parents[0].ts
    assert told.arguments["reply_broadcast"] is True


async def test_a_call_without_a_release_stands_by_itself(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """A freeze, say, is about no release."""
    memory = Memory()
    await reports.show(channel, CALL, memory.state, memory.remember)
    [told] = slack.parents
    assert "shop/production is stalled" in told.text
    assert "reply_broadcast" not in told.arguments


async def test_what_others_wrote_means_nothing_to_slack(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """No mention, no link, no code of theirs: not in blocks and not in the fallback."""
    memory = Memory()
    line = StageLine(StageName("staging"), Standing.FAILED, TELLING, START)
    run = replace(RELEASE.runs[0], alias=TELLING, sentence=TELLING)
    report = replace(RELEASE, subject=TELLING, author=TELLING, stages=(line,), runs=(run,))
    await reports.show(channel, report, memory.state, memory.remember)
    approval = Memory()
    asked = replace(
        APPROVAL, subject=TELLING, author=TELLING, cluster=TELLING, changes=((TELLING, TELLING),)
    )
    await reports.show(channel, asked, approval.state, approval.remember)
    for message in slack.messages:
        text = message.text + message.arguments["text"]
        assert "<!channel" not in text
        assert "<https://evil" not in text
        assert "`rm`" not in text
        assert "&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt; 'rm' @here" in text
        held = [
            one
            for block in message.arguments["blocks"]
            for one in block.get("elements", [block.get("text")])
        ]
        assert all(one["verbatim"] is True for one in held)
        assert message.arguments["unfurl_links"] is False


async def test_what_turns_text_around_is_left_out(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """A subject cannot show another command than the one to copy."""
    memory = Memory()
    report = replace(APPROVAL, subject="safe\u202e evil \u2066\x07\u200b\u2029tail")
    await reports.show(channel, report, memory.state, memory.remember)
    [asked] = slack.messages
    assert re.search("[\u200b\u2029\u202e\u2066\x07]", asked.text) is None
    assert "safe evil tail" in asked.text


async def test_secrets_are_masked(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """Whatever a cluster or a commit message quotes passes the one redaction."""
    memory = Memory()
    planted = "password=hunter22hunter22 and ghp_abcdefghijklmnopqrst"
    line = StageLine(StageName("staging"), Standing.FAILED, planted, START)
    report = replace(RELEASE, subject=planted, stages=(line,))
    await reports.show(channel, report, memory.state, memory.remember)
    sent = json.dumps([arguments for _, arguments in slack.requests])
    assert "hunter22" not in sent
    assert "ghp_abc" not in sent


async def test_limits_are_kept(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """However long everything is, Slack takes it, and the command to approve is whole."""
    memory, approval = Memory(), Memory()
    long = "&" * 5000
    stages = tuple(
        StageLine(StageName(f"stage-{number}"), Standing.LIVE, long, START) for number in range(200)
    )
    runs = tuple(replace(RELEASE.runs[0], run=RunId(f"r{n}"), sentence=long) for n in range(10))
    report = replace(RELEASE, subject=long, author=long, stages=stages, runs=runs)
    await reports.show(channel, report, memory.state, memory.remember)
    asked = replace(
        APPROVAL,
        subject=long,
        author=long,
        changes=tuple(("configured", f"{long}{number}") for number in range(1000)),
        counts=(("configured", 1000),),
        notes=(long,) * 100,
        votes=(("someone", long),) * 100,
        approvers=(long,) * 100,
    )
    await reports.show(channel, asked, approval.state, approval.remember)
    assert set(slack.calls) == {"chat.postMessage"}  # nothing was refused and sent again
    assert "and 175 more stages" in slack.parents[0].text or "left out" in slack.parents[0].text
    told = slack.find("gitopsd approve")
    assert f"--plan {PLAN}```" in told.text
    assert "and 985 more" in told.text


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_blocks_too_long"])
async def test_blocks_that_slack_refuses_become_plain_text(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec, code: str
) -> None:
    """A limit that nobody wrote down costs the form, not the message."""
    slack.odd.once("postMessage", say(200, {"ok": False, "error": code}))
    memory = Memory()
    await reports.show(channel, CALL, memory.state, memory.remember)
    [told] = slack.messages
    assert "blocks" not in told.arguments
    assert told.arguments["text"] == "shop/production is stalled"


async def test_a_lost_message_is_found_by_its_metadata_on_a_later_page(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """Other messages, also of ours, are not taken for it; in threads as well."""
    for number in range(3):
        other = Memory()
        await reports.show(
            channel, replace(CALL, id=f"other-{number}"), other.state, other.remember
        )
    memory = Memory()
    slack.odd.once("postMessage", drop_after())
    with pytest.raises(TemporaryError):
        await reports.show(channel, RELEASE, memory.state, memory.remember)
    parent = slack.messages[3]
    after = Memory()
    await reports.show(channel, replace(CALL, id="after"), after.state, after.remember)
    slack.odd.once("postMessage", drop_after())
    with pytest.raises(TemporaryError):
        await reports.show(channel, RELEASE, memory.state, memory.remember)
    await reports.show(channel, settled(RELEASE), memory.state, memory.remember)
    assert len(slack.messages) == 6
    assert len(slack.below(parent)) == 1
    assert "verified" in parent.text
    searched = [arguments for method, arguments in slack.requests if "conversations" in method]
    assert float(searched[0]["oldest"]) < START.timestamp()
    assert parent.arguments["metadata"] == {
        "event_type": EVENT_TYPE,
        "event_payload": {"id": f"{RELEASE.id}#main"},
    }


async def test_a_message_is_looked_for_only_when_its_posting_was_not_seen_to_end(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """A definite refusal, and a server that is not there, leave nothing to look for."""
    memory = Memory()
    slack.odd.once("postMessage", say(429, {"ok": False}, Retry_After="30"))
    with pytest.raises(TemporaryError) as caught:
        await reports.show(channel, CALL, memory.state, memory.remember)
    assert caught.value.retry_after == timedelta(seconds=30)
    await reports.show(channel, CALL, memory.state, memory.remember)
    assert slack.calls == ["chat.postMessage", "chat.postMessage"]


async def test_without_the_right_to_look_it_is_posted_again_and_said(
    slack: SlackServer,
    reports: SlackReports,
    channel: ChannelSpec,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A message twice is better than none."""
    slack.scopes = {"chat:write"}
    memory = Memory()
    slack.odd.once("postMessage", drop_after())
    with pytest.raises(TemporaryError):
        await reports.show(channel, CALL, memory.state, memory.remember)
    await reports.show(channel, CALL, memory.state, memory.remember)
    assert len(slack.messages) == 2
    assert "channels:history" in caplog.text


async def test_a_deleted_message_stays_deleted(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """Whoever removed it does not want it back; its thread ends with it."""
    memory = Memory()
    await reports.show(channel, RELEASE, memory.state, memory.remember)
    slack.messages.clear()
    await reports.show(channel, settled(RELEASE), memory.state, memory.remember)
    calls = len(slack.calls)
    await reports.show(channel, RELEASE, memory.state, memory.remember)
    assert slack.messages == []
    assert len(slack.calls) == calls


async def test_a_call_below_a_deleted_message_stands_by_itself(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """What people must see does not go with the message that somebody removed."""
    memory, call = Memory(), Memory()
    await reports.show(channel, RELEASE, memory.state, memory.remember)
    slack.messages.clear()
    await reports.show(channel, settled(RELEASE), memory.state, memory.remember)
    await reports.show(channel, CALL, call.state, call.remember, under=memory.state)
    assert "stalled" in slack.parents[0].text


async def test_the_message_of_another_app_is_left_and_begun_anew(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """With a new token the old messages cannot be updated."""
    memory = Memory()
    await reports.show(channel, CALL, memory.state, memory.remember)
    slack.odd.once("chat.update", say(200, {"ok": False, "error": "cant_update_message"}))
    changed = replace(CALL, sentence="another")
    await reports.show(channel, changed, memory.state, memory.remember)
    assert [one.arguments["text"] for one in slack.messages] == [CALL.sentence, "another"]
    await reports.show(channel, changed, memory.state, memory.remember)
    assert len(slack.messages) == 2


@pytest.mark.parametrize(
    "code, advice",
    [
        ("invalid_auth", "Put the bot token of an installed app (xoxb-...) into"),
        ("token_revoked", "Put the bot token of an installed app (xoxb-...) into"),
        ("account_inactive", "Put the bot token of an installed app (xoxb-...) into"),
        ("missing_scope", "Give the app the scope chat:write and install it again"),
        ("channel_not_found", f"Invite the app to the conversation {CONVERSATION}"),
        ("not_in_channel", f"Invite the app to the conversation {CONVERSATION}"),
        ("is_archived", f"Take the conversation {CONVERSATION} out of the archive"),
    ],
)
async def test_what_a_person_must_change_is_said(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec, code: str, advice: str
) -> None:
    """Slack's word, and what to do; the token itself is nowhere."""
    answer = {"ok": False, "error": code, "needed": "chat:write"}
    slack.odd.always("/api/", say(200, answer))
    memory = Memory()
    with pytest.raises(PermanentError) as caught:
        await reports.show(channel, CALL, memory.state, memory.remember)
    assert caught.value.reason == MISCONFIGURED
    assert caught.value.message.startswith(f"channel deploys: Slack answered 200: {code}. {advice}")
    assert TOKEN not in caught.value.message


@pytest.mark.parametrize("code", ["msg_too_long", "no_text", "restricted_whatever"])
async def test_a_refused_message_does_not_condemn_the_channel(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec, code: str
) -> None:
    """Other messages may well be taken."""
    slack.odd.always("/api/", say(200, {"ok": False, "error": code}))
    memory = Memory()
    with pytest.raises(PermanentError) as caught:
        await reports.show(channel, CALL, memory.state, memory.remember)
    assert caught.value.reason != MISCONFIGURED


@pytest.mark.parametrize("code", ["internal_error", "fatal_error", "service_unavailable"])
async def test_what_slack_could_not_end_may_have_been_done(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec, code: str
) -> None:
    """Such an answer is trouble that passes, and the message is looked for before it is sent."""
    slack.odd.once("postMessage", say(200, {"ok": False, "error": code}))
    memory = Memory()
    with pytest.raises(TemporaryError):
        await reports.show(channel, CALL, memory.state, memory.remember)
    await reports.show(channel, CALL, memory.state, memory.remember)
    assert slack.calls == ["chat.postMessage", "conversations.history", "chat.postMessage"]


@pytest.mark.parametrize(
    "status, body, headers",
    [
        (429, {"ok": False, "error": "ratelimited"}, {"Retry_After": "7"}),
        (200, {"ok": False, "error": "ratelimited"}, {"Retry_After": "7"}),
        (503, b"busy", {"Retry_After": "7"}),
    ],
)
async def test_a_pause_that_slack_asks_for_is_passed_on(
    slack: SlackServer,
    reports: SlackReports,
    channel: ChannelSpec,
    status: int,
    body: object,
    headers: dict[str, str],
) -> None:
    """`Retry-After` counts wherever it stands."""
    slack.odd.always("/api/", say(status, body, **headers))
    memory = Memory()
    with pytest.raises(TemporaryError) as caught:
        await reports.show(channel, CALL, memory.state, memory.remember)
    assert caught.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"[1]", b'"ok"', b"{", b"\xff\xfe", b"{}", b'{"ok": true}',
     b'{"ok": true, "ts": 5}', b"[" * 100_000, b'{"ok": "yes", "ts": ""}'],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/gzip"])
async def test_what_is_not_slacks_is_trouble_that_passes(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec, body: bytes, kind: str
) -> None:
    """A proxy's page, half an answer, anything: nothing is taken for a success."""
    slack.odd.always("/api/", say(200, body, Content_Type=kind))
    memory = Memory()
    with pytest.raises(TemporaryError):
        await reports.show(channel, CALL, memory.state, memory.remember)


@pytest.mark.parametrize("status", [301, 302, 307, 404, 405])
async def test_a_wrong_address_is_said_and_no_redirect_is_followed(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec, status: int
) -> None:
    """The token goes to the configured address alone."""
    async with run_lying_server() as elsewhere:
        slack.odd.always("/api/", say(status, b"<html>", Location=f"{elsewhere.url}/api/x"))
        memory = Memory()
        with pytest.raises(PermanentError) as caught:
            await reports.show(channel, CALL, memory.state, memory.remember)
        assert "GITOPSD_SLACK__BASE_URL" in caught.value.message
        assert elsewhere.requests == []


async def test_a_server_that_is_not_there_is_trouble_that_passes(
    outgoing: Outgoing, channel: ChannelSpec
) -> None:
    """Connection refused: nothing was sent."""
    reports = SlackReports(outgoing, ManualClock(), f"http://127.0.0.1:{find_free_port()}/api/")
    memory = Memory()
    with pytest.raises(TemporaryError):
        await reports.show(channel, CALL, memory.state, memory.remember)
    assert memory.state == {"pieces": {}, "making": {}}


async def test_answers_are_bounded(outgoing: Outgoing, channel: ChannelSpec) -> None:
    """An answer without end, one that breaks off, and none at all are trouble that passes."""
    async with run_lying_server(pour(10**9), reset_in_body(), hang_up(), reply(500)) as lying:
        reports = SlackReports(outgoing, ManualClock(), f"{lying.url}/api/")
        memory = Memory()
        for _ in range(4):
            with pytest.raises(TemporaryError):
                await reports.show(channel, CALL, memory.state, memory.remember)
        assert lying.sent < MAX_BODY_BYTES + 10_000_000


@pytest.mark.parametrize("content", [b"", b"\xff", b"two words\n", b"xoxb-a\nxoxb-b\n"])
async def test_a_file_without_a_token_is_said(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec, content: bytes
) -> None:
    """It may be in the middle of being replaced; nothing is sent meanwhile."""
    write_file(channel.token_file, content)
    memory = Memory()
    with pytest.raises(TemporaryError) as caught:
        await reports.show(channel, CALL, memory.state, memory.remember)
    assert channel.token_file in caught.value.message
    assert slack.calls == []


async def test_a_rotated_token_counts_at_once(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """Files are read each time."""
    slack.tokens = {"xoxb-another"}
    memory = Memory()
    with pytest.raises(PermanentError):
        await reports.show(channel, CALL, memory.state, memory.remember)
    write_file(channel.token_file, b"xoxb-another\n")
    await reports.show(channel, CALL, memory.state, memory.remember)
    assert len(slack.messages) == 1


@pytest.mark.parametrize(
    "state",
    [
        {"pieces": 5, "making": []},
        {"pieces": {"main": 7}},
        {"pieces": {"main": {"gone": True}}, "making": None},
        {"other": "x"},
    ],
)
async def test_what_was_remembered_by_another_version_does_no_harm(
    reports: SlackReports, channel: ChannelSpec, state: JsonObject
) -> None:
    """A state that is not understood is begun anew."""
    memory = Memory()
    await reports.show(channel, RELEASE, state, memory.remember)


async def test_each_phase_of_a_run_has_words(
    slack: SlackServer, reports: SlackReports, channel: ChannelSpec
) -> None:
    """Whatever becomes of a run is said in words too, for who sees no signs."""
    memory = Memory()
    for phase in Phase:
        run = replace(RELEASE.runs[0], phase=phase)
        await reports.show(channel, replace(RELEASE, runs=(run,)), memory.state, memory.remember)
        [told] = slack.below(slack.parents[0])
        assert phase.value in told.arguments["text"]
