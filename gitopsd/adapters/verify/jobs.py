"""Checks by a Kubernetes Job: made, followed, read and taken away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from gitopsd.adapters.verify.attempts import Sighting, blind, fine, make_attempt, wrong
from gitopsd.cluster_ports import ApiRefusal, Cluster, Clusters
from gitopsd.domain.checks import JobCheck
from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.errors import GitopsdError, PermanentError, TemporaryError
from gitopsd.kube.findings import HealthSettings
from gitopsd.kube.objects import (
    created_at,
    mappings_at,
    name_of,
    namespace_of,
    parse_ref,
    string_at,
    uid_of,
)
from gitopsd.kube.redaction import redact_text
from gitopsd.kube.rollouts import RolloutState, compute_rollout_failure
from gitopsd.kube.verdicts import say_last_words
from gitopsd.kube.verification_jobs import (
    JobState,
    find_template,
    is_of_attempt,
    judge_verification_job,
    make_verification_job,
)
from gitopsd.ports import CheckAttempt, CheckTarget, Clock

MAX_PODS = 3
MAX_LINES = 200
"""Lines of the log that are kept, of each container of the newest pods."""

LOOK_BOUND = timedelta(seconds=40)
"""Bound of one look at a Job: a handful of requests to the API server."""

_INVALID = (400, 422)
_EXISTS = "AlreadyExists"
_GONE = "Gone"


class JobRunner:
    """Runs Jobs, one for each attempt, looked at as often as its caller likes.

    Args:
        clusters: The configured clusters.
        clock: Tells the age of a pod that cannot begin.
    """

    def __init__(self, clusters: Clusters, clock: Clock) -> None:
        self._clusters = clusters
        self._clock = clock

    async def run(self, check: JobCheck, target: CheckTarget) -> CheckAttempt:
        """Begin the attempt's Job, or look at it. Never raises.

        Safe to repeat: the Job's name is the attempt's, so that it is created once.
        """
        return await make_attempt(check, target, self._look, self._clock, bound=LOOK_BOUND)

    async def tidy(self, check: JobCheck, target: CheckTarget) -> None:
        """Delete the attempt's Job. Safe to repeat: gone is done, and the cluster does it too."""
        try:
            async with asyncio.timeout(LOOK_BOUND.total_seconds()):
                cluster, wanted = self._cluster(target), self._make(check, target)
                live = await cluster.get(parse_ref(wanted)) if wanted is not None else None
                if live is None or isinstance(live, ApiRefusal):
                    return
                if is_of_attempt(live, target.run, target.attempt):
                    await cluster.delete(parse_ref(live), uid=uid_of(live))
        except (GitopsdError, TimeoutError):
            return  # its time to live removes it

    async def _look(self, check: JobCheck, target: CheckTarget) -> Sighting:
        wanted = self._make(check, target)
        if wanted is None:
            return wrong(
                f"there is no Job {check.template} in the overlay that is annotated "
                "`gitopsd.io/hook: Verify`"
            )
        try:
            return await self._advance(wanted, check, target)
        except TemporaryError as error:
            return blind(error, underway=error.reason != _GONE)
        except TimeoutError:
            return Sighting("no answer in time", None, underway=True)

    async def _advance(self, wanted: JsonObject, check: JobCheck, target: CheckTarget) -> Sighting:
        cluster = self._cluster(target)
        live = await self._find(cluster, wanted)
        if live is None and target.begun:
            said = f"Job {name_of(wanted)} is gone, and nobody knows how it ended"
            raise TemporaryError(said, reason=_GONE)
        if live is None:
            made = await cluster.create(wanted)
            if isinstance(made, ApiRefusal):
                return _refused(wanted, made)
            said = f"Job {name_of(wanted)} was created"
            return Sighting(said, passed=False, underway=True)
        if not is_of_attempt(live, target.run, target.attempt):
            raise TemporaryError(f"another Job has the name {name_of(wanted)}")
        return await self._judge(cluster, live, check)

    async def _find(self, cluster: Cluster, wanted: JsonObject) -> JsonObject | None:
        found = await cluster.get(parse_ref(wanted))
        if isinstance(found, ApiRefusal):
            raise TemporaryError(f"the API server refused: {found.message}")
        return found

    async def _judge(self, cluster: Cluster, live: JsonObject, check: JobCheck) -> Sighting:
        pods = await _list_pods(cluster, live)
        verdict = judge_verification_job(live, pods, check.timeout)
        words = await _read_words(cluster, pods)
        answer: dict[str, Json] = {
            "job": name_of(live),
            "uid": uid_of(live),
            "state": verdict.state.value,
            "pods": [*words],
        }
        named = f"Job {name_of(live)}: "
        if verdict.state is JobState.PASSED:
            return fine(named + verdict.message, answer)
        if verdict.state is JobState.FAILED:
            lines = [str(line) for word in words for line in _lines_of(word)]
            return wrong(redact_text(named + say_last_words(verdict.message, lines)), answer)
        stuck = compute_rollout_failure(live, (), pods, (), self._clock.now(), HealthSettings())
        if stuck.state is RolloutState.FAILED:
            cause = stuck.message.partition(": ")[2] or stuck.message
            return wrong(redact_text(named + cause), answer)
        return Sighting(named + verdict.message, passed=False, answer=answer, underway=True)

    def _make(self, check: JobCheck, target: CheckTarget) -> JsonObject | None:
        template = find_template(target.templates, check.template)
        if template is None:
            return None
        return make_verification_job(
            template,
            target.run,
            target.attempt,
            namespace=target.namespace,
            labels=target.labels,
            timeout=check.timeout,
        )

    def _cluster(self, target: CheckTarget) -> Cluster:
        return find_cluster(self._clusters, target)


