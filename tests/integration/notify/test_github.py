"""GitHub: what it is told beside a commit, how that is found again, and what refusals mean."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gitopsd.adapters.notify.github import MAX_DESCRIPTION, GitHubReports
from gitopsd.adapters.notify.github_client import API_VERSION
from gitopsd.adapters.notify.outgoing import MAX_BODY_BYTES, Outgoing
from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.reports import Check, StageReport
from gitopsd.domain.runs import RunId, RunKind
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.ports import MISCONFIGURED, MISCONFIGURED_PART
from gitopsd.testing.clock import START, ManualClock
from tests.support.github_server import REPOSITORY, TOKEN, GitHubServer, run_github
from tests.support.lying_server import hang as hang_up
from tests.support.lying_server import pour, reply, reset_in_body, run_lying_server
from tests.support.odd_answers import drop_after, say
from tests.support.redis import find_free_port
from tests.support.report_values import SHA, STAGE, Memory, write_file

LINK = "https://gitopsd.example/api/v1/runs/shop-staging-ab12"
CONTEXT = "gitopsd/staging/shop"


@pytest.fixture
def clock() -> ManualClock:
    """Time of both sides."""
    return ManualClock()


@pytest.fixture
async def github(clock: ManualClock) -> AsyncIterator[GitHubServer]:
    """A host with one repository."""
    async with run_github(clock) as running:
        yield running


@pytest.fixture
def channel(tmp_path: Path) -> ChannelSpec:
    """A channel that signs in with a token."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return ChannelSpec("commits", ChannelType.GITHUB, token_file=str(tmp_path / "token"))


@pytest.fixture
async def outgoing() -> AsyncIterator[Outgoing]:
    """Connections that wait for no answer longer than a moment."""
    made = Outgoing(timeout=timedelta(milliseconds=400))
    yield made
    await made.close()


@pytest.fixture
def reports(github: GitHubServer, outgoing: Outgoing, clock: ManualClock) -> GitHubReports:
    """What shows reports there."""
    return GitHubReports(outgoing, clock, github.url)


def _done(state: Check = Check.SUCCESS, sentence: str = "verified") -> StageReport:
    deployment = replace(STAGE.deployments[0], state=state, sentence=sentence)
    return replace(STAGE, state=state, sentence=sentence, deployments=(deployment,))


async def _show(reports: GitHubReports, channel: ChannelSpec, report: StageReport) -> Memory:
    memory = Memory()
    await reports.show(channel, report, memory.state, memory.remember)
    return memory


async def test_a_commit_has_a_status_under_the_stages_own_name(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec
) -> None:
    """Context, state, description and link; no link when no public address is known."""
    linked = replace(STAGE, link=LINK, deployments=())
    await _show(reports, channel, linked)
    await _show(reports, channel, replace(STAGE, deployments=()))
    assert github.statuses == [
        (
            SHA,
            {
                "state": "pending",
                "context": CONTEXT,
                "description": "on its way",
                "target_url": LINK,
            },
        ),
        (SHA, {"state": "pending", "context": CONTEXT, "description": "on its way"}),
    ]
    assert github.headers["x-github-api-version"] == API_VERSION
    assert github.headers["accept"] == "application/vnd.github+json"
    assert github.headers["user-agent"] == "gitopsd"


@pytest.mark.parametrize("state", list(Check))
async def test_every_state_has_its_word(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec, state: Check
) -> None:
    """A deployment on its way is called otherwise than a status."""
    await _show(reports, channel, _done(state))
    assert github.states(CONTEXT) == [state.value]
    said = "in_progress" if state is Check.PENDING else state.value
    assert [one["state"] for one in github.deployments[0]["statuses"]] == [said]


