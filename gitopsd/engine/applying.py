"""Applies one object: migration, handover, recreation, server-side apply."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from gitopsd.domain.manifests import Json, JsonObject
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
    strip_replicas,
)
from gitopsd.kube.immutability import Recreation, decide_recreation, is_immutable_refusal
from gitopsd.kube.names import FIELD_MANAGER, HANDOVER_MANAGER
from gitopsd.kube.objects import int_at, string_at, uid_of
from gitopsd.ports import ApiRefusal, AppliedObject, Cluster

GONE_TRIES = 40
"""Looks for a deleted object to be gone before it is created anew, half a second apart."""


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
        uid: Its server uid.
        generation: Its generation after the apply; health before it is seen says nothing.
        digest: Digest of the bytes that count as applied.
        written: Whether a write was sent.
    """

    placed: Placed
    uid: str
    generation: int
    digest: str
    written: bool

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
        }


def sent_of(item: Placed, live: JsonObject, digest: str, *, written: bool) -> Sent:
    """Describe an object as the server has it now."""
    generation = int_at(live, "metadata", "generation") or 0
    return Sent(item, uid_of(live), generation, digest, written)


async def apply_object(
    context: StepContext, cluster: Cluster, permit: WritePermit, item: Placed, *, scaled: bool
) -> Sent | Refused:
    """Bring one object to what Git says.

    Safe to repeat: server-side apply of the same bytes changes nothing; migration and handover
    find nothing left to do.

    Raises:
        TemporaryError: The cluster did not answer.
        LeaseLostError: The right to write ended before the request.
    """
    live = await cluster.get(item.ref)
    if isinstance(live, ApiRefusal):
        raise_if_temporary(item.ref, live)
        return Refused(reason_of(live), sentence(item.ref, live))
    obj = item.obj
    if live is not None and needs_migration(live):
        await _migrate(cluster, permit, item, live)
    if live is not None and scaled:
        obj = strip_replicas(obj)
        await _hand_over(cluster, permit, live)
    permit.check()
    answer: AppliedObject | ApiRefusal | Refused
    answer = await cluster.apply(obj, manager=FIELD_MANAGER, force=True)
    if isinstance(answer, ApiRefusal) and is_immutable_refusal(status_of(answer)) and live:
        answer = await _recreate(context, cluster, permit, item, live, answer)
    if isinstance(answer, Refused):
        return answer
    if isinstance(answer, ApiRefusal):
        raise_if_temporary(item.ref, answer)
        return Refused(reason_of(answer), sentence(item.ref, answer))
    return sent_of(item, answer.live, digest_of(obj), written=True)


async def _migrate(cluster: Cluster, permit: WritePermit, item: Placed, live: JsonObject) -> None:
    """Take over the fields of client-side kubectl, so that what leaves Git leaves the object.

    Safe to repeat: an object that was migrated needs none.
    """
    permit.check()
    answer = await cluster.patch(item.ref, migration_patch(live))
    if isinstance(answer, ApiRefusal):
        raise_if_temporary(item.ref, answer)
        message = f"field ownership could not be migrated: {sentence(item.ref, answer)}"
        raise TemporaryError(message, retry_after=timedelta(seconds=1))


async def _hand_over(cluster: Cluster, permit: WritePermit, live: JsonObject) -> None:
    """Let the autoscaler's replicas stay when we stop listing them; dropped, they become 1.

    Safe to repeat: applies the live value under a manager of its own.
    """
    handover = replicas_handover(live)
    if handover is not None:
        permit.check()
        await cluster.apply(handover, manager=HANDOVER_MANAGER, force=True)


async def _recreate(
    context: StepContext,
    cluster: Cluster,
    permit: WritePermit,
    item: Placed,
    live: JsonObject,
    refusal: ApiRefusal,
) -> AppliedObject | ApiRefusal | Refused:
    """Delete an object whose immutable field changes, where its annotation allows it.

    Safe to repeat: the uid precondition protects an object that was already made anew.
    """
    decision = decide_recreation(item.obj, status_of(refusal))
    if not isinstance(decision, Recreation):
        return Refused(decision.reason, decision.message)
    permit.check()
    deleted = await cluster.delete(item.ref, uid=uid_of(live), propagation=decision.propagation)
    if deleted is not None:
        raise_if_temporary(item.ref, deleted)
        return deleted
    for _ in range(GONE_TRIES):
        found = await cluster.get(item.ref)
        if found is None:
            permit.check()
            return await cluster.apply(item.obj, manager=FIELD_MANAGER, force=True)
        await context.services.clock.sleep(timedelta(milliseconds=500))
    message = f"{item.ref.key} is being deleted to be made anew, and is not gone yet"
    raise TemporaryError(message, retry_after=timedelta(seconds=2))


def version_of(live: JsonObject) -> str:
    """Read an object's resourceVersion."""
    return string_at(live, "metadata", "resourceVersion")
