"""Verdicts from outside: what the API server holds and recorded, and what workloads answer.

Nothing here asks gitopsd. Objects are read from the API server; which of their fields gitopsd
applied is Kubernetes' own record (`owned_fields`); what was written is in the API server's audit
log; what an apply would change is told by ``kubectl diff``.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.support.processes import WaitTimeoutError, wait_until
from tests.support.systems.kinds import Kinds, Reader
from tests.support.systems.object_sets import Snapshot, by_key, key_of, shown
from tests.support.systems.owned_fields import changed_at
from tests.support.systems.promised import behind, lacks
from tests.support.systems.written import Place, Write, writes_of
from tests.support.waiting import ask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.cluster_access import ClusterAccess
    from tests.support.systems.object_sets import Key, Object
    from tests.support.systems.story import Witness

ANSWERS = 3
"""So many answers in a row must name the same image."""
ANSWERS_WITHIN = timedelta(seconds=20)
PAUSE = timedelta(milliseconds=50)
SCALED_WITHIN = timedelta(seconds=10)

_NO_DIFFERENCE, _DIFFERENCE = 0, 1
_SHORTEST_SECRET = 8


class KubectlError(Exception):
    """kubectl failed; the message is its own."""


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
    """Looks at one application in a cluster.

    Attributes:
        audited: Whether the API server's audit log is at hand.
    """

    audited = True

    def __init__(self, cluster: ClusterAccess, application: str) -> None:
        """Learn the cluster's kinds; custom ones have to be there."""
        self._cluster = cluster
        self._application = application
        self.kinds = Kinds.discover(cluster.client)

    def snapshot(self, stage: str) -> Snapshot:
        """Read everything that gitopsd applied for a stage, of every kind and anywhere."""
        return Snapshot.of(self.items(stage))

    def items(self, stage: str) -> list[Object]:
        """Read every object that is labelled as a stage's."""
        selector = quote(f"gitopsd.io/application={self._application},gitopsd.io/stage={stage}")
        found: list[Object] = []
        with Reader(self._cluster.client) as reader:
            for kind in self.kinds.applied():
                listed = reader.read(f"{kind.path()}?labelSelector={selector}") or {"items": []}
                version = "/".join(filter(None, (kind.group, kind.version)))
                named = {"apiVersion": version, "kind": kind.kind}
                found += [{**named, **item} for item in listed["items"]]
        return found

    def lacks(
        self,
        rendered: Iterable[Object],
        stage: str,
        digests: Mapping[str, str],
        items: list[Object],
    ) -> list[str]:
        """Tell what a stage lacks of what was rendered for it, and what it has besides.

        Args:
            rendered: What kustomize made.
            stage: Where it was released.
            digests: An image's digest, by its reference as rendered.
            items: The stage's, as `items` read them.
        """
        wanted = list(rendered)
        there = Snapshot.of(items).keys()
        extra = [f"{shown(key)} is there as well" for key in sorted(there - set(by_key(wanted)))]
        said = [f"{stage}: {one}" for one in (*lacks(wanted, items, digests), *extra)]
        late = behind(wanted, items)

        def scaled() -> bool:
            late[:] = behind(wanted, self.items(stage))
            return not late

        if late:
            with suppress(WaitTimeoutError):
                wait_until(scaled, what="autoscaled workloads", within=SCALED_WITHIN)
        return [*said, *(f"{stage}: {one}" for one in late)]

    def present(self, objects: Iterable[Object]) -> list[str]:
        """Tell which of some objects are there, labelled or not."""
        with Reader(self._cluster.client) as reader:
            return [
                f"{shown(key_of(one))} is still there"
                for one in objects
                if reader.read(self.kinds.path(one)) is not None
            ]

    def generation(self, one: Object) -> int:
        """How often an object's spec was changed; 0 when it is not there."""
        with Reader(self._cluster.client) as reader:
            found = reader.read(self.kinds.path(one)) or {"metadata": {"generation": 0}}
        return int(found["metadata"]["generation"])

    def secrets(self, namespaces: Iterable[str]) -> set[str]:
        """Every value that Secrets hold in some namespaces, as text and encoded."""
        found = set()
        with Reader(self._cluster.client) as reader:
            for namespace in namespaces:
                listed = reader.read(f"/api/v1/namespaces/{namespace}/secrets") or {"items": []}
                for item in listed["items"]:
                    for encoded in (item.get("data") or {}).values():
                        plain = base64.b64decode(encoded).decode(errors="replace").strip()
                        if len(plain) >= _SHORTEST_SECRET:
                            found |= {plain, encoded}
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

    def writes(self, place: Place, since: Mark) -> list[Write]:
        """What gitopsd changed in a stage since a mark, by the audit log.

        Args:
            place: Where the stage is.
            since: What `mark` gave.
        """
        return writes_of(self._cluster.audit_events(since.events), self.kinds, place)

    def mark(self, stage: str) -> Mark:  # noqa: ARG002 - the audit log is the whole cluster's
        """Remember now, for `writes`."""
        return Mark(events=self._cluster.audit_length())


class UnauditedJudge(Judge):
    """The same for a cluster whose audit log is not at hand.

    Kubernetes keeps when a manager last changed an object, to the second.
    """

    audited = False

    def mark(self, stage: str) -> Mark:
        """Remember which objects there are, and when gitopsd last changed each."""
        changed = {
            key_of(item): (item["metadata"]["uid"], changed_at(item)) for item in self.items(stage)
        }
        return Mark(changed=changed)

    def writes(self, place: Place, since: Mark) -> list[Write]:
        """What changed since a mark."""
        before, now = since.changed, self.mark(place.stage).changed
        return [
            Write("changed", key, now.get(key, ("", ""))[1])
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key)
        ]
