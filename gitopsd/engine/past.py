"""What an Apply knows when it begins: what Validate saw, what was sent before, how old that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gitopsd.domain.manifests import Json
from gitopsd.domain.runs import RunKind, Step
from gitopsd.domain.work import EvidenceKind, RunEvent
from gitopsd.engine.applying import Sent, parse_sent
from gitopsd.engine.assessment import (
    Seen,
    identity_of,
    identity_of_placed,
    parse_seen,
    parse_untried,
)
from gitopsd.engine.placing import Placed
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.tried import KEY, KIND, Tried, parse_tried

FRESH_FOR = timedelta(minutes=1)
"""How long what Validate found out about policies and quotas is believed without being asked again:
longer than it takes to get from there to Apply when nothing is waited for.
"""


@dataclass(frozen=True, slots=True)
class Past:
    """What is known before anything is sent.

    Attributes:
        seen: What Validate saw, by identity; empty when nobody validated.
        untried: Objects that could not be tried, by identity.
        sent: What Apply sent already, in an earlier execution, by identity.
        stale: Whether everything has to be tried again: nothing was written yet, and what admission
            said to Validate may not be what it says now.
        tried: What was tried again already.
        kept: Whether what a Rollback found in the cluster is kept.
    """

    seen: Mapping[str, Seen] = field(default_factory=dict)
    untried: frozenset[str] = frozenset()
    sent: Mapping[str, Sent] = field(default_factory=dict)
    stale: bool = False
    tried: Tried = field(default_factory=Tried)
    kept: bool = False


async def load_past(context: StepContext, placed: Sequence[Placed]) -> Past:
    """Read what Validate saw, and what an earlier execution of this step has sent already.

    A Rollback and a Sync had no Validate: they look for themselves, and try nothing.
    """
    run = context.run
    if context.is_first:
        return Past()
    pieces, events, live_state = await context.services.store.read(
        lambda tx: (
            tx.runs.evidence(run.id),
            tx.runs.events(run.id),
            tx.runs.live_state(run.id) if run.kind is RunKind.ROLLBACK else None,
        )
    )
    contents = {
        (piece.kind, piece.key): piece.content
        for piece in pieces
        if isinstance(piece.content, dict)
    }
    objects = contents.get((EvidenceKind.HEALTH, "applied"), {}).get("applied")
    described: dict[str, Mapping[str, Json]] = {
        identity_of(item): item
        for item in (objects if isinstance(objects, list) else ())
        if isinstance(item, dict)
    }
    sent = {
        identity_of_placed(item): parse_sent(item, described[identity_of_placed(item)])
        for item in placed
        if identity_of_placed(item) in described
    }
    if run.kind is not RunKind.ROLLOUT:
        return Past(sent=sent, kept=live_state is not None)
    assessed = contents.get((EvidenceKind.CHANGE_SET, "assessed"))
    seen, now = parse_seen(assessed), context.services.clock.now()
    old = is_stale((item.at for item in seen.values()), events, now)
    began = any(item.written for item in sent.values())
    tried = parse_tried(contents.get((KIND, KEY)))
    if not began and not tried.is_within(FRESH_FOR, now):
        tried = Tried()
    stale = old and not began and not tried.complete
    return Past(seen, parse_untried(assessed) - set(tried.accepted), sent, stale, tried)


def is_stale(heard: Iterable[datetime], events: Sequence[RunEvent], now: datetime) -> bool:
    """Whether what Validate heard may not be true any more.

    That is when the run stood at its Gate, however shortly, since a person or a moment was waited
    for, and when it was long on its way. A run whose gates are open leaves them in the transaction
    that brought it there.

    Args:
        heard: When Validate asked about the objects.
        events: The run's log, oldest first.
        now: The time.
    """
    done = [event for event in events if event.name == "StepSucceeded"]
    reached = max((event.at for event in done if event.step is Step.DIFF), default=now)
    left = max((event.at for event in done if event.step is Step.GATE), default=reached)
    return left > reached or any(now - at > FRESH_FOR for at in heard)