async def test_a_run_that_writes_is_a_deployment_of_its_stage(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec
) -> None:
    """Nothing is merged, no gate of GitHub's own is asked, and the run is in the payload."""
    linked = replace(STAGE.deployments[0], link=LINK)
    rollback = replace(
        linked,
        run=RunId("shop-staging-ab12-rb"),
        kind=RunKind.ROLLBACK,
        sha=CommitSha("b" * 40),
    )
    await _show(reports, channel, replace(STAGE, last_stage=True, deployments=(linked, rollback)))
    first, second = github.deployments
    statuses = first.pop("statuses")
    assert first == {
        "id": 900,
        "sha": SHA,
        "ref": SHA,
        "task": "deploy",
        "auto_merge": False,
        "required_contexts": [],
        "environment": "staging",
        "production_environment": True,
        "description": "bringing brave-otter",
        "payload": {
            "gitopsd": "inst",
            "application": "shop",
            "stage": "staging",
            "run": "shop-staging-ab12",
        },
    }
    assert statuses == [
        {
            "state": "in_progress",
            "description": "bringing brave-otter",
            "environment": "staging",
            "auto_inactive": True,
            "log_url": LINK,
        }
    ]
    assert (second["task"], second["ref"]) == ("rollback", "b" * 40)


async def test_applications_of_one_repository_leave_each_others_deployments_alone(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec
) -> None:
    """Their stages have the same names, and a success would end all others of that name."""
    await _show(reports, channel, replace(STAGE, alone=False))
    assert github.deployments[0]["statuses"][0]["auto_inactive"] is False


async def test_descriptions_are_short_and_masked(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec
) -> None:
    """At most 140 characters, on one line, without what looks like a secret."""
    await _show(reports, channel, _done(Check.FAILURE, "password=hunter22hunter22\n" + "x" * 500))
    [(_, status)] = github.statuses
    assert len(status["description"]) == MAX_DESCRIPTION
    assert "hunter" not in status["description"]
    assert "\n" not in status["description"]


async def test_descriptions_hold_no_sign_that_github_refuses(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec
) -> None:
    """An emoji in what somebody wrote, or a pod said, leaves no commit pending for ever."""
    sentence = "rejected by alex: not today \U0001f37a, na\u00efve \u2192 \u65e5\u672c"
    deployment = replace(STAGE.deployments[0], sentence=sentence)
    await _show(reports, channel, replace(STAGE, sentence=sentence, deployments=(deployment,)))
    written = "rejected by alex: not today ?, na\u00efve \u2192 \u65e5\u672c"
    assert [one["description"] for _, one in github.statuses] == [written]
    assert [one["description"] for one in github.deployments[0]["statuses"]] == [written]


async def test_a_deleted_deployment_stays_deleted(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec
) -> None:
    """Somebody tidied up: the rest of the report goes on, and it is not asked about again."""
    memory = await _show(reports, channel, STAGE)
    github.deployments.clear()
    live = replace(STAGE.deployments[0], state=Check.SUCCESS, sentence="live")
    more = replace(live, run=RunId("shop-staging-2"))
    report = replace(STAGE, state=Check.SUCCESS, sentence="live", deployments=(live, more))
    await reports.show(channel, report, memory.state, memory.remember)
    assert github.states("gitopsd/staging/shop")[-1] == "success"
    assert [one["payload"]["run"] for one in github.deployments] == ["shop-staging-2"]
    asked = len(github.calls)
    again = replace(report, deployments=(replace(live, sentence="live still"), more))
    await reports.show(channel, again, memory.state, memory.remember)
    assert len(github.calls) == asked


async def test_a_repository_that_is_lost_meanwhile_is_no_deleted_deployment(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec
) -> None:
    """When nothing can be seen any more a person must see to it; nothing is forgotten."""
    memory = await _show(reports, channel, STAGE)
    github.odd.always("/deployments", say(404, {"message": "Not Found"}))
    live = replace(STAGE.deployments[0], state=Check.SUCCESS, sentence="live")
    report = replace(STAGE, deployments=(live,))
    with pytest.raises(PermanentError) as caught:
        await reports.show(channel, report, memory.state, memory.remember)
    assert caught.value.reason == MISCONFIGURED_PART
    github.odd.always("/deployments", None)
    await reports.show(channel, report, memory.state, memory.remember)
    assert github.deployments[0]["statuses"][-1]["state"] == "success"


