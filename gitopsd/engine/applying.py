"""Applies one object: ownership, migration, handover, recreation, server-side apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from gitopsd.cluster_ports import (
    ApiRefusal,
    AppliedObject,
    Cluster,
)
from gitopsd.domain.manifests import ChangeAction, Json, JsonObject, ObjectKey
from gitopsd.engine.assessment import Seen, body_to_send, identity_of_placed, refuse_owner
from gitopsd.engine.placing import Placed
from gitopsd.engine.refusals import raise_if_temporary, reason_of, sentence, status_of
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.writing import WritePermit
from gitopsd.errors import TemporaryError
from gitopsd.kube.canonical import digest_of
from gitopsd.kube.field_managers import (
    migration_patch,
    needs_migration,
    replicas_handover,
    version_patch,
)
from gitopsd.kube.immutability import Recreation, decide_recreation, is_immutable_refusal
from gitopsd.kube.names import FIELD_MANAGER, HANDOVER_MANAGER, ApplyMode
from gitopsd.kube.objects import int_at, is_terminating, mapping_at, string_at, uid_of
from gitopsd.kube.statuses import Status, StatusKind, classify

GONE_TRIES = 40
"""Looks for a deleted object to be gone before it is created anew, half a second apart."""

_ABOUT_THE_PAST = (StatusKind.CONFLICT, StatusKind.NOT_FOUND, StatusKind.STALE_FIELDS)
"""Refusals that may only mean that the object is no longer as it was seen."""

NEVER = "1"
"""A version that no object has: etcd begins with it. An apply that names it makes an object where
there is none, as a version says nothing about what is not there, and is refused where there is
one: whoever made it meanwhile, another application say, keeps it.
"""


@dataclass(frozen=True, slots=True)
class Refused:
    """The server definitely refused an object.

    Attributes:
        reason: PascalCase word.
        message: One sentence.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one object.

    Attributes:
        placed: The object.
        uid: Its server uid; empty when it is not ours to know.
        generation: Its generation after the apply; health before it is seen says nothing.
        digest: Digest of the bytes that count as applied.
        written: Whether a write was sent.
        at: When the write was begun, to the second as the server's own times are; None when the
            object did not change.
        live: The object as the server answered.
    """

    placed: Placed
    uid: str
    generation: int
    digest: str
    written: bool
    at: datetime | None = None
    live: JsonObject = field(default_factory=dict)

    def describe(self) -> dict[str, Json]:
        """Write it for the run's evidence."""
        key = self.placed.ref.key
        return {
            "group": key.group,
            "kind": key.kind,
            "namespace": key.namespace,
            "name": key.name,
            "version": self.placed.ref.version,
            "uid": self.uid,
            "generation": self.generation,
            "digest": self.digest,
            "written": self.written,
            "at": self.at.isoformat() if self.at is not None else None,
        }


def parse_sent(item: Placed, described: Mapping[str, Json]) -> Sent:
    """Read back what became of an object."""
    generation, at = described.get("generation"), described.get("at")
    return Sent(
        item,
        uid=str(described.get("uid", "")),
        generation=generation if isinstance(generation, int) else 0,
        digest=str(described.get("digest", "")),
        written=described.get("written") is True,
        at=datetime.fromisoformat(at) if isinstance(at, str) else None,
    )


