"""What is said of a run that is over: how it ended, what followed, and what to do now."""

from __future__ import annotations

from gitopsd.domain.agreements import Agreement, AgreementState
from gitopsd.domain.runs import Phase, Run, RunKind
from gitopsd.pipeline.agreeing import branch_of
from gitopsd.pipeline.explanation import NOTHING_MORE, Wait
from gitopsd.pipeline.explanation_text import say_moment
from gitopsd.pipeline.run_phrases import RunFacts, Said, say_cause, say_what
from gitopsd.pipeline.steps import retry_delay

_AGREED = (AgreementState.COMMITTED, AgreementState.UNNEEDED)


def say_succeeded(facts: RunFacts) -> Said:
    """Say what a run brought."""
    sentence = {
        RunKind.ROLLOUT: f"{facts.name} was brought to {facts.run.stage} and verified",
        RunKind.ROLLBACK: f"{facts.run.stage} went back to {facts.name}, verified",
        RunKind.SYNC: f"{facts.run.stage} had {facts.name} applied again and was healthy",
    }[facts.run.kind]
    if facts.rollback is not None:
        return Said((f"{sentence}; later it failed there", *_aftermath(facts)), _fix(facts))
    because = (sentence, *say_cause(facts), *_say_agreement(facts.agreement))
    return Said(because, _after_agreement(facts.agreement))


def _say_agreement(agreement: Agreement | None) -> tuple[str, ...]:
    """Say whether Git says what was restored, where that was asked for."""
    if agreement is None:
        return ()
    said = {
        AgreementState.COMMITTED: "Git agrees: ",
        AgreementState.UNNEEDED: "nothing was committed: ",
        AgreementState.LEFT_TO_PERSON: "Git does not agree: ",
        AgreementState.WAITING: "Git does not agree yet",
    }[agreement.state]
    if agreement.settled:
        return (f"{said}{agreement.message}",)
    return (f"{said}: {agreement.message}" if agreement.message else said,)


def _after_agreement(agreement: Agreement | None) -> str:
    if agreement is None or agreement.state in _AGREED:
        return NOTHING_MORE
    if agreement.settled:
        return f"somebody makes {branch_of(agreement.ref)} say what should run"
    return "the commit is tried again by itself"


def say_unchanged(facts: RunFacts) -> Said:
    """Say that nothing had to be written."""
    because = (
        f"{facts.name} changes nothing of what {facts.run.stage} runs verified: it counts as "
        "verified there, and nothing was written"
    )
    return Said((because,), NOTHING_MORE)


def say_failed(facts: RunFacts) -> Said:
    """Say what failed, and what followed."""
    end = f"{say_what(facts)} {_say_end(facts.run)}"
    return Said((end, *say_cause(facts), *_aftermath(facts)), _fix(facts))


def say_errored(facts: RunFacts) -> Said:
    """Say what could not be found out, and when it is tried again."""
    run = facts.run
    because = (f"{say_what(facts)} has no verdict: it {_say_end(run)}", *_aftermath(facts))
    if facts.successor is not None:
        return Said(because, f"it is tried again in {facts.successor.id}")
    if run.ended_at is None:
        return Said(because, "it is tried again by itself")
    again = run.ended_at + retry_delay(run.attempt_number)
    wait = Wait(f"attempt {run.attempt_number + 1}", f"at once: gitopsd retry {run.id}", again)
    return Said(because, "it is tried again by itself", (wait,))


def say_superseded(facts: RunFacts) -> Said:
    """Say what took over."""
    because = f"{say_what(facts)} {_say_end(facts.run)}"
    newer = facts.successor
    if newer is None:
        return Said((because,), NOTHING_MORE)
    where = f" in {newer.step.value}" if newer.step is not None and newer.live else ""
    return Said((because,), f"{newer.id} brings what is newer: it is {newer.phase.value}{where}")


def say_ended_by_people(facts: RunFacts) -> Said:
    """Say who or what ended it, and how to ask anew."""
    run = facts.run
    because = (f"{say_what(facts)} {_say_end(run)}", *_aftermath(facts))
    if run.kind is not RunKind.ROLLOUT or facts.rollback is not None:
        return Said(because, NOTHING_MORE)
    return Said(because, f"it is not tried again by itself; to ask anew: gitopsd retry {run.id}")


def say_quarantined(facts: RunFacts) -> Said:
    """Say what keeps its bytes out."""
    return Said((f"{say_what(facts)} {_say_end(facts.run)}",), _fix(facts))


def say_retired(facts: RunFacts) -> Said:
    """Say that its stage is gone."""
    return Said((f"{say_what(facts)} {_say_end(facts.run)}",), NOTHING_MORE)


def _aftermath(facts: RunFacts) -> tuple[str, ...]:
    """Say what followed a run that ended badly: rollback, quarantine, a call."""
    run, rollback, found = facts.run, facts.rollback, []
    if rollback is not None:
        back = facts.target or str(rollback.release)
        stands = {
            Phase.SUCCEEDED: f"{back} was restored by {rollback.id}",
            Phase.FAILED: f"{back} could not be restored: {rollback.id} failed",
            Phase.ABORTED: f"{back} was not restored: {rollback.id} was ended",
        }.get(rollback.phase, f"{back} is being restored by {rollback.id}")
        ended = f" at {say_moment(rollback.ended_at, facts.now)}" if rollback.ended_at else ""
        found.append(stands + ended)
    if facts.quarantine is not None and facts.undone is None:
        found.append(f"its bytes are quarantined in {run.stage} ({facts.quarantine.id})")
    if facts.stall is not None and facts.stall.run == run.id:
        found.append(f"a person is called ({facts.stall.reason.value}): {facts.stall.message}")
    if not found and not run.mutated:
        found.append("nothing was changed in the cluster")
    return tuple(found)


def _fix(facts: RunFacts) -> str:
    if facts.quarantine is None or facts.undone is not None:
        return "push a fix"
    return (
        f"push a fix; to let the same bytes in again: gitopsd quarantine lift {facts.quarantine.id}"
    )


def _say_end(run: Run) -> str:
    step = f" in {run.failure.step.value}" if run.failure and run.failure.step else ""
    why = f": {run.failure.message}" if run.failure is not None else ""
    return f"ended {run.phase.value}{step}{why}"
