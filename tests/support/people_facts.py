"""Votes, skips and commits of people, for tests of the gates that people open."""

from __future__ import annotations

from datetime import datetime

from gitopsd.domain.contributions import CommitPeople, CommitRange, Contributions
from gitopsd.domain.gates import Decision, GateSkip, Vote
from gitopsd.domain.manifests import Digest
from gitopsd.domain.people import People, Person
from gitopsd.domain.runs import RunId
from gitopsd.domain.sources import CommitSha
from tests.support.gate_facts import NOON, RUN

HEAD, BEFORE, SINCE = CommitSha("a" * 40), CommitSha("b" * 40), CommitSha("0" * 40)
PLAN = Digest("sha256:plan")

PEOPLE = People(
    persons=(
        Person("maria", ("maria@work.example", "maria@home.example"), ("managers",), "maria-gh"),
        Person("ben", ("ben@work.example",), ("developers",)),
        Person("olga", ("olga@work.example",), ("managers", "developers")),
    )
)


def vote(
    subject: str = "maria",
    *groups: str,
    decision: Decision = Decision.APPROVE,
    plan: Digest = PLAN,
    run: RunId = RUN.id,
    reason: str = "",
    void_at: datetime | None = None,
    known: bool = False,
    token: str = "",
) -> Vote:
    """A vote of somebody in these groups."""
    return Vote(
        id=f"vote-{subject}",
        run=run,
        plan=plan,
        subject=subject,
        groups=groups,
        decision=decision,
        reason=reason,
        at=NOON,
        void_at=void_at,
        known=known,
        token=token,
    )


def made(
    *commits: CommitPeople,
    problem: str = "",
    pushers: dict[CommitSha, tuple[str, ...]] | None = None,
) -> Contributions:
    """What a release brings."""
    return Contributions(CommitRange(HEAD, SINCE, commits, problem), pushers or {})


def commit(
    author: str = "", committer: str = "", *co_authors: str, sha: CommitSha = HEAD
) -> CommitPeople:
    """A commit of these e-mails."""
    return CommitPeople(sha, author, committer, co_authors)


def skip(
    gate: str,
    content: str = "",
    *,
    plan: Digest = PLAN,
    run: RunId = RUN.id,
    void_at: datetime | None = None,
    token: str = "",
) -> GateSkip:
    """Maria lets the run pass a gate."""
    return GateSkip(
        "skip-1", run, plan, gate, content, "maria", "production is down", NOON, void_at, token
    )
