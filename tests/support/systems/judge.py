"""Verdicts from outside: what the API server holds and recorded, and what workloads answer.

Nothing here asks gitopsd. Objects are read with kubectl; which of their fields gitopsd applied is
Kubernetes' own record (`owned_fields`); what was written is in the API server's audit log.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.support.processes import WaitTimeoutError, wait_until
from tests.support.systems.owned_fields import applied_by, changed_at
from tests.support.waiting import ask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.cluster_access import ClusterAccess
    from tests.support.systems.story import Witness

PRODUCT = "system:serviceaccount:gitopsd:gitopsd"
ANSWERS = 3
"""So many answers in a row must name the same image."""
ANSWERS_WITHIN = timedelta(seconds=20)
PAUSE = timedelta(milliseconds=50)

_WRITING = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_NEVER_APPLIED = frozenset({"endpoints", "events", "pods", "endpointslices", "controllerrevisions"})
_HOOKS = ("argocd.argoproj.io/hook", "gitopsd.io/hook")
_HASHED = re.compile(r"(.+)-[2456789bcdfghkmt]{10}")
_NO_DIFFERENCE, _DIFFERENCE = 0, 1

Key = tuple[str, str, str]
Object = dict[str, Any]


class KubectlError(Exception):
    """kubectl failed; the message is its own."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What gitopsd owns of one stage.

    Attributes:
        objects: By kind, namespace and name: what it applied, field by field.
    """

    objects: Mapping[Key, Object]

    def keys(self) -> set[Key]:
        """Its objects, as `Comparison.keys` names them."""
        return set(_by_key(self.objects.values()))

    def applied_to(self, live: Snapshot) -> list[Object]:
        """Its objects, with the live replicas where gitopsd still decides them."""
        found = _without_scaled(self.objects)
        for key in found.keys() & live.objects.keys():
            spec = live.objects[key].get("spec", {})
            if "replicas" in spec:
                found[key] = {
                    **found[key],
                    "spec": {**found[key]["spec"], "replicas": spec["replicas"]},
                }
        return list(found.values())

    def differences(self, other: Snapshot) -> list[str]:
        """Tell how another snapshot differs from this one."""
        ours, theirs = _without_scaled(self.objects), _without_scaled(other.objects)
        said = [f"{_shown(key)} is missing" for key in sorted(ours.keys() - theirs.keys())]
        said += [f"{_shown(key)} is left over" for key in sorted(theirs.keys() - ours.keys())]
        for key in sorted(ours.keys() & theirs.keys()):
            if ours[key] != theirs[key]:
                said.append(f"{_shown(key)} is {theirs[key]}, not {ours[key]}")
        return said


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a release differs from another one, by what kustomize renders; hooks are no objects.

    Attributes:
        added: Objects that only the new one has.
        deleted: Objects that only the old one has.
        changed: Objects that both have, differently.
    """

    added: frozenset[Key]
    deleted: frozenset[Key]
    changed: frozenset[Key]

    @classmethod
    def of(cls, old: Iterable[Object], new: Iterable[Object]) -> Comparison:
        """Compare two rendered sets."""
        before, after = _by_key(old), _by_key(new)
        both = before.keys() & after.keys()
        return cls(
            frozenset(after.keys() - before.keys()),
            frozenset(before.keys() - after.keys()),
            frozenset(key for key in both if before[key] != after[key]),
        )

    @staticmethod
    def keys(rendered: Iterable[Object]) -> set[Key]:
        """Objects of a rendered set, whatever the hash of their content in their names."""
        return set(_by_key(rendered))

    def complaints(self, workload: str) -> list[str]:
        """Tell what a bad release lacks that is to be restored object by object."""
        said = []
        if not self.added:
            said.append("the bad release adds no object")
        if not self.deleted:
            said.append("the bad release deletes no object")
        if not any(kind == "ConfigMap" for kind, _, _ in self.changed):
            said.append("the bad release changes no ConfigMap")
        if not any(f"{kind}/{name}" == workload for kind, _, name in self.changed):
            said.append(f"the bad release does not change {workload}")
        return said


