"""``checks:``: reads check runs and statuses of commits on GitHub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gitopsd.adapters.notify.github_client import GitHubClient
from gitopsd.domain.asked_gates import (
    ChecksGate,
    CommitOf,
    Finding,
    GateQuestion,
    ProbeAnswer,
)
from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.config import Configuration
from gitopsd.domain.manifests import Json
from gitopsd.errors import TemporaryError
from gitopsd.kube.redaction import redact_clause
from gitopsd.pipeline.check_judging import CommitCheck, judge_checks, select_commits

PER_PAGE = 100
MOST_PAGES = 10
"""A commit with more checks of one kind than fit on these cannot be judged."""

_WEB = ("https://", "http://")
_LONGEST_URL = 300


class ChecksProber:
    """Reads how commits stand on their host.

    Args:
        client: GitHub.
        configuration: Tells which channels there are: their credentials are used.
    """

    def __init__(self, client: GitHubClient, configuration: Callable[[], Configuration]) -> None:
        self._client = client
        self._configuration = configuration

    async def ask(self, gate: ChecksGate, question: GateQuestion) -> ProbeAnswer:
        """Ask once.

        Raises:
            GitopsdError: GitHub does not answer, or does not let us see it.
        """
        channel = self._find_channel(gate)
        if channel is None:
            return _trouble("there is no channel of type github that could sign in")
        repository = gate.repository or self._client.find_repository(channel, question.repository)
        if not repository:
            return _trouble(f"{question.repository} is not on the GitHub of channel {channel.name}")
        own = gate.of is CommitOf.CONFIG
        commits = (question.commit,) if own else select_commits(question.revisions)
        if isinstance(commits, ProbeAnswer):
            return replace(commits, sentence=redact_clause(commits.sentence))
        found = {sha: await self._fetch(channel, repository, sha) for sha in commits}
        answer = judge_checks(gate.names, gate.accept, found)
        wanted: Json = [
            {"commit": sha, "name": one.name, "state": one.state, "url": one.url}
            for sha, checks in found.items()
            for one in checks
            if one.name in gate.names
        ]
        details: Json = {"repository": repository, "checks": wanted}
        return replace(answer, sentence=redact_clause(answer.sentence), details=details)

    def _find_channel(self, gate: ChecksGate) -> ChannelSpec | None:
        channels = self._configuration().channels.values()
        fit = [
            one
            for one in channels
            if one.type is ChannelType.GITHUB and gate.channel in ("", one.name)
        ]
        return fit[0] if fit else None

    async def _fetch(
        self, channel: ChannelSpec, repository: str, sha: str
    ) -> tuple[CommitCheck, ...]:
        """Read every check run and every status of a commit, the newest of each."""
        runs = await self._fetch_pages(channel, repository, f"/commits/{sha}/check-runs", "runs")
        statuses = await self._fetch_pages(
            channel, repository, f"/commits/{sha}/status", "statuses"
        )
        return (*map(_read_run, runs), *map(_read_status, statuses))

    async def _fetch_pages(
        self, channel: ChannelSpec, repository: str, path: str, kind: str
    ) -> list[dict[str, Any]]:
        """Read a list page by page, by number: an address that an answer names is not followed."""
        key = "check_runs" if kind == "runs" else "statuses"
        found: list[dict[str, Any]] = []
        for page in range(1, MOST_PAGES + 1):
            answer = await self._client.get(
                channel, repository, f"{path}?per_page={PER_PAGE}&page={page}"
            )
            rows = answer.get(key) if isinstance(answer, dict) else None
            if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
                raise TemporaryError(f"GitHub answered no {kind} of {path.split('/')[2][:12]}")
            found += rows
            if len(rows) < PER_PAGE:
                return found
        raise TemporaryError(f"{path.split('/')[2][:12]} has more than {len(found)} {kind}")


def _read_run(row: dict[str, Any]) -> CommitCheck:
    done = row.get("status") == "completed"
    state = row.get("conclusion") if done else row.get("status")
    return CommitCheck(str(row.get("name")), _read_state(state), _read_url(row.get("html_url")))


def _read_status(row: dict[str, Any]) -> CommitCheck:
    url = _read_url(row.get("target_url"))
    return CommitCheck(str(row.get("context")), _read_state(row.get("state")), url)


def _read_state(state: Any) -> str:
    return state[:40] if isinstance(state, str) and state else "unknown"


def _read_url(url: Any) -> str:
    usable = isinstance(url, str) and url.startswith(_WEB) and len(url) <= _LONGEST_URL
    return redact_clause(url) if usable else ""


def _trouble(sentence: str) -> ProbeAnswer:
    return ProbeAnswer(Finding.INCONCLUSIVE, redact_clause(sentence))
