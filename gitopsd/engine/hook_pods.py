"""What the pods of a hook say: that it cannot begin, and its last words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from gitopsd.cluster_ports import ApiRefusal
from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import GitopsdError
from gitopsd.kube.findings import HealthSettings
from gitopsd.kube.hooks import HookAction, HookDecision, find_last_end
from gitopsd.kube.objects import (
    created_at,
    kind_of,
    mappings_at,
    name_of,
    namespace_of,
    sequence_at,
    string_at,
    uid_of,
)
from gitopsd.kube.redaction import redact_text
from gitopsd.kube.rollouts import RolloutState, compute_rollout_failure
from gitopsd.kube.verdicts import say_last_words

PODS_WITHIN = timedelta(seconds=5)
"""A Job without pods is only asked about when it is older."""

MAX_PODS = 3
MAX_LINES = 200
"""Lines of a hook's log that are kept, of each container of its newest pods."""


class HookPods:
    """Reads the pods of one step's hooks.

    Args:
        context: The step.
    """

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._cluster = context.cluster()

    async def judge(self, live: JsonObject, decision: HookDecision) -> HookDecision:
        """Fail a hook early whose pod definitely cannot begin, as of an image that is missing.

        A Job waits for such a pod for ever, and for one that it may not create as well, of which
        only events tell. What may be seen of its pods only makes this telling.
        """
        pods, now = await self._list(live), self._context.services.clock.now()
        events: Sequence[JsonObject] = ()
        if kind_of(live) == "Job" and not pods:
            since = created_at(live)
            if since is None or now - since < PODS_WITHIN:
                return decision
            events = await self._list_events(live)
        settings = HealthSettings(unschedulable_grace=self._context.spec.unschedulable_grace)
        verdict = compute_rollout_failure(live, (), pods, events, now, settings)
        if verdict.state is RolloutState.CLEAR:
            return decision
        said = verdict.message.partition(": ")[2]
        if verdict.state is RolloutState.PENDING:
            return HookDecision(HookAction.WAIT, said, ours=True)
        return HookDecision(HookAction.FAIL, said, ours=True, unended=True)

    async def say_failure(
        self, live: JsonObject, message: str, words: Sequence[Mapping[str, Json]]
    ) -> str:
        """Say why a hook failed, with the end of the container that ended last and its last words.

        Args:
            live: The hook.
            message: What its own status says.
            words: What `read_words` read.
        """
        end = find_last_end(await self._list(live))
        if end is None:
            return message
        parts = (message, "" if end.message in message else end.message)
        said = "; ".join(part for part in parts if part)
        lines = [
            str(line)
            for word in words
            if (word["pod"], word["container"]) == (end.pod, end.container)
            for line in sequence_at(word, "lines")
        ]
        return say_last_words(said, lines)

    async def read_words(self, live: JsonObject) -> list[dict[str, Json]]:
        """Read the last lines of every container of the newest pods, redacted."""
        words: list[dict[str, Json]] = []
        for pod in (await self._list(live))[:MAX_PODS]:
            parts = ("initContainers", "containers")
            for container in (one for part in parts for one in mappings_at(pod, "spec", part)):
                name = string_at(container, "name")
                lines: list[Json] = [*await self._log(pod, name)]
                words.append({"pod": name_of(pod), "container": name, "lines": lines})
        return words

    async def _list(self, live: JsonObject) -> list[JsonObject]:
        """List a hook's pods, newest first; none when they may not be listed."""
        if kind_of(live) == "Pod":
            return [live]
        selector = f"batch.kubernetes.io/controller-uid={uid_of(live)}"
        found = await self._cluster.fetch_list(
            "v1", "Pod", namespace_of(live), label_selector=selector
        )
        pods = () if isinstance(found, ApiRefusal) else found
        return sorted(pods, key=lambda pod: str(created_at(pod)), reverse=True)

    async def _list_events(self, live: JsonObject) -> Sequence[JsonObject]:
        """List the events of a hook's namespace; none when they may not be listed."""
        found = await self._cluster.fetch_list("v1", "Event", namespace_of(live))
        return () if isinstance(found, ApiRefusal) else found

    async def _log(self, pod: JsonObject, container: str) -> tuple[str, ...]:
        try:
            found = await self._cluster.fetch_log(
                namespace_of(pod), name_of(pod), container, previous=False, tail_lines=MAX_LINES
            )
        except GitopsdError:
            return ()
        if isinstance(found, ApiRefusal):
            return ()
        return tuple(redact_text(line) for line in found)
