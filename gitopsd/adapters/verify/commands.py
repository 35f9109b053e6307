"""Checks by a command in a pod that runs."""

from __future__ import annotations

from gitopsd.adapters.verify.attempts import Sighting, fine, wrong
from gitopsd.adapters.verify.jobs import find_cluster
from gitopsd.cluster_ports import ApiRefusal, Cluster, Clusters, CommandOutput, PodCommand
from gitopsd.domain.checks import CommandCheck
from gitopsd.domain.manifests import Json, JsonObject, ObjectKey, ObjectRef
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.kube.objects import (
    condition_true,
    created_at,
    is_terminating,
    mapping_at,
    mappings_at,
    name_of,
    string_at,
)
from gitopsd.kube.redaction import redact_clause, redact_text
from gitopsd.ports import CheckTarget

_SHOWN_BYTES = 4000
_SHOWN_CHARACTERS = 100
# What container runtimes say of a program that the image does not have.
_NO_PROGRAM = ("executable file not found", "no such file or directory", "permission denied")


class CommandRunner:
    """Runs commands in pods.

    Args:
        clusters: The configured clusters.
    """

    def __init__(self, clusters: Clusters) -> None:
        self._clusters = clusters

    async def look(self, check: CommandCheck, target: CheckTarget) -> Sighting:
        """Run the command once, in the newest ready pod.

        Raises:
            PermanentError: There is no such workload, pod or container.
            TemporaryError: The API server could not say.
        """
        cluster = find_cluster(self._clusters, target)
        pods = await self._list_pods(cluster, check, target.namespace)
        pod = select_pod(pods)
        if pod is None:
            raise PermanentError(f"no pod of {say_where(check)} is ready")
        container = select_container(pod, check.container)
        command = PodCommand(
            target.namespace, name_of(pod), container, check.command, check.timeout
        )
        output = await cluster.run_command(command)
        if isinstance(output, ApiRefusal):
            # A pod that is gone, or missing rights, say nothing about the application.
            raise TemporaryError(f"the command may not be run: {output.message}")
        return judge_output(check, output, f"{name_of(pod)}/{container}")

    async def _list_pods(
        self, cluster: Cluster, check: CommandCheck, namespace: str
    ) -> tuple[JsonObject, ...]:
        labels = dict(check.selector)
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        if check.workload:
            selector = await self._find_selector(cluster, check.workload, namespace)
        found = await cluster.fetch_list("v1", "Pod", namespace, label_selector=selector)
        if isinstance(found, ApiRefusal):
            raise TemporaryError(f"pods cannot be listed: {found.message}")
        return found

    async def _find_selector(self, cluster: Cluster, workload: str, namespace: str) -> str:
        kind, _, name = workload.partition("/")
        ref = ObjectRef(ObjectKey("apps", kind, namespace, name), "v1")
        found = await cluster.get(ref)
        if isinstance(found, ApiRefusal):
            raise TemporaryError(f"{workload} cannot be read: {found.message}")
        if found is None:
            raise PermanentError(f"there is no {kind} {namespace}/{name}")
        return spell_selector(mapping_at(found, "spec", "selector"))


_SIGNS = {"In": "in", "NotIn": "notin"}


def spell_selector(selector: JsonObject) -> str:
    """Write a workload's selector as a list takes it. Pure."""
    terms = [f"{key}={value}" for key, value in mapping_at(selector, "matchLabels").items()]
    for one in mappings_at(selector, "matchExpressions"):
        key, sign = string_at(one, "key"), string_at(one, "operator")
        values = one.get("values")
        listed = ",".join(map(str, values)) if isinstance(values, list) else ""
        if sign in _SIGNS:
            terms.append(f"{key} {_SIGNS[sign]} ({listed})")
        else:
            terms.append(key if sign == "Exists" else f"!{key}")
    return ",".join(terms)


def select_pod(pods: tuple[JsonObject, ...]) -> JsonObject | None:
    """Select the newest pod that is ready and stays; None when there is none. Pure."""
    ready = [
        pod
        for pod in pods
        if not is_terminating(pod)
        and string_at(pod, "status", "phase") == "Running"
        and condition_true(pod, "Ready") is not None
    ]
    return max(ready, key=lambda pod: (str(created_at(pod)), name_of(pod)), default=None)


def select_container(pod: JsonObject, wanted: str) -> str:
    """Select the container: the one that is named, else the pod's first. Pure.

    Raises:
        PermanentError: The pod has no such container.
    """
    listed = mappings_at(pod, "spec", "containers") or mappings_at(
        pod, "status", "containerStatuses"
    )
    names = [string_at(one, "name") for one in listed]
    if wanted and wanted not in names:
        said = f"pod {name_of(pod)} has no container {wanted}, only {', '.join(names)}"
        raise PermanentError(said)
    return wanted or next(iter(names), "")


def say_where(check: CommandCheck) -> str:
    """Say which pods are meant."""
    labels = ",".join(f"{key}={value}" for key, value in check.selector.items())
    return check.workload or labels


def judge_output(check: CommandCheck, output: CommandOutput, where: str) -> Sighting:
    """Judge what came of a command: its exit code first, whatever it printed. Pure."""
    answer: dict[str, Json] = {
        "container": where,
        "exitCode": output.exit_code,
        "stdout": _show(output.stdout),
        "stderr": _show(output.stderr),
    }
    if output.timed_out:
        return wrong(f"it did not end within {check.timeout.total_seconds():g} s", answer)
    if output.exit_code is None:
        if any(words in output.message for words in _NO_PROGRAM):
            return wrong(f"it could not be started: {output.message}", answer)
        return Sighting(f"nobody knows how it ended: {output.message}", None, answer)
    if output.exit_code != check.exit_code:
        said = f"exited with {output.exit_code}, expected {check.exit_code}"
        return wrong(said + _say_trouble(output), answer)
    wanted = check.stdout_contains
    if wanted and wanted.encode() not in output.stdout:
        return wrong(f"its output does not hold {wanted[:_SHOWN_CHARACTERS]!r}", answer)
    return fine(f"exited with {output.exit_code}", answer)


def _say_trouble(output: CommandOutput) -> str:
    lines = _show(output.stderr).splitlines() or _show(output.stdout).splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {redact_clause(last[:_SHOWN_CHARACTERS])}" if last else ""


def _show(content: bytes) -> str:
    text = content[-_SHOWN_BYTES:].decode("utf-8", "replace").replace("\x00", "?")
    return redact_text(text)