async def test_what_stands_there_already_is_not_said_again(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec
) -> None:
    """A commit takes a thousand statuses of one context, and GitHub counts requests."""
    memory = await _show(reports, channel, STAGE)
    calls = len(github.calls)
    await reports.show(channel, STAGE, memory.state, memory.remember)
    assert len(github.calls) == calls


async def test_a_lost_answer_is_looked_for_everywhere(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec
) -> None:
    """Status, deployment and deployment status: none is made twice when its answer was lost."""
    memory = Memory()
    for word in ("/statuses/", "/deployments", "/deployments/900/statuses"):
        github.odd.once(word, drop_after())
        with pytest.raises(TemporaryError):
            await reports.show(channel, STAGE, memory.state, memory.remember)
    await reports.show(channel, STAGE, memory.state, memory.remember)
    assert github.states(CONTEXT) == ["pending"]
    assert [len(one["statuses"]) for one in github.deployments] == [1]


async def test_an_older_word_that_came_late_is_put_right(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec
) -> None:
    """What was sent and not answered may arrive after what was sent later."""
    memory = Memory()
    github.odd.once("/statuses/", github.odd.hang())
    with pytest.raises(TemporaryError):
        await reports.show(channel, replace(STAGE, deployments=()), memory.state, memory.remember)

    late = {"state": "pending", "context": CONTEXT.upper(), "description": "on its way"}

    async def arrive(_: object) -> None:
        github.odd.once("/commits/", between)

    async def between(_: object) -> None:
        github.statuses.append((SHA, late))

    github.odd.once("/commits/", arrive)
    done = replace(_done(), deployments=())
    with pytest.raises(TemporaryError):
        await reports.show(channel, done, memory.state, memory.remember)
    await reports.show(channel, done, memory.state, memory.remember)
    assert github.statuses[-1][1]["state"] == "success"


async def test_a_deployment_of_somebody_else_is_not_taken_for_ours(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec
) -> None:
    """The payload tells them apart, also when GitHub gives it back as text."""
    other = {"ref": SHA, "sha": SHA, "environment": "staging", "statuses": []}
    github.deployments.append({**other, "id": 1, "payload": "{}"})
    github.deployments.append({**other, "id": 2, "payload": "not json"})
    github.deployments.append({**other, "id": 3, "payload": {"run": "shop-staging-ab12"}})
    memory = Memory()
    github.odd.once("/deployments", drop_after())
    with pytest.raises(TemporaryError):
        await reports.show(channel, STAGE, memory.state, memory.remember)
    ours = github.deployments[3]
    ours["payload"] = (
        '{"gitopsd":"inst","application":"shop","stage":"staging","run":"shop-staging-ab12"}'
    )
    await reports.show(channel, STAGE, memory.state, memory.remember)
    assert [len(one["statuses"]) for one in github.deployments] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    "url, asked",
    [
        ("https://github.com/acme/shop-deploy.git", True),
        ("git@github.com:acme/shop-deploy.git", True),
        ("ssh://git@ssh.github.com:443/Acme/Shop-Deploy", True),
        ("http://127.0.0.1:1/acme/shop-deploy.git", True),
        ("https://git.example/acme/shop-deploy.git", False),
        ("https://github.com/shop-deploy.git", False),
        ("https://github.com/acme/group/shop-deploy.git", False),
        ("/srv/git/shop.git", False),
    ],
)
async def test_commits_are_looked_for_where_the_application_is_read_from(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec, url: str, asked: bool
) -> None:
    """A repository elsewhere is nothing that GitHub could show."""
    await _show(reports, channel, replace(STAGE, repository=RepoURL(url)))
    assert bool(github.statuses) == asked


async def test_a_mirror_is_named_in_the_channel(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec
) -> None:
    """Then it does not matter where the application is read from."""
    elsewhere = replace(STAGE, repository=RepoURL("https://git.example/x.git"))
    await _show(reports, replace(channel, repository=REPOSITORY), elsewhere)
    assert github.statuses


