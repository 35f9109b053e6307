"""Who acts, what came of it, and the audit entry that is written in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.domain.runs import RunId
from gitopsd.domain.work import AuditEntry
from gitopsd.engine.services import Services
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.store_ports import Transaction


@dataclass(frozen=True, slots=True)
class Request:
    """A request that its sender may send twice and that must act once.

    Attributes:
        key: The sender's key, unique among all senders.
        fingerprint: Digest of what is asked, so that a key is not used for something else.
    """

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts.

    Attributes:
        subject: Stable name.
        groups: Groups the person is in.
        request: Set when the sender named its request, to act at most once for it.
        token: Id of the token that says so; empty when there is none.
    """

    subject: str
    groups: tuple[str, ...] = ()
    request: Request | None = None
    token: str = ""


@dataclass(frozen=True, slots=True)
class ActionRefused:
    """The action cannot be done now.

    Attributes:
        status: HTTP status that fits: 403, 404, 409 or 422.
        message: Why, and what to do instead.
    """

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class ActionDone:
    """The action was done.

    Attributes:
        message: One sentence.
        run: The run it concerns or created; None when there is none.
        made: Id of what it made besides a run, a freeze say; empty for nothing.
        details: What the audit entry holds of it: what was there before, and after.
    """

    message: str
    run: RunId | None = None
    made: str = ""
    details: JsonObject = field(default_factory=dict)


ActionResult = ActionDone | ActionRefused


async def do_audited(
    services: Services,
    actor: Actor,
    action: str,
    target: object,
    work: Callable[[Transaction], ActionResult],
    details: JsonObject | None = None,
    about: Callable[[Transaction], str] | None = None,
) -> ActionResult:
    """Do one action with its audit entry, in one transaction.

    Safe to repeat: with a request key, what was done before is answered again and not done twice.

    Args:
        services: The ports.
        actor: Who acts.
        action: What it is called.
        target: What it is done to.
        work: Does it.
        details: What the audit entry holds besides.
        about: Says how the target stands; the entry holds that of before and of after.

    Raises:
        TemporaryError: The database does not answer.
    """

    def audited(tx: Transaction) -> ActionResult:
        earlier = recall(tx, actor)
        if earlier is not None:
            return earlier
        before = about(tx) if about is not None else ""
        done = work(tx)
        outcome = "done" if isinstance(done, ActionDone) else f"refused: {done.message}"
        kept: dict[str, Json] = {**(details or {})}
        if about is not None:
            kept |= {"before": before, "after": about(tx)}
        kept |= done.details if isinstance(done, ActionDone) else {}
        entry = AuditEntry(0, tx.now, actor.subject, action, str(target), outcome, kept)
        tx.records.append_audit(entry)
        if isinstance(done, ActionDone):
            remember(tx, actor, done)
        return done

    result = await retry_conflicts(services.store, audited)
    await services.doorbell.ring()
    return result


def recall(tx: Transaction, actor: Actor) -> ActionResult | None:
    """Read what an earlier request of the same key did; None when there was none."""
    if actor.request is None:
        return None
    stored = tx.records.answer_of(actor.request.key)
    if stored is None:
        return None
    if stored.get("fingerprint") != actor.request.fingerprint:
        message = "this Idempotency-Key was used for another request; take a new one"
        return ActionRefused(422, message)
    return _read(stored)


def remember(tx: Transaction, actor: Actor, done: ActionDone) -> None:
    """Store what was done, to be answered again. Refusals changed nothing and are not kept."""
    if actor.request is not None:
        answer: dict[str, Json] = {
            "fingerprint": actor.request.fingerprint,
            "message": done.message,
            "run": done.run,
            "made": done.made,
        }
        tx.records.put_answer(actor.request.key, answer, tx.now)


def _read(stored: Mapping[str, Json]) -> ActionDone:
    run = stored.get("run")
    return ActionDone(
        message=str(stored.get("message", "")),
        run=RunId(str(run)) if run else None,
        made=str(stored.get("made", "")),
    )
