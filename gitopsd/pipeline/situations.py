"""Where a stage, or the run that a verb names, stands; and what the table says to that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gitopsd.domain.runs import Phase, Run, RunKind
from gitopsd.domain.stages import Freeze, Stage
from gitopsd.domain.verifications import Quarantine, StallReason
from gitopsd.pipeline.apply_hold import is_held_before_apply
from gitopsd.pipeline.lockouts import is_locked_out
from gitopsd.pipeline.verb_table import TABLE
from gitopsd.pipeline.verbs import (
    RUN_VERBS,
    Allowed,
    Answer,
    Refused,
    Situation,
    Verb,
    position_of_step,
)

_STALLS = {
    StallReason.INVENTORY: Situation.FOREIGN,
    StallReason.RESTORED_DATABASE: Situation.RESTORED,
}
_CLOSING = (Situation.FOREIGN, Situation.RESTORED, Situation.CALLED)


@dataclass(frozen=True, slots=True)
class VerbFacts:
    """What decides about a verb.

    Attributes:
        stage: Stored state of the stage.
        configured: Whether the stage is in the configuration.
        run: The run that the verb names. For a verb that names none: the one in *front*, else in
            *next*, else the last one; None when there never was one.
        freezes: Freezes in force that cover the stage.
        quarantine: What quarantines the bytes of that run, or of the stage's applied set for a verb
            that names no run; None when nothing does.
        disagrees: Whether it was left to a person that Git agrees with that run.
    """

    stage: Stage
    configured: bool
    run: Run | None = None
    freezes: tuple[Freeze, ...] = ()
    quarantine: Quarantine | None = None
    disagrees: bool = False


def find_answer(verb: Verb, facts: VerbFacts) -> Answer:
    """Find what the table says to a verb: what decides, else the first refusal."""
    answers = [TABLE[verb][at] for at in find_situations(verb, facts)]
    decided = (one for one in answers if isinstance(one, Allowed) and one.decides)
    refused = (one for one in answers if isinstance(one, Refused))
    return next(decided, None) or next(refused, None) or answers[0]


def find_situations(verb: Verb, facts: VerbFacts) -> tuple[Situation, ...]:
    """List the situations that count for a verb, the first refusal of which is told."""
    if verb in RUN_VERBS:
        return tuple(_of_run(verb, facts))
    return tuple(_of_stage(facts))


def _of_run(verb: Verb, facts: VerbFacts) -> Iterable[Situation]:
    run = facts.run
    if run is None:
        yield Situation.NOTHING
    elif run.live:
        yield _stand(verb, run)
        yield from (at for at in _stalls(facts) if at in _CLOSING)
        yield from _holds(facts)
    else:
        if _is_gone(facts):
            yield Situation.RETIRED
        yield _end(run, facts)
        if facts.quarantine is not None:
            yield Situation.QUARANTINED


def _of_stage(facts: VerbFacts) -> Iterable[Situation]:
    stage, run = facts.stage, facts.run
    if _is_gone(facts):
        yield Situation.RETIRED
    if stage.applied is None:
        yield Situation.NOTHING
    if run is not None:
        yield position_of_step(run.kind, run.step) if run.live else _end(run, facts)
    stalls = tuple(_stalls(facts))
    yield from (at for at in stalls if at in _CLOSING)
    if facts.quarantine is not None:
        yield Situation.QUARANTINED
    yield from (at for at in stalls if at not in _CLOSING)
    if stage.applied is not None and stage.verified is None:
        yield Situation.UNVERIFIED
    yield from _holds(facts)


def _stand(verb: Verb, run: Run) -> Situation:
    """Tell where a run stands that goes on, as a verb sees it."""
    if verb is Verb.SKIP and is_held_before_apply(run):
        return Situation.ROLLOUT_GATE
    if verb in (Verb.ABORT, Verb.LEAVE) and is_locked_out(run) and run.kind is RunKind.ROLLBACK:
        # It cannot go on, and is as good as a run that only applies again what is there.
        return Situation.SYNC_APPLY
    return position_of_step(run.kind, run.step)


def _end(run: Run, facts: VerbFacts) -> Situation:
    """Tell how a run ended."""
    stage = facts.stage
    if facts.disagrees:
        return Situation.DISAGREES
    if run.kind is not RunKind.ROLLOUT:
        return Situation(f"{run.kind.value}Ended")
    applied = stage.applied
    current = applied is not None and applied.release == run.release and stage.verified is not None
    if run.phase is Phase.SUCCEEDED and not current:
        # Something else came over it since: it can be brought again, as after an abort.
        return Situation.ABORTED
    return Situation(run.phase.value)


def _is_gone(facts: VerbFacts) -> bool:
    return not facts.configured or facts.stage.retired_at is not None


def _stalls(facts: VerbFacts) -> Iterable[Situation]:
    stall = facts.stage.stall
    if stall is None:
        return
    if stall.reason.closes_gates:
        yield _STALLS.get(stall.reason, Situation.CALLED)
    elif facts.stage.verified is None:
        yield Situation.STALLED


def _holds(facts: VerbFacts) -> Iterable[Situation]:
    if facts.freezes:
        yield Situation.FROZEN
    if facts.stage.suspended is not None:
        yield Situation.SUSPENDED
    if facts.stage.hold is not None:
        yield Situation.HELD