@pytest.fixture(scope="module")
def app_key() -> rsa.RSAPrivateKey:
    """The private key of an App, made for these tests."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def app_channel(tmp_path: Path, github: GitHubServer, app_key: rsa.RSAPrivateKey) -> ChannelSpec:
    """A channel that signs in as an App."""
    (tmp_path / "key.pem").write_bytes(
        app_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    github.app_key = app_key.public_key()
    github.tokens.clear()
    return ChannelSpec(
        "commits", ChannelType.GITHUB, app_id="77", key_file=str(tmp_path / "key.pem")
    )


async def test_an_app_signs_in_once_an_hour(
    github: GitHubServer, reports: GitHubReports, app_channel: ChannelSpec, clock: ManualClock
) -> None:
    """It asks for its installation and a token that may do no more than is done here."""
    await _show(reports, app_channel, STAGE)
    await _show(reports, app_channel, _done())
    signing = [call for call in github.calls if "installation" in call]
    assert signing == [
        f"GET /repos/{REPOSITORY}/installation",
        "POST /app/installations/4711/access_tokens",
    ]
    clock.advance(timedelta(minutes=56))
    await _show(reports, app_channel, STAGE)
    assert len([call for call in github.calls if "access_tokens" in call]) == 2


async def test_a_named_installation_is_not_asked_for(
    github: GitHubServer, reports: GitHubReports, app_channel: ChannelSpec
) -> None:
    """One request less, and it works where the App may not list."""
    await _show(reports, replace(app_channel, installation_id="4711"), STAGE)
    assert github.calls[0] == "POST /app/installations/4711/access_tokens"


async def test_a_revoked_token_is_replaced(
    github: GitHubServer, reports: GitHubReports, app_channel: ChannelSpec
) -> None:
    """After one refusal the App signs in again."""
    await _show(reports, app_channel, STAGE)
    github.tokens.clear()
    with pytest.raises(PermanentError):
        await _show(reports, app_channel, STAGE)
    await _show(reports, app_channel, STAGE)


@pytest.mark.parametrize("content", [b"no key\n", b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n"])
async def test_a_file_without_a_key_is_said(
    reports: GitHubReports, app_channel: ChannelSpec, content: bytes
) -> None:
    """By its name; what it holds is not quoted."""
    write_file(app_channel.key_file, content)
    with pytest.raises(PermanentError) as caught:
        await _show(reports, app_channel, STAGE)
    assert caught.value.reason == MISCONFIGURED
    assert app_channel.key_file in caught.value.message
    assert "AAAA" not in caught.value.message


async def test_a_missing_key_may_come_back(
    reports: GitHubReports, app_channel: ChannelSpec, tmp_path: Path
) -> None:
    """A file that is being replaced is not there for a moment."""
    (tmp_path / "key.pem").unlink()
    with pytest.raises(TemporaryError):
        await _show(reports, app_channel, STAGE)


@pytest.mark.parametrize(
    "answer",
    [{}, [], {"token": "x"}, {"token": "", "expires_at": "2030-01-01T00:00:00Z"},
     {"token": "x", "expires_at": "2030-01-01T00:00:00"}, {"token": 5, "expires_at": "soon"}],
)  # fmt: skip
async def test_half_a_token_is_none(
    github: GitHubServer, reports: GitHubReports, app_channel: ChannelSpec, answer: object
) -> None:
    """What cannot be used is trouble that passes."""
    github.odd.always("access_tokens", say(201, answer))
    with pytest.raises(TemporaryError):
        await _show(reports, app_channel, STAGE)


@pytest.mark.parametrize(
    "status, message, advice",
    [
        (401, "Bad credentials", "Put a token, or an App's key, that counts into {file}"),
        (403, "Resource not accessible by integration", "Give what {file} stands for the"),
        (404, "Not Found", f"Let what {{file}} stands for see the repository {REPOSITORY}"),
        (301, "Moved Permanently", f"{REPOSITORY} moved"),
    ],
)
async def test_what_a_person_must_change_is_said(
    github: GitHubServer,
    reports: GitHubReports,
    channel: ChannelSpec,
    status: int,
    message: str,
    advice: str,
) -> None:
    """GitHub's words, and what to do; the token itself is nowhere."""
    github.odd.always("/repos/", say(status, {"message": message}, Location="http://127.0.0.1:9/"))
    with pytest.raises(PermanentError) as caught:
        await _show(reports, channel, STAGE)
    assert caught.value.reason == (MISCONFIGURED if status == 401 else MISCONFIGURED_PART)
    assert caught.value.message.startswith(f"channel commits: GitHub answered {status}: {message}.")
    assert advice.format(file=channel.token_file) in caught.value.message
    assert TOKEN not in caught.value.message


