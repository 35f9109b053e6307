"""GitHub: a status beside the commit, and a deployment for each run that wrote to a stage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote

from gitopsd.adapters.notify.github_client import GitHubClient, NotThereError
from gitopsd.adapters.notify.outgoing import Outgoing, UnclearError, UnsentError
from gitopsd.domain.channels import ChannelSpec
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.reports import Check, DeploymentReport, Report, StageReport
from gitopsd.domain.runs import RunKind
from gitopsd.errors import PermanentError
from gitopsd.kube.redaction import redact_clause
from gitopsd.ports import Clock, Remember

MAX_DESCRIPTION = 140
"""Longest description of a status, in characters."""

_LAST_SIGN = 0xFFFF
"""Last sign that GitHub takes in a description; beyond it lie emoji."""

_PAGE = 100
_STATUS = "status"
_COMPARED = ("state", "description", "target_url", "log_url")
# GitHub's words for a deployment that is on its way; the others are those of a commit status.
_STATES: Mapping[Check, str] = {Check.PENDING: "in_progress"}


class GitHubReports:
    """Shows how commits stand in stages.

    What it remembers: ``status`` and, for each run, ``deployments`` with its id and what was said
    of it last; ``unclear``, what was sent and not seen to end.

    Args:
        outgoing: Connections.
        clock: Time.
        base_url: Address of the API; empty for the public one.
    """

    def __init__(self, outgoing: Outgoing, clock: Clock, base_url: str = "") -> None:
        self._client = GitHubClient(outgoing, clock, base_url)

    async def show(
        self,
        channel: ChannelSpec,
        report: Report,
        known: JsonObject,
        remember: Remember,
        *,
        under: JsonObject | None = None,  # noqa: ARG002 - nothing is below anything here
    ) -> None:
        """Show a report; see `gitopsd.ports.Notifier.show`.

        Safe to repeat: what was said already is not said again, and what was not seen to end is
        looked for, a deployment by the run in its payload, before it is made again.
        """
        if not isinstance(report, StageReport):
            return
        repository = self._client.find_repository(channel, report.repository)
        if not repository:
            return  # it lies elsewhere
        place = _Place(channel, self._client, repository, report, known, remember)
        await place.show_status()
        for deployment in report.deployments:
            await place.show_deployment(deployment)


class _Place:
    """What is shown of one report.

    Args:
        channel: Says how to sign in.
        client: GitHub.
        repository: ``OWNER/NAME``.
        report: How things stand.
        known: What was remembered last.
        remember: Stores it.
    """

    def __init__(
        self,
        channel: ChannelSpec,
        client: GitHubClient,
        repository: str,
        report: StageReport,
        known: JsonObject,
        remember: Remember,
    ) -> None:
        self._channel = channel
        self._client = client
        self._repository = repository
        self._report = report
        self._status = str(known.get("status") or "")
        deployments = known.get("deployments")
        self._deployments: dict[str, dict[str, Any]] = {}
        for run, entry in deployments.items() if isinstance(deployments, Mapping) else ():
            if isinstance(entry, Mapping):
                self._deployments[run] = dict(entry)
        unclear = known.get("unclear")
        self._unclear = set(map(str, unclear)) if isinstance(unclear, list) else set()
        self._remember = remember

    async def show_status(self) -> None:
        """Bring the commit's status to what it should say."""
        report = self._report
        body = {
            "state": report.state.value,
            "context": f"gitopsd/{report.stage}/{report.application}",
            "description": _describe(report.sentence),
            **({"target_url": report.link} if report.link else {}),
        }
        digest = _digest(body)
        if self._status != digest:
            listed = f"/commits/{report.sha}/statuses"
            await self._say(_STATUS, f"/statuses/{report.sha}", listed, body)
            await self._settle(_STATUS, digest)

    async def show_deployment(self, deployment: DeploymentReport) -> None:
        """Bring a run's deployment to what it should say."""
        run = str(deployment.run)
        entry = self._deployments.get(run)
        if entry is None:
            found = await self._find(deployment) if run in self._unclear else None
            number = found if found is not None else await self._make(deployment)
            entry = self._deployments[run] = {"id": number, "said": ""}
            await self._settle(run)
        body: dict[str, Any] = {
            "state": _STATES.get(deployment.state, deployment.state.value),
            "description": _describe(deployment.sentence),
            "environment": self._report.stage,
            # Elsewhere in the repository other applications have the same stages.
            "auto_inactive": self._report.alone,
            **({"log_url": deployment.link} if deployment.link else {}),
        }
        digest = _digest(body)
        if entry.get("said") != digest and not entry.get("gone"):
            path = f"/deployments/{entry['id']}/statuses"
            try:
                await self._say(f"{run} status", path, path, body)
            except NotThereError:
                # Either somebody deleted it, or we no longer see the repository; then this raises.
                await self._client.get(self._channel, self._repository, "/deployments?per_page=1")
                entry["gone"] = True
            entry["said"] = digest
            await self._settle(f"{run} status")

    async def _make(self, deployment: DeploymentReport) -> int:
        report = self._report
        rollback = deployment.kind is RunKind.ROLLBACK
        body: dict[str, Any] = {
            "ref": deployment.sha,
            "task": "rollback" if rollback else "deploy",
            "auto_merge": False,  # it would merge the default branch into what is deployed
            "required_contexts": [],  # gates were passed; by default GitHub has gates of its own
            "environment": report.stage,
            "production_environment": report.last_stage,
            "description": _describe(deployment.sentence),
            "payload": self._payload(deployment),
        }
        answer = await self._post(str(deployment.run), "/deployments", body)
        number = answer.get("id") if isinstance(answer, Mapping) else None
        if not isinstance(number, int) or isinstance(number, bool):
            raise UnclearError(f"channel {self._channel.name}: GitHub answered no deployment")
        return number

    async def _find(self, deployment: DeploymentReport) -> int | None:
        """Look for a deployment whose making was not seen to end."""
        wanted = self._payload(deployment)
        path = f"/deployments?sha={deployment.sha}&environment={quote(self._report.stage)}"
        answer = await self._client.get(self._channel, self._repository, f"{path}&per_page={_PAGE}")
        for one in answer if isinstance(answer, list) else ():
            if isinstance(one, Mapping) and _read_payload(one.get("payload")) == wanted:
                number = one.get("id")
                if isinstance(number, int):
                    return number
        return None

    def _payload(self, deployment: DeploymentReport) -> dict[str, str]:
        return {
            "gitopsd": self._report.id.partition("/")[0],
            "application": self._report.application,
            "stage": self._report.stage,
            "run": deployment.run,
        }

    async def _say(self, name: str, path: str, listed: str, body: Mapping[str, Any]) -> None:
        """Say how something stands, unless that was said already and only the answer was lost.

        Raises:
            UnclearError: What was said before came late, and stands above this.
        """
        doubtful = name in self._unclear
        if doubtful and await self._is_last_word(listed, body):
            return
        await self._post(name, path, body)
        if doubtful and not await self._is_last_word(listed, body):
            where = f"channel {self._channel.name}: GitHub"
            raise UnclearError(f"{where} shows something else than what was said last")

    async def _is_last_word(self, listed: str, body: Mapping[str, Any]) -> bool:
        """Tell whether the newest of its kind says this."""
        path = f"{listed}?per_page={_PAGE}"
        answer = await self._client.get(self._channel, self._repository, path)
        for one in answer if isinstance(answer, list) else ():  # newest first
            if not isinstance(one, Mapping):
                continue
            if "context" in body and str(one.get("context")).lower() != body["context"].lower():
                continue
            keys = [key for key in _COMPARED if key in body]
            return all(str(one.get(key) or "") == str(body[key]) for key in keys)
        return False

    async def _post(self, name: str, path: str, body: Mapping[str, Any]) -> Any:
        """Make something, and remember before that it may be made."""
        if name not in self._unclear:
            self._unclear.add(name)
            await self._save()
        try:
            return await self._client.post(self._channel, self._repository, path, body)
        except (UnsentError, PermanentError):
            self._unclear.discard(name)  # it was not made
            await self._save()
            raise

    async def _settle(self, name: str, status: str = "") -> None:
        self._unclear.discard(name)
        self._status = status or self._status
        await self._save()

    async def _save(self) -> None:
        state = {
            "status": self._status,
            "deployments": {run: dict(entry) for run, entry in self._deployments.items()},
            "unclear": sorted(self._unclear),
        }
        await self._remember(cast("JsonObject", state))


def _describe(sentence: str) -> str:
    """Make a description as GitHub takes it: short, and of no sign that UTF-8 writes in 4 bytes."""
    line = "".join(sign if ord(sign) <= _LAST_SIGN else "?" for sign in redact_clause(sentence))
    return line if len(line) <= MAX_DESCRIPTION else f"{line[: MAX_DESCRIPTION - 3]}..."


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:20]


def _read_payload(payload: Any) -> Any:
    """Read a payload; GitHub gives it back as it came, or as text."""
    if not isinstance(payload, str):
        return payload
    try:
        return json.loads(payload)
    except ValueError:
        return None
