"""``checks:`` against a GitHub on a socket: what is read, how often, and as whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gitopsd.adapters.gates.by_kind import GateProberByKind
from gitopsd.domain.asked_gates import ChecksGate, CommitOf, Finding, ProbeAnswer
from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.config import Configuration
from gitopsd.domain.sources import RepoURL
from gitopsd.testing.clock import ManualClock
from tests.support.gate_questions import COMMIT, ask_for
from tests.support.github_server import REPOSITORY, TOKEN, GitHubServer, run_github
from tests.support.odd_answers import say

GATE = ChecksGate(("ci/test", "lint"))
BUILT = "b" * 40


@pytest.fixture
def clock() -> ManualClock:
    """Time."""
    return ManualClock()


@pytest.fixture
async def github(clock: ManualClock) -> AsyncIterator[GitHubServer]:
    """GitHub."""
    async with run_github(clock) as running:
        yield running


@pytest.fixture
def channels(tmp_path: Path) -> dict[str, ChannelSpec]:
    """The configured channels."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    return {
        "on-call": ChannelSpec("on-call", ChannelType.WEBHOOK, "http://127.0.0.1:1"),
        "commits": ChannelSpec("commits", ChannelType.GITHUB, token_file=str(token)),
    }


@pytest.fixture
async def prober(
    github: GitHubServer, clock: ManualClock, channels: dict[str, ChannelSpec]
) -> AsyncIterator[GateProberByKind]:
    """A prober that signs in as the channel does."""
    made = GateProberByKind(
        lambda: Configuration(channels=channels), clock, github_url=github.url.rstrip("/")
    )
    yield made
    await made.close()


def run_of(name: str, conclusion: str | None = "success", **more: object) -> dict[str, Any]:
    """A check run as the API shows it."""
    done = conclusion is not None
    return {
        "name": name,
        "status": "completed" if done else "in_progress",
        "conclusion": conclusion,
        "html_url": f"https://github.com/{REPOSITORY}/runs/1",
        **more,
    }


def status_of(context: str, state: str = "success") -> dict[str, Any]:
    """A status as the API shows it."""
    return {"context": context, "state": state, "target_url": "https://ci.example/1"}


async def _ask(prober: GateProberByKind, gate: ChecksGate = GATE) -> ProbeAnswer:
    question = ask_for(gate, api=BUILT)
    return await prober.ask(
        replace(question, repository=RepoURL(f"https://github.com/{REPOSITORY}"))
    )


async def test_check_runs_and_statuses_count_alike(
    github: GitHubServer, prober: GateProberByKind
) -> None:
    """Of the release's own commit, each under the name that people see."""
    github.check_runs[COMMIT] = [run_of("lint"), run_of("docs", "failure")]
    github.contexts[COMMIT] = [status_of("ci/test"), status_of("gitopsd/staging/shop", "pending")]
    answer = await _ask(prober)
    assert (answer.finding, answer.sentence) == (
        Finding.MET,
        "ci/test, lint: success on aaaaaaaaaaaa",
    )
    assert answer.details == {
        "repository": REPOSITORY,
        "checks": [
            {
                "commit": COMMIT,
                "name": "lint",
                "state": "success",
                "url": f"https://github.com/{REPOSITORY}/runs/1",
            },
            {
                "commit": COMMIT,
                "name": "ci/test",
                "state": "success",
                "url": "https://ci.example/1",
            },
        ],
    }
    assert github.headers["authorization"].endswith(TOKEN)


async def test_checks_are_followed_as_they_end(
    github: GitHubServer, prober: GateProberByKind
) -> None:
    """Missing, running, failed, run again and good."""
    github.contexts[COMMIT] = [status_of("ci/test")]
    said = []
    for runs in ([], [run_of("lint", None)], [run_of("lint", "timed_out")], [run_of("lint")]):
        github.check_runs[COMMIT] = runs
        answer = await _ask(prober)
        said.append((answer.finding, answer.sentence))
    assert said == [
        (Finding.UNMET, "lint has not appeared on aaaaaaaaaaaa"),
        (Finding.UNMET, "lint is in_progress on aaaaaaaaaaaa"),
        (
            Finding.FAILED,
            f"lint is timed_out on aaaaaaaaaaaa: https://github.com/{REPOSITORY}/runs/1",
        ),
        (Finding.MET, "ci/test, lint: success on aaaaaaaaaaaa"),
    ]


async def test_what_did_not_change_is_not_sent_again(
    github: GitHubServer, prober: GateProberByKind
) -> None:
    """GitHub is asked whether it did, which costs nothing of its limit; a change is seen."""
    github.check_runs[COMMIT] = [run_of("lint")]
    github.contexts[COMMIT] = [status_of("ci/test", "pending")]
    for _ in range(3):
        assert (await _ask(prober)).finding is Finding.UNMET
    assert (github.unchanged, len(github.calls)) == (4, 6)
    github.contexts[COMMIT] = [status_of("ci/test")]
    assert (await _ask(prober)).finding is Finding.MET


async def test_all_pages_are_read(github: GitHubServer, prober: GateProberByKind) -> None:
    """The last of 250 counts as the first does; addresses of next pages are not followed."""
    github.check_runs[COMMIT] = [run_of(f"other-{n}") for n in range(249)] + [run_of("lint")]
    github.contexts[COMMIT] = [status_of(f"other-{n}") for n in range(100)]
    answer = await _ask(prober)
    assert answer.sentence == "ci/test has not appeared on aaaaaaaaaaaa"
    assert len(github.calls) == 3 + 2