async def test_a_refused_status_does_not_condemn_the_channel(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec
) -> None:
    """A commit that GitHub does not have, say: others it has."""
    errors = [{"message": "No commit found for SHA"}, {"code": "custom"}, "text"]
    github.odd.always("/repos/", say(422, {"message": "Validation Failed", "errors": errors}))
    with pytest.raises(PermanentError) as caught:
        await _show(reports, channel, STAGE)
    assert caught.value.reason != MISCONFIGURED
    assert "Validation Failed; No commit found for SHA; custom; text" in caught.value.message


_RESET = str(int(START.timestamp()) + 90)


@pytest.mark.parametrize(
    "status, headers, message, pause",
    [
        (403, {"Retry_After": "45"}, "You have exceeded a secondary rate limit", 45),
        (429, {"Retry_After": "45"}, "", 45),
        (403, {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": _RESET}, "API rate limit", 90),
        (403, {}, "You have exceeded a secondary rate limit", 60),
        (429, {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "soon"}, "", 60),
        (429, {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "9" * 30}, "", 3600),
        (503, {"Retry_After": "45"}, "", 45),
    ],
)
async def test_limits_are_kept(
    github: GitHubServer,
    reports: GitHubReports,
    channel: ChannelSpec,
    status: int,
    headers: dict[str, str],
    message: str,
    pause: int,
) -> None:
    """As GitHub documents them; a limit is no lack of rights."""
    github.odd.always("/repos/", say(status, {"message": message}, **headers))
    with pytest.raises(TemporaryError) as caught:
        await _show(reports, channel, STAGE)
    assert caught.value.retry_after == timedelta(seconds=pause)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{", b"\xff", b'{"id": "x"}', b'{"id": true}', b"[" * 100_000]
)
@pytest.mark.parametrize("kind", ["application/json", "text/html"])
async def test_what_is_not_githubs_is_trouble_that_passes(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec, body: bytes, kind: str
) -> None:
    """A deployment without a number is none."""
    headers = {"Content_Type": kind, "X_RateLimit_Limit": "many", "X_RateLimit_Reset": "x"}
    github.odd.always("/deployments", say(201, body, **headers))
    with pytest.raises(TemporaryError):
        await _show(reports, channel, STAGE)


async def test_limits_that_make_no_sense_do_no_harm(
    github: GitHubServer, reports: GitHubReports, channel: ChannelSpec
) -> None:
    """They are not counted here."""
    odd = {"X_RateLimit_Limit": "a", "X_RateLimit_Remaining": "b", "X_RateLimit_Reset": "c"}
    github.odd.always("/statuses/", say(201, {"id": 1}, **odd))
    await _show(reports, channel, replace(STAGE, deployments=()))


async def test_a_server_that_is_not_there_is_trouble_that_passes(
    outgoing: Outgoing, clock: ManualClock, channel: ChannelSpec
) -> None:
    """Connection refused: nothing was sent."""
    reports = GitHubReports(outgoing, clock, f"http://127.0.0.1:{find_free_port()}")
    memory = Memory()
    with pytest.raises(TemporaryError):
        await reports.show(channel, STAGE, memory.state, memory.remember)
    assert memory.state["unclear"] == []


async def test_answers_are_bounded(
    outgoing: Outgoing, clock: ManualClock, channel: ChannelSpec
) -> None:
    """An answer without end, one that breaks off, and none at all are trouble that passes."""
    async with run_lying_server(pour(10**9), reset_in_body(), hang_up(), reply(500)) as lying:
        reports = GitHubReports(outgoing, clock, lying.url)
        for _ in range(4):
            with pytest.raises(TemporaryError):
                await _show(reports, channel, STAGE)
        assert lying.sent < MAX_BODY_BYTES + 10_000_000