def find_cluster(clusters: Clusters, target: CheckTarget) -> Cluster:
    """Find the client of a stage's cluster, as the stage's identity.

    Raises:
        TemporaryError: It is not configured; that says nothing about the application.
    """
    try:
        return clusters.get(
            target.cluster, service_account=target.service_account, namespace=target.namespace
        )
    except PermanentError as error:
        raise TemporaryError(error.message) from error


def _refused(wanted: JsonObject, refusal: ApiRefusal) -> Sighting:
    """Judge a refused creation: only what is wrong with the Job itself is a verdict."""
    named = f"Job {name_of(wanted)}"
    if refusal.reason == _EXISTS:  # made by this attempt before a crash: looked at next
        return Sighting(f"{named} exists already", passed=False, underway=True)
    if refusal.code in _INVALID:
        return wrong(f"{named} was refused: {refusal.message}")
    raise TemporaryError(f"{named} may not be created: {refusal.message}")


async def _list_pods(cluster: Cluster, job: JsonObject) -> list[JsonObject]:
    """List a Job's pods, newest first.

    Raises:
        TemporaryError: They may not be listed: without them nobody can tell whether one failed.
    """
    selector = f"batch.kubernetes.io/controller-uid={uid_of(job)}"
    found = await cluster.fetch_list("v1", "Pod", namespace_of(job), label_selector=selector)
    if isinstance(found, ApiRefusal):
        raise TemporaryError(f"the pods of Job {name_of(job)} cannot be listed: {found.message}")
    return sorted(found, key=lambda pod: str(created_at(pod)), reverse=True)


async def _read_words(cluster: Cluster, pods: Sequence[JsonObject]) -> list[dict[str, Json]]:
    """Read the last lines of every container of the newest pods, redacted."""
    words: list[dict[str, Json]] = []
    for pod in pods[:MAX_PODS]:
        parts = ("initContainers", "containers")
        for container in (one for part in parts for one in mappings_at(pod, "spec", part)):
            name = string_at(container, "name")
            lines: list[Json] = [*await _read_log(cluster, pod, name)]
            words.append({"pod": name_of(pod), "container": name, "lines": lines})
    return words


async def _read_log(cluster: Cluster, pod: JsonObject, container: str) -> tuple[str, ...]:
    try:
        found = await cluster.fetch_log(
            namespace_of(pod), name_of(pod), container, previous=False, tail_lines=MAX_LINES
        )
    except GitopsdError:
        return ()
    return () if isinstance(found, ApiRefusal) else tuple(map(redact_text, found))


def _lines_of(word: JsonObject) -> Sequence[Json]:
    lines = word["lines"]
    return lines if isinstance(lines, list) else ()