def _by_key(objects: Iterable[Object]) -> dict[Key, Object]:
    found = {}
    for one in objects:
        metadata = one["metadata"]
        if not any(key in metadata.get("annotations", {}) for key in _HOOKS):
            hashed = _HASHED.fullmatch(metadata["name"])
            name = hashed[1] if hashed and one["kind"] in ("ConfigMap", "Secret") else ""
            key = (one["kind"], metadata.get("namespace", ""), name or metadata["name"])
            found[key] = one
    return found


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment, as far as a cluster remembers what was written since.

    Attributes:
        events: How many events its audit log had.
        changed: Who each object was, and when gitopsd changed it last.
    """

    events: int = 0
    changed: Mapping[Key, tuple[str, str]] = field(default_factory=dict)


class Judge:
    """Looks at one application in a cluster."""

    def __init__(self, cluster: ClusterAccess, application: str) -> None:
        self._cluster = cluster
        self._application = application
        listed = self._kubectl("api-resources", "--verbs=list,patch", "--output=name").split()
        self._kinds = ",".join(
            sorted(name for name in listed if name.partition(".")[0] not in _NEVER_APPLIED)
        )

    def snapshot(self, stage: str) -> Snapshot:
        """Read everything that gitopsd applied for a stage, of every kind and anywhere."""
        found = {}
        for item in self.items(stage):
            metadata = item["metadata"]
            owned = applied_by(item)
            if owned is None or any(key in metadata.get("annotations", {}) for key in _HOOKS):
                continue
            found[item["kind"], metadata.get("namespace", ""), metadata["name"]] = owned
        return Snapshot(found)

    def items(self, stage: str) -> list[Object]:
        """Read every object that is labelled as a stage's."""
        selector = f"gitopsd.io/application={self._application},gitopsd.io/stage={stage}"
        said = self._kubectl(
            *("get", self._kinds, "--all-namespaces", f"--selector={selector}"),
            *("--output=json", "--show-managed-fields"),
        )
        found: list[Object] = json.loads(said)["items"]
        return found

    def dry_run(self, wanted: Snapshot, live: Snapshot) -> list[str]:
        """Tell what would change if a snapshot were applied now, by the API server's dry-run.

        Args:
            wanted: What would be applied.
            live: How the stage is now.
        """
        done = self._cluster.run_kubectl(
            *("diff", "--server-side", "--field-manager=gitopsd", "--force-conflicts"),
            "--filename=-",
            stdin="\n---\n".join(json.dumps(one) for one in wanted.applied_to(live)),
        )
        if done.returncode not in (_NO_DIFFERENCE, _DIFFERENCE):
            raise KubectlError(done.stderr)
        return [done.stdout] if done.returncode == _DIFFERENCE else []

    def served(self, witness: Witness, namespace: str) -> str:
        """The digest of the image that answers now; a sentence when nothing answers well."""
        service = ":".join(filter(None, (witness.scheme, witness.service, witness.port)))
        path = f"/api/v1/namespaces/{namespace}/services/{service}/proxy{witness.path}"
        heard = ask(self._cluster.client, path)
        pod, _, image = heard.headers.get("X-Served-By", "").partition(" ")
        if heard.status != 200:
            return f"{witness.service} answers {heard.status} at {witness.path}"
        named = image or self._image_of(namespace, pod, witness)
        return named.partition("@")[2] or named

    def _image_of(self, namespace: str, pod: str, witness: Witness) -> str:
        """The image that a pod asks for, where a stand-in does not know its own."""
        found = self._cluster.client.get(f"/api/v1/namespaces/{namespace}/pods/{pod}")
        images = [container["image"] for container in found["spec"]["containers"]]
        path = witness.image.rpartition("/")[2]
        return str(next((one for one in images if f"/{path}:" in one or f"/{path}@" in one), ""))

    def await_served(self, witness: Witness, namespace: str, digest: str) -> list[str]:
        """Wait until nothing but one image answers; returns what answers instead, if so."""
        heard: list[str] = []

        def settled() -> bool:
            heard.append(self.served(witness, namespace))
            return len(heard) >= ANSWERS and set(heard[-ANSWERS:]) == {digest}

        try:
            wait_until(settled, what="the workload's answers", within=ANSWERS_WITHIN, pause=PAUSE)
        except WaitTimeoutError:
            return [f"{witness.service} is served by {sorted(set(heard[-ANSWERS:]))}, not {digest}"]
        return []

    def writes(self, stage: str, since: Mark, namespaces: Iterable[str]) -> list[str]:  # noqa: ARG002 - the stage is where the namespaces are
        """What gitopsd changed in a stage since a mark, by the audit log.

        Writes of its own bookkeeping are in a namespace of its own; dry-runs write nothing.

        Args:
            stage: Which stage.
            since: What `mark` gave.
            namespaces: The stage's.
        """
        wanted = set(namespaces)
        return [
            f"{event['verb']} {event['requestURI'].partition('?')[0]}"
            for event in self._cluster.audit_events(since.events)
            if event["user"].get("username") == PRODUCT
            and event["verb"] in _WRITING
            and event.get("objectRef", {}).get("namespace") in wanted
            and "dryRun" not in event["requestURI"]
            and event.get("objectRef", {}).get("subresource") != "proxy"
            and event.get("responseStatus", {}).get("code", 0) < 400
        ]

    def mark(self, stage: str) -> Mark:  # noqa: ARG002 - the audit log is the whole cluster's
        """Remember now, for `writes`."""
        return Mark(events=self._cluster.audit_length())

    def _kubectl(self, *arguments: str) -> str:
        done = self._cluster.run_kubectl(*arguments)
        if done.returncode:
            raise KubectlError(done.stderr)
        return done.stdout


def _without_scaled(objects: Mapping[Key, Object]) -> dict[Key, Object]:
    """Leave the replicas out that an autoscaler decides.

    gitopsd lists them when it makes the workload, and hands them over when it comes again.
    """
    found = dict(objects)
    for (kind, namespace, _), one in objects.items():
        if kind == "HorizontalPodAutoscaler":
            target = one["spec"]["scaleTargetRef"]
            key = (target["kind"], namespace, target["name"])
            if key in found:
                spec = found[key]["spec"]
                kept = {name: value for name, value in spec.items() if name != "replicas"}
                found[key] = {**found[key], "spec": kept}
    return found


class UnauditedJudge(Judge):
    """The same for a cluster whose audit log is not at hand.

    Kubernetes keeps when a manager last changed an object, to the second.
    """

    def mark(self, stage: str) -> Mark:
        """Remember which objects there are, and when gitopsd last changed each."""
        changed = {}
        for item in self.items(stage):
            metadata = item["metadata"]
            key = (item["kind"], metadata.get("namespace", ""), metadata["name"])
            changed[key] = (metadata["uid"], changed_at(item))
        return Mark(changed=changed)

    def writes(self, stage: str, since: Mark, namespaces: Iterable[str]) -> list[str]:  # noqa: ARG002 - all of the stage's objects are in them
        """What changed since a mark."""
        before, now = since.changed, self.mark(stage).changed
        return [
            f"{_shown(key)} changed"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key)
        ]


def _shown(key: Key) -> str:
    return "/".join(filter(None, key))