async def test_too_many_checks_tell_nothing(github: GitHubServer, prober: GateProberByKind) -> None:
    """What was not read could have failed."""
    github.check_runs[COMMIT] = [run_of("lint") for _ in range(1001)]
    answer = await _ask(prober)
    assert answer.finding is Finding.INCONCLUSIVE
    assert answer.sentence == "aaaaaaaaaaaa has more than 1000 runs"


async def test_the_commits_of_images_are_read(
    github: GitHubServer, prober: GateProberByKind
) -> None:
    """In the repository that they were built from."""
    github.check_runs[BUILT] = [run_of("ci/test"), run_of("lint")]
    gate = replace(GATE, of=CommitOf.APPLICATION, repository=REPOSITORY)
    answer = await _ask(prober, gate)
    assert answer.sentence == "ci/test, lint: success on bbbbbbbbbbbb"
    lost = await prober.ask(ask_for(gate, api=""))
    assert lost.finding is Finding.UNMET
    assert "api names no commit" in lost.sentence


async def test_an_app_asks_for_reading_alone(
    github: GitHubServer,
    prober: GateProberByKind,
    channels: dict[str, ChannelSpec],
    tmp_path: Path,
) -> None:
    """Its token may read checks and statuses, and nothing else."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    file = tmp_path / "app.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    github.app_key = key.public_key()
    channels["commits"] = ChannelSpec(
        "commits", ChannelType.GITHUB, app_id="77", key_file=str(file)
    )
    github.check_runs[COMMIT] = [run_of("ci/test"), run_of("lint")]
    assert (await _ask(prober)).finding is Finding.MET
    assert github.permissions == {"checks": "read", "statuses": "read", "metadata": "read"}


async def test_a_limit_is_waited_for(
    github: GitHubServer, prober: GateProberByKind, clock: ManualClock
) -> None:
    """As long as GitHub says; nothing opens meanwhile."""
    reset = str(int((clock.now() + timedelta(minutes=7)).timestamp()))
    limited = say(
        403,
        {"message": "API rate limit exceeded"},
        x_ratelimit_remaining="0",
        x_ratelimit_reset=reset,
    )
    github.odd.always("check-runs", limited)
    answer = await _ask(prober)
    assert answer.finding is Finding.INCONCLUSIVE
    assert answer.retry_after is not None
    assert timedelta(minutes=6) < answer.retry_after <= timedelta(minutes=7)
    assert "API rate limit exceeded" in answer.sentence


ODD: dict[str, tuple[int, object, str]] = {
    "forbidden": (403, {"message": "Resource not accessible"}, "Checks and Commit statuses (read)"),
    "not there": (404, {"message": "Not Found"}, "see the repository"),
    "no commit": (422, {"message": "No commit found for SHA"}, "No commit found for SHA"),
    "moved": (301, {"message": "Moved Permanently"}, "write the new address"),
    "ill": (500, {"message": "Server Error"}, "answered 500"),
    "html": (200, b"<html>", "answered something that is not its own"),
    "no list": (200, {"check_runs": "none"}, "GitHub answered no runs of aaaaaaaaaaaa"),
    "no rows": (200, {"check_runs": ["lint"]}, "GitHub answered no runs of aaaaaaaaaaaa"),
    "no object": (200, [], "GitHub answered no runs of aaaaaaaaaaaa"),
}


@pytest.mark.parametrize("name", ODD)
async def test_what_is_no_answer_tells_nothing(
    github: GitHubServer, prober: GateProberByKind, name: str
) -> None:
    """The sentence says what is to be done, where it is for a person to do."""
    status, body, sentence = ODD[name]
    more = {"Content_Type": "application/json"} if isinstance(body, bytes) else {}
    github.odd.always("check-runs", say(status, body, **more))
    answer = await _ask(prober)
    assert answer.finding is Finding.INCONCLUSIVE
    assert sentence in answer.sentence


async def test_odd_rows_open_nothing(github: GitHubServer, prober: GateProberByKind) -> None:
    """Without a conclusion, of a strange type, or with an address that is none."""
    odd = {**run_of("ci/test"), "conclusion": 5}
    rows = [odd, run_of("lint", html_url="javascript:x")]
    github.check_runs[COMMIT] = rows
    answer = await _ask(prober)
    assert (answer.finding, answer.sentence) == (
        Finding.UNMET,
        "ci/test is unknown on aaaaaaaaaaaa",
    )
    assert "javascript" not in str(answer.details)


async def test_who_cannot_sign_in_asks_nothing(
    github: GitHubServer, prober: GateProberByKind, channels: dict[str, ChannelSpec]
) -> None:
    """No channel, another channel's name, or a repository elsewhere."""
    away = await prober.ask(
        replace(ask_for(GATE), repository=RepoURL("https://git.example/shop.git"))
    )
    assert away.sentence.endswith("is not on the GitHub of channel commits")
    other = await _ask(prober, replace(GATE, channel="on-call"))
    assert other.sentence == "there is no channel of type github that could sign in"
    channels.clear()
    assert (await _ask(prober)).finding is Finding.INCONCLUSIVE
    assert not github.calls
