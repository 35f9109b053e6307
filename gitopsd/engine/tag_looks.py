"""Looks at what a followed ref points to; where tags are followed, chooses one of them first."""

from __future__ import annotations

from dataclasses import dataclass

from gitopsd.domain.releases import OfferKind
from gitopsd.domain.sources import CommitSha, RefName, RefState
from gitopsd.engine.services import Services
from gitopsd.errors import PermanentError
from gitopsd.pipeline.tag_choice import TAGS, TagSelector, goes_back, parse_selector, rank_tags
from gitopsd.source_ports import RemoteTag, SourceHead

TRIED = 3
"""Of tags that point to no commit, so many are passed over at one look."""

_NO_COMMIT = "NoCommit"


@dataclass(frozen=True, slots=True)
class Head:
    """What one look found at the end of a ref, or of the tags that stand for one.

    Attributes:
        source: The commit; None when the remote has none.
        kind: How it lies to what was there before.
        late: Whether the remote does not serve yet what the last hint named.
        tag: The tag that was chosen; empty where a ref is followed by its name.
        problem: What whoever follows it should know; empty for nothing.
    """

    source: SourceHead | None
    kind: OfferKind = OfferKind.ADVANCED
    late: bool = False
    tag: str = ""
    problem: str = ""


async def fetch_followed(services: Services, state: RefState) -> Head:
    """Read what a line follows from its remote.

    Raises:
        GitopsdError: The remote cannot be read now, or the ref points to no commit.
    """
    began = services.clock.monotonic()
    selector = parse_selector(state.ref)
    try:
        if selector is None:
            source = await services.repositories.fetch_head(
                state.repo, state.ref, previous=state.head
            )
        else:
            return await _fetch_tagged(services, state, selector)
    finally:
        seconds = services.clock.monotonic() - began
        services.telemetry.observe("gitopsd_git_request_duration_seconds", seconds)
    if source is None:
        problem = f"the remote has no {state.ref}; what runs keeps running"
        return Head(None, late=True, problem=problem)
    late = await _lacks(services, state, source, state.expected)
    kind = OfferKind.REWOUND if source.to_ancestor else OfferKind.ADVANCED
    return Head(source, kind, late)


async def _lacks(
    services: Services, state: RefState, head: SourceHead, expected: CommitSha | None
) -> bool:
    if expected is None or head.commit.sha == expected:
        return False
    known = await services.repositories.fetch_commit(state.repo, expected)
    if known is None:
        return True
    return not await services.repositories.contains(state.repo, head.commit.sha, expected)


async def _fetch_tagged(services: Services, state: RefState, selector: TagSelector) -> Head:
    tags = await services.repositories.fetch_tags(state.repo)
    named = state.expected is None or any(
        state.expected in (tag.target, tag.commit) for tag in tags.values()
    )
    passed: list[str] = []
    for name in rank_tags(selector, tags)[:TRIED]:
        try:
            source = await _fetch_tag(services, state, name, tags[name])
        except PermanentError as error:
            if error.reason != _NO_COMMIT:
                raise
            passed.append(f"tag {name} points to no commit and is passed over")
            continue
        if source is not None:  # else it was deleted at this moment: there is another look
            kind = _kind_of(selector, state, name, source)
            return Head(source, kind, not named, name, "; ".join(passed))
    passed.append(f"the remote has no tag for {selector}; what runs keeps running")
    return Head(None, late=not named, problem="; ".join(passed))


async def _fetch_tag(
    services: Services, state: RefState, name: str, tag: RemoteTag
) -> SourceHead | None:
    """Fetch a tag's commit; asks for nothing when it is what was there before."""
    if tag.commit == state.head:
        commit = await services.repositories.fetch_commit(state.repo, tag.commit)
        if commit is not None:
            return SourceHead(commit)
    ref = RefName(f"{TAGS}{name}")
    return await services.repositories.fetch_head(state.repo, ref, previous=state.head)


def _kind_of(selector: TagSelector, state: RefState, name: str, source: SourceHead) -> OfferKind:
    """Tell whether a choice goes back: to a lower tag, or to where the same one was moved back.

    A higher tag goes forward, also when it was put on an older commit: somebody wanted that.
    """
    if not state.tag or state.tag == name:
        return OfferKind.REWOUND if source.to_ancestor and state.tag else OfferKind.ADVANCED
    lower = goes_back(selector, state.tag, name)
    return OfferKind.REWOUND if lower else OfferKind.ADVANCED
