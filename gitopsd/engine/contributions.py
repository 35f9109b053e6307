"""Finds out whose commits a release brings to a stage: nobody approves what they made.

Git is asked outside of any transaction, by the Diff step, and what it said is kept with the run;
who pushed is read from the database where a vote is judged, since a webhook may come late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gitopsd.domain.contributions import CommitPeople, CommitRange, Contributions
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.domain.releases import Release, ReleaseId
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.domain.work import Evidence, EvidenceKind
from gitopsd.engine.effects import destination_of
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import GitopsdError
from gitopsd.kube.redaction import redact_clause
from gitopsd.store_ports import Transaction

MOST_COMMITS = 500
"""Commits of one release that are looked at; of more, the newest."""

_KEY = "since"


async def keep_contributions(context: StepContext) -> None:
    """Keep who made what the release brings since what the stage runs, if a person may be asked.

    Read for what is verified and for what is applied: the latter is what is verified next, while
    the run stands at its Gate.

    Safe to repeat: it reads the mirror and replaces its own evidence.
    """
    if not _asks_people(context):
        return
    head = context.release.commit.sha
    earlier = await context.services.store.read(lambda tx: _earlier(tx, context))
    ranges: list[Json] = []
    for since in earlier:
        try:
            found = await context.services.repositories.fetch_range(
                context.application.source.repo, head, since, MOST_COMMITS
            )
        except GitopsdError as error:
            found = _head_alone(context.release, since, redact_clause(error.message))
        ranges.append(_write(found))
    await context.keep(EvidenceKind.COMMITS, {"head": head, "ranges": ranges}, key=_KEY)


def load_contributions(
    tx: Transaction,
    release: Release,
    verified: ReleaseId | None,
    evidence: Sequence[Evidence],
    repo: RepoURL,
) -> Contributions:
    """Read who had a hand in what a run brings since what its stage runs verified now.

    Args:
        tx: The transaction.
        release: The run's release.
        verified: What the stage runs verified; None when it runs nothing verified.
        evidence: What the run has kept.
        repo: The application's repository.
    """
    since = _commit_of(tx, verified) if verified is not None else None
    found = _find_range(evidence, release, since)
    commits = [commit.sha for commit in found.commits]
    return Contributions(found, tx.pushes.pushers(repo, commits))


def _asks_people(context: StepContext) -> bool:
    """Tell whether an approval is asked for, by the file the run began under or the newest one."""
    newest = context.services.configuration().applications.get(context.application.name)
    current = newest.stage(context.spec.name) if newest is not None else None
    gates = (*context.spec.gates, *(current.gates if current is not None else ()))
    return any(isinstance(gate, ApprovalGate) for gate in gates)


def _earlier(tx: Transaction, context: StepContext) -> tuple[CommitSha, ...]:
    stage = tx.stages.get(context.run.stage) or context.stage
    releases = [stage.applied.release] if stage.applied is not None else []
    destination = destination_of(context.spec)
    for item in tx.verifications.page(stage.key):
        if item.revoked_at is None and item.destination == destination:
            releases.append(item.release)
            break
    found = (_commit_of(tx, release) for release in releases)
    return tuple(dict.fromkeys(sha for sha in found if sha is not None))


def _commit_of(tx: Transaction, release: ReleaseId) -> CommitSha | None:
    found = tx.releases.get(release)
    return found.commit.sha if found is not None else None


def _find_range(
    evidence: Sequence[Evidence], release: Release, since: CommitSha | None
) -> CommitRange:
    if since is None:
        return _head_alone(release, None, "nothing was verified here before")
    if since == release.commit.sha:
        return CommitRange(since, since, ())
    for kept in _kept(evidence):
        if (kept.get("head"), kept.get("since")) == (release.commit.sha, since):
            return _read(kept, release.commit.sha, since)
    return _head_alone(release, since, f"its commits since {since[:12]} were not read")


def _kept(evidence: Sequence[Evidence]) -> Iterable[Mapping[str, Json]]:
    for item in reversed(evidence):
        if item.kind is EvidenceKind.COMMITS and isinstance(item.content, Mapping):
            ranges = item.content.get("ranges")
            found = ranges if isinstance(ranges, list | tuple) else ()
            return [one for one in found if isinstance(one, Mapping)]
    return ()


def _head_alone(release: Release, since: CommitSha | None, problem: str) -> CommitRange:
    commit = release.commit
    return CommitRange(
        commit.sha, since, (CommitPeople(commit.sha, author=commit.author_email),), problem
    )


def _write(found: CommitRange) -> JsonObject:
    commits: list[Json] = [
        {
            "sha": one.sha,
            "author": one.author,
            "committer": one.committer,
            "coAuthors": list(one.co_authors),
        }
        for one in found.commits
    ]
    return {
        "head": found.head,
        "since": found.since,
        "problem": found.problem,
        "commits": commits,
    }


def _read(kept: Mapping[str, Json], head: CommitSha, since: CommitSha) -> CommitRange:
    commits = kept.get("commits")
    return CommitRange(
        head,
        since,
        tuple(
            _read_commit(one)
            for one in (commits if isinstance(commits, list | tuple) else ())
            if isinstance(one, Mapping)
        ),
        str(kept.get("problem", "")),
    )


def _read_commit(kept: Mapping[str, Json]) -> CommitPeople:
    others = kept.get("coAuthors")
    return CommitPeople(
        sha=CommitSha(str(kept.get("sha", ""))),
        author=str(kept.get("author", "")),
        committer=str(kept.get("committer", "")),
        co_authors=tuple(str(one) for one in others) if isinstance(others, list | tuple) else (),
    )