@dataclass(frozen=True, slots=True)
class _Reply:
    """What the server said to an apply, when that was begun, and of what; its digest if known."""

    begun: datetime
    body: JsonObject
    answer: AppliedObject | ApiRefusal
    digest: str = ""

    @property
    def status(self) -> Status | None:
        return status_of(self.answer) if isinstance(self.answer, ApiRefusal) else None

    @property
    def kind(self) -> StatusKind | None:
        return classify(self.status) if self.status is not None else None

    @property
    def immutable(self) -> bool:
        return self.status is not None and is_immutable_refusal(self.status)


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the objects of one set, under one permit.

    Attributes:
        context: The step.
        cluster: The cluster, as the stage's identity.
        permit: The right to write.
        seen: What Validate saw, by identity; empty when it did not look.
        scaled: Workloads whose replicas an autoscaler decides.
        handed: Live objects as the step before read them; empty when it did not.
    """

    context: StepContext
    cluster: Cluster
    permit: WritePermit
    seen: Mapping[str, Seen] = field(default_factory=dict)
    scaled: frozenset[ObjectKey] = frozenset()
    handed: Mapping[ObjectKey, JsonObject] = field(default_factory=dict)

    async def apply(self, item: Placed) -> Sent | Refused:
        """Bring one object to what Git says.

        What Validate saw, or a restore's Prepare, spares the look before the write where the server
        itself can tell that it still holds: by the version. Safe to repeat: server-side apply of
        the same bytes changes nothing; migration and handover find nothing left to do.

        Raises:
            TemporaryError: The cluster did not answer.
            LeaseLostError: The right to write ended before the request.
        """
        if item.mode is ApplyMode.IGNORE:
            return Sent(item, "", 0, "", written=False)
        seen = self._trusted(item)
        if seen is None and item.ref.key in self.handed:
            return await self._apply_over_handed(item, self.handed[item.ref.key])
        if seen is None or seen.action is ChangeAction.UNCHANGED:
            return await self._look_and_apply(item)
        body = self._body(item, exists=bool(seen.version))
        reply = await self._send(_at_version(body, seen.version or NEVER))
        if reply.immutable or reply.kind in _ABOUT_THE_PAST:
            return await self._look_and_apply(item)
        return self._conclude(item, replace(reply, body=body, digest=seen.digest), seen.generation)

    def _trusted(self, item: Placed) -> Seen | None:
        return find_trusted(self.seen, item, scaled=item.ref.key in self.scaled)

    def seems_clean(self, item: Placed) -> bool:
        """Whether Validate saw that applying the object would change nothing."""
        seen = self._trusted(item)
        return seen is not None and seen.action is ChangeAction.UNCHANGED

    async def leave(self, item: Placed, live: JsonObject | None = None) -> Sent | None:
        """Leave an object alone whose bytes and live version are still those of the dry-run.

        Args:
            item: The object.
            live: What a list has just said that there is; None to look.

        Returns:
            What is there; None when it is not clean after all.

        Raises:
            TemporaryError: The cluster did not answer.
        """
        seen = self._trusted(item)
        found = live if live is not None else await self.cluster.get(item.ref)
        if seen is None or found is None or isinstance(found, ApiRefusal):
            return None
        return sent_of(item, found, seen.digest) if version_of(found) == seen.version else None

    async def _apply_over_handed(self, item: Placed, live: JsonObject) -> Sent | Refused:
        """Apply over what was there a moment ago, where nothing but an apply is needed."""
        body = self._body(item, exists=True)
        plain = item.mode is ApplyMode.OVERRIDE and body is item.obj and not needs_migration(live)
        plain = plain and version_of(live) != "" and not is_terminating(live)
        if not plain or refuse_owner(self.context, item, live) is not None:
            return await self._look_and_apply(item)
        reply = await self._send(_at_version(body, version_of(live)))
        if reply.immutable or reply.kind in _ABOUT_THE_PAST:
            return await self._look_and_apply(item)
        return self._conclude(item, replace(reply, body=body), _generation(live))

    async def _look_and_apply(self, item: Placed) -> Sent | Refused:
        live = await self._get(item)
        if live is None:
            reply = await self._send(_at_version(item.obj, NEVER))
            if reply.kind is not StatusKind.CONFLICT:
                return self._conclude(item, replace(reply, body=item.obj))
            live = await self._get(item)
        return live if isinstance(live, Refused) else await self._apply_over(item, live)

    async def _get(self, item: Placed) -> JsonObject | Refused | None:
        live = await self.cluster.get(item.ref)
        if isinstance(live, ApiRefusal):
            return _refused(item, live)
        return live

    async def _apply_over(self, item: Placed, live: JsonObject | None) -> Sent | Refused:
        """Apply over what is there, whatever that takes."""
        if live is None:
            return self._conclude(item, await self._send(item.obj))
        owned = refuse_owner(self.context, item, live)
        if owned is not None:
            return Refused(*owned)
        body = self._body(item, exists=True)
        if item.mode is ApplyMode.IF_NOT_PRESENT:
            return sent_of(item, live, digest_of(body))
        if is_terminating(live):
            await self._await_gone(item)
            return self._conclude(item, await self._send(item.obj))
        if item.mode is ApplyMode.OVERRIDE and needs_migration(live):
            await self._rewrite(item, migration_patch(live))
        if body is not item.obj:
            await self._hand_over(item, live)
        reply = await self._send(body)
        if reply.kind is StatusKind.STALE_FIELDS and version_patch(live):
            await self._rewrite(item, version_patch(live))
            reply = await self._send(body)
        if reply.immutable and reply.status is not None:
            return await self._recreate(item, live, reply.status)
        return self._conclude(item, reply, _generation(live))

    async def _recreate(self, item: Placed, live: JsonObject, status: Status) -> Sent | Refused:
        """Delete an object whose immutable field changes, where its annotation allows it.

        Safe to repeat: the uid precondition protects an object that was already made anew.
        """
        decision = decide_recreation(item.obj, status)
        if not isinstance(decision, Recreation):
            return Refused(decision.reason, decision.message)
        self.permit.check()
        deleted = await self.cluster.delete(
            item.ref, uid=uid_of(live), propagation=decision.propagation
        )
        if deleted is not None:
            return _refused(item, deleted)
        await self._await_gone(item)
        body = self._body(item, exists=False)
        if item.ref.key in self.scaled:  # made anew with as many as there were
            replicas = mapping_at(live, "spec").get("replicas")
            body = {**body, "spec": {**mapping_at(body, "spec"), "replicas": replicas}}
        return self._conclude(item, await self._send(body))

    async def _await_gone(self, item: Placed) -> None:
        """Wait for an object that is being deleted.

        Raises:
            TemporaryError: It is not gone in time; finalizers may hold it.
        """
        for _ in range(GONE_TRIES):
            if await self.cluster.get(item.ref) is None:
                return
            await self.context.services.clock.sleep(timedelta(milliseconds=500))
        message = f"{item.ref.key} is being deleted to be made anew, and is not gone yet"
        raise TemporaryError(message, retry_after=timedelta(seconds=2), reason="Terminating")

    async def _rewrite(self, item: Placed, operations: tuple[JsonObject, ...]) -> None:
        """Rewrite who owns which field, so that what leaves Git leaves the object.

        Safe to repeat: an object that was rewritten needs none.
        """
        self.permit.check()
        answer = await self.cluster.patch(item.ref, operations)
        if isinstance(answer, ApiRefusal):
            raise_if_temporary(item.ref, answer)
            message = f"field ownership could not be rewritten: {sentence(item.ref, answer)}"
            raise TemporaryError(message, retry_after=timedelta(seconds=1))

    async def _hand_over(self, item: Placed, live: JsonObject) -> None:
        """Let the autoscaler's replicas stay when we stop listing them; dropped, they become 1.

        Safe to repeat: applies the live value under a manager of its own.
        """
        handover = replicas_handover(live)
        if handover is None:
            return
        self.permit.check()
        answer = await self.cluster.apply(handover, manager=HANDOVER_MANAGER, force=True)
        if isinstance(answer, ApiRefusal):
            raise TemporaryError(f"replicas not handed over: {sentence(item.ref, answer)}")

    async def _send(self, body: JsonObject) -> _Reply:
        begun = self._now()
        self.permit.check()
        answer = await self.cluster.apply(body, manager=FIELD_MANAGER, force=True)
        return _Reply(begun.replace(microsecond=0), body, answer)

    def _body(self, item: Placed, *, exists: bool) -> JsonObject:
        return body_to_send(item, exists=exists, scaled=item.ref.key in self.scaled)

    def _now(self) -> datetime:
        return self.context.services.clock.now()

    def _conclude(self, item: Placed, reply: _Reply, before: int = 0) -> Sent | Refused:
        """Say what came of an apply to an object of generation ``before``; 0 for a new one."""
        if isinstance(reply.answer, ApiRefusal):
            return _refused(item, reply.answer)
        sent = sent_of(item, reply.answer.live, reply.digest or digest_of(reply.body))
        changed = reply.answer.created or not before or sent.generation != before
        return replace(sent, written=True, at=reply.begun if changed else None)


def find_trusted(seen: Mapping[str, Seen], item: Placed, *, scaled: bool) -> Seen | None:
    """Find what Validate saw of an object, if an apply of the very bytes it tried is all it takes.

    Args:
        seen: What Validate saw, by identity.
        item: The object.
        scaled: Whether an autoscaler decides its replicas.
    """
    found = seen.get(identity_of_placed(item))
    if found is None or not found.plain:
        return None
    body = body_to_send(item, exists=bool(found.version), scaled=scaled)
    return found if found.digest == digest_of(body) else None


def sent_of(item: Placed, live: JsonObject, digest: str) -> Sent:
    """Describe an object that was left as it is."""
    return Sent(item, uid_of(live), _generation(live), digest, written=False, live=live)


def _refused(item: Placed, refusal: ApiRefusal) -> Refused:
    raise_if_temporary(item.ref, refusal)
    return Refused(reason_of(refusal), sentence(item.ref, refusal))


def _at_version(body: JsonObject, version: str) -> JsonObject:
    """Let the server refuse the body unless the object is still as it was seen."""
    return {**body, "metadata": {**mapping_at(body, "metadata"), "resourceVersion": version}}


def _generation(live: JsonObject) -> int:
    return int_at(live, "metadata", "generation") or 0


def version_of(live: JsonObject) -> str:
    """Read an object's resourceVersion."""
    return string_at(live, "metadata", "resourceVersion")
