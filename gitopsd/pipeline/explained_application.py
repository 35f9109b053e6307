"""What is said of an application as a whole, and of a commit in a stage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from gitopsd.domain.releases import ApplicationName
from gitopsd.domain.sources import RefState
from gitopsd.pipeline.commit_status import CommitState, CommitStatus
from gitopsd.pipeline.explanation import NOTHING_MORE, Explanation, Ignored, State, Wait
from gitopsd.pipeline.explanation_text import say_moment


@dataclass(frozen=True, slots=True)
class ApplicationFacts:
    """What is known of an application beside its stages.

    Attributes:
        now: When it was read.
        name: The application.
        repo: Repository it follows; empty when its file was removed.
        refs: Its refs, as they were looked at last.
        problems: Why its file as it is now is not used.
        image_problems: Why an image could not be asked for last.
        waiting: Images that are not released yet, and what they wait for.
        ignored: Deliveries that concern it and changed nothing, newest first.
    """

    now: datetime
    name: ApplicationName
    repo: str = ""
    refs: tuple[RefState, ...] = ()
    problems: tuple[str, ...] = ()
    image_problems: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    ignored: tuple[Ignored, ...] = ()


def explain_application(facts: ApplicationFacts) -> Explanation:
    """Explain where an application's releases come from, and what keeps them from coming."""
    nexts = [ref.next_look_at for ref in facts.refs if ref.next_look_at is not None]
    following = f"the next look at {facts.repo}"
    if not facts.repo:
        following = NOTHING_MORE
    elif nexts:
        following += f", by itself, at {say_moment(min(nexts), facts.now)}"
    return Explanation(
        subject=facts.name,
        at=facts.now,
        state=_judge(facts).value,
        since=None,
        because=_because(facts),
        ignored=facts.ignored,
        waiting_for=_waits(facts),
        next=following,
    )


def list_troubles(facts: ApplicationFacts) -> tuple[str, ...]:
    """List what keeps news of an application from coming to its stages, one sentence each."""
    return (
        *(f"its file as it is now is not used: {problem}" for problem in facts.problems),
        *(_say_ref(ref, facts.now) for ref in _lost(facts)),
        *facts.image_problems,
        *facts.waiting,
    )


def explain_commit(
    status: CommitStatus, told: Explanation | None, wanted: str, now: datetime
) -> Explanation:
    """Explain where a commit stands in a stage.

    Args:
        status: Where it stands.
        told: What is said of the run that the status is about; None when it is about none.
        wanted: The commit as it was asked for.
        now: When the facts were read.
    """
    waits: tuple[Wait, ...] = ()
    if status.waiting_for and not status.state.terminal:
        waits = (Wait(f"{status.key} to take it", status.waiting_for),)
    said = Explanation(
        subject=f"{wanted} in {status.key}",
        at=now,
        state=status.state.value,
        since=status.since,
        because=(status.reason or "the last look agreed with what was verified",),
        ignored=(),
        waiting_for=waits,
        next=_after_status(status),
        run=status.run.id if status.run is not None else None,
    )
    if told is None or status.state in (CommitState.LIVE, CommitState.NOT_CONCERNED):
        return said
    repeated = status.state is CommitState.HELD or any(
        status.reason in sentence for sentence in told.because
    )
    return replace(
        said,
        since=told.since or said.since,
        because=told.because if repeated else (*said.because, *told.because),
        ignored=told.ignored,
        waiting_for=told.waiting_for or waits,
        next=told.next,
        foresight=told.foresight,
    )


def _after_status(status: CommitStatus) -> str:
    if status.waiting_for:
        return status.waiting_for
    if status.state is CommitState.NOT_SEEN:
        return f"where its releases come from: gitopsd explain {status.key.application}"
    return NOTHING_MORE


def _judge(facts: ApplicationFacts) -> State:
    if not facts.repo:
        return State.RETIRED
    if facts.problems:
        return State.NOT_USED
    if _lost(facts):
        return State.UNREACHABLE
    return State.WAITING if facts.waiting or facts.image_problems else State.FOLLOWED


def _because(facts: ApplicationFacts) -> tuple[str, ...]:
    if not facts.repo:
        return ("its file was removed; what its stages run keeps running",)
    return (
        *(f"its file as it is now is not used: {problem}" for problem in facts.problems),
        *(_say_ref(ref, facts.now) for ref in facts.refs),
        *facts.image_problems,
    )


def _say_ref(ref: RefState, now: datetime) -> str:
    if ref.looked_at is None:
        return f"{ref.ref} was not looked at yet"
    looked = f"looked at {say_moment(ref.looked_at, now)}"
    if ref.problem:
        return f"{ref.ref} could not be read, {looked}: {ref.problem}"
    if ref.head is None:
        return f"{ref.ref} is not there, {looked}"
    return f"{ref.ref} is at {ref.head[:12]}{f', tag {ref.tag}' if ref.tag else ''}, {looked}"


def _waits(facts: ApplicationFacts) -> tuple[Wait, ...]:
    keeper = "ask whoever keeps the Git host, or the credential for it"
    return (
        *(Wait(f"a file that can be used: {one}", "mend it") for one in facts.problems),
        *(Wait(f"an answer about {ref.ref}", keeper, ref.next_look_at) for ref in _lost(facts)),
        *(Wait(f"images: {one}", "push that image, or wait for it") for one in facts.waiting),
        *(
            Wait(f"an answer about {one}", "ask whoever keeps the registry")
            for one in facts.image_problems
        ),
    )


def _lost(facts: ApplicationFacts) -> tuple[RefState, ...]:
    return tuple(ref for ref in facts.refs if ref.problem)
