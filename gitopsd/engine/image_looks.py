"""Looks at followed images: reads tags and digests from the registry and offers what it finds.

A hint only says when to look. It waits for a moment first, so that a tag that moves twice, or the
images of one build that come one after the other, end in one release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.images import (
    DigestPolicy,
    ImageCandidate,
    ImagePolicy,
    ImageState,
    NewestPolicy,
)
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import Line
from gitopsd.domain.sources import Commit, CommitSha, RefName
from gitopsd.domain.work import WorkItem
from gitopsd.engine.admission import settle
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.image_hints import followers_of
from gitopsd.engine.looks import want_look
from gitopsd.engine.offering import Candidate, find_current, offer_release, plan_release
from gitopsd.engine.services import Services
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.errors import GitopsdError, PermanentError
from gitopsd.kube.redaction import redact_text
from gitopsd.pipeline.image_choice import KEPT, find_credible, rank, select_tags
from gitopsd.registry_ports import ImageDetails
from gitopsd.store_ports import Transaction

IN_FLIGHT = 8
"""Questions under way at once to one registry."""

MOST_TAGS = 1000
"""Tags that one policy may have to know; more need a narrower pattern."""

RECHECKED = 2 * KEPT
"""Tags of a policy that are asked about at each poll, and as many of the others in turn."""


async def run_image_look(services: Services, item: WorkItem) -> timedelta | None:
    """Read what policies could choose of one image, and offer what follows.

    Returns when to look again; None when nobody follows the image any more. Safe to repeat: the
    same images offer nothing twice.
    """
    name = item.subject
    followers = await _find_followers(services, name)
    if not followers:
        return None
    state = await services.store.read(lambda tx: tx.images.get(name)) or ImageState(name)
    wait = services.pace.poll - _spread(name, services.pace.poll)
    try:
        found = await _Look(services, state).find(tuple(followers))
        if _may_still_move(services, state, found):
            await services.store.transact(lambda tx: _record_move(tx, state, services.pace.settle))
            return services.pace.settle
        await retry_conflicts(services.store, lambda tx: _record(tx, state, found, wait))
    except GitopsdError as error:
        wait = await _look_failed(services, state, error)
    applications = {spec.name: spec for specs in followers.values() for spec in specs}
    for application in applications.values():
        await offer_images(services, application)
    return wait


def _may_still_move(services: Services, state: ImageState, found: _Found) -> bool:
    """Tell whether a poll saw something begin whose end is worth a moment, as after a hint."""
    if state.looked_at is None or state.unsettled or _is_hinted(services, state):
        return False
    return found.candidates != dict(state.candidates)


def _is_hinted(services: Services, state: ImageState) -> bool:
    """Tell whether an image is looked at before the poll interval has passed."""
    due = state.next_look_at
    return due is None or services.clock.now() < due - services.pace.sweep


async def _find_followers(
    services: Services, name: str
) -> dict[ImagePolicy, list[ApplicationSpec]]:
    """List who follows an image, here or as another replica stored it."""
    followers = followers_of(services.configuration().applications.values(), name)
    if not followers:
        stored = await services.store.read(lambda tx: tuple(tx.specs.currents()))
        followers = followers_of(stored, name)
    return followers


async def offer_images(services: Services, application: ApplicationSpec) -> None:
    """Offer, on each line of an application, the release that its images make now.

    Safe to repeat: what is offered already is not offered again.
    """
    configuration = services.configuration()
    for ref in dict.fromkeys(application.ref_of(stage) for stage in application.stages):
        candidate = await _candidate(services, application, ref)
        if candidate is None or await services.store.read(
            lambda tx, one=candidate: plan_release(tx, one) is None  # type: ignore[misc] # a default binds the loop's value
        ):
            continue

        def work(tx: Transaction, one: Candidate = candidate) -> None:
            settle(tx, offer_release(tx, one, configuration), configuration)

        await retry_conflicts(services.store, work)


async def _candidate(
    services: Services, application: ApplicationSpec, ref: RefName
) -> Candidate | None:
    """Join the images to the commit that the line stands at.

    A line without any release asks for a look at its ref: only that knows what the stages read.
    """
    line = Line(application.name, ref)
    repo = application.source.repo

    def read(tx: Transaction) -> tuple[Candidate | None, str]:
        current = find_current(tx, line)
        if current is None:
            return None, ""
        state = tx.refs.get(repo, ref)
        head = state.head if state is not None else None
        known = tx.releases.seen(head) if head is not None else ()
        same = any(one.line == line and one.release == current.id for one in known)
        candidate = Candidate(application, ref, current.commit, current.inputs)
        return candidate, head if head is not None and same else current.commit.sha

    candidate, head = await services.store.read(read)
    if candidate is None:
        await services.store.transact(lambda tx: want_look(tx, repo, ref))
        await services.doorbell.ring()
        return None
    commit = candidate.commit
    if head != commit.sha:
        commit = await _read_commit(services, application, head) or commit
    return replace(candidate, commit=commit)


async def _read_commit(
    services: Services, application: ApplicationSpec, head: str
) -> Commit | None:
    try:
        return await services.repositories.fetch_commit(application.source.repo, CommitSha(head))
    except GitopsdError:
        return None  # the release's own commit reads the same


@dataclass(frozen=True, slots=True)
class _Found:
    """What one look found.

    Attributes:
        candidates: Text of each policy -> what it could choose, best first.
        problem: What is lacking; empty when nothing is.
    """

    candidates: dict[str, tuple[ImageCandidate, ...]]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at one image."""

    services: Services
    state: ImageState

    async def find(self, policies: tuple[ImagePolicy, ...]) -> _Found:
        """Find what each policy could choose, best first.

        Raises:
            TemporaryError: The registry did not answer.
            PermanentError: It cannot be asked, or a policy has to know too many tags.
        """
        name, registry = self.state.name, self.services.registry
        listed: tuple[str, ...] = ()
        if not all(isinstance(policy, DigestPolicy) for policy in policies):
            listed = await registry.fetch_tags(name)
        wanted = {policy: self._select(policy, listed) for policy in policies}
        digests = await self._read_digests(wanted)
        details = await self._read_details(digests)
        now = self.services.clock.now()
        found, problems = _Found({}), []
        for policy, tags in wanted.items():
            before = self.state.candidates.get(str(policy), ())
            there = [_make(tag, digests[tag], details, now) for tag in tags if tag in digests]
            found.candidates[str(policy)] = ranked = rank(policy, there, before)
            problems.append(_say_lack(name, policy, there, ranked))
        return replace(found, problem="; ".join(filter(None, problems)))

    def _select(self, policy: ImagePolicy, listed: tuple[str, ...]) -> tuple[str, ...]:
        tags = select_tags(policy, listed)
        if len(tags) > MOST_TAGS:
            message = (
                f"{len(tags)} tags of {self.state.name} fit `{policy}`; narrow the pattern to at "
                f"most {MOST_TAGS}, or delete old tags"
            )
            raise PermanentError(message, reason="TooManyTags")
        return tags

    async def _read_digests(
        self, wanted: Mapping[ImagePolicy, tuple[str, ...]]
    ) -> dict[str, Digest]:
        """Ask what tags point to; at a poll, of many tags only some are asked about again."""
        known = self.services.seen_tags.get(self.state.name, {})
        asked: dict[str, None] = {}
        for policy, tags in wanted.items():
            some = self._select_asked(tags, known) if isinstance(policy, NewestPolicy) else tags
            asked.update(dict.fromkeys(some))

        async def ask(tag: str) -> Digest | None:
            return await self.services.registry.fetch_digest(self.state.name, tag)

        answers = await run_all(asked, ask, IN_FLIGHT)
        told = dict(zip(asked, answers, strict=True))
        everything = dict.fromkeys(tag for tags in wanted.values() for tag in tags)
        digests = {
            tag: digest
            for tag in everything
            if (digest := told[tag] if tag in told else known.get(tag)) is not None
        }
        self.services.seen_tags[self.state.name] = digests
        return digests

    def _select_asked(self, tags: tuple[str, ...], known: Mapping[str, Digest]) -> tuple[str, ...]:
        """Select new tags, the first ones by name, and a part of the others that moves on."""
        hinted = _is_hinted(self.services, self.state) or self.state.unsettled
        if hinted or len(tags) <= RECHECKED:
            return tags
        first, rest = tags[:RECHECKED], tags[RECHECKED:]
        turn = int(self.services.clock.monotonic() / self.services.pace.poll.total_seconds())
        begin = turn * RECHECKED % len(rest)
        part = (rest[begin:] + rest[:begin])[:RECHECKED]
        new = tuple(tag for tag in rest if tag not in known)
        return tuple(dict.fromkeys((*first, *new, *part)))

    async def _read_details(self, digests: Mapping[str, Digest]) -> dict[Digest, ImageDetails]:
        distinct = list(dict.fromkeys(digests.values()))

        async def ask(digest: Digest) -> ImageDetails | None:
            try:
                return await self.services.registry.fetch_details(self.state.name, digest)
            except PermanentError:
                return None  # what no client can read says nothing about itself

        answers = await run_all(distinct, ask, IN_FLIGHT)
        return {
            digest: details
            for digest, details in zip(distinct, answers, strict=True)
            if details is not None
        }


def _make(
    tag: str, digest: Digest, details: Mapping[Digest, ImageDetails], now: datetime
) -> ImageCandidate:
    said = details.get(digest, ImageDetails())
    return ImageCandidate(tag, digest, said.revision, find_credible(said.created, now))


def _say_lack(
    name: str,
    policy: ImagePolicy,
    there: Sequence[ImageCandidate],
    ranked: Sequence[ImageCandidate],
) -> str:
    """Say that there is nothing for a policy, or no longer what was the best."""
    best = ranked[0] if ranked else None
    if best is not None and (best.gone or not there):
        return (
            f"the registry no longer has {name}:{best.tag}, which was the best for `{policy}`; "
            "nothing is released for that alone"
        )
    return "" if there else f"the registry has no image of {name} for `{policy}`"


def _record_move(tx: Transaction, state: ImageState, wait: timedelta) -> None:
    latest = tx.images.get(state.name) or state
    tx.images.save(replace(latest, unsettled=True, next_look_at=tx.now + wait))


def _record(tx: Transaction, state: ImageState, found: _Found, wait: timedelta) -> None:
    tx.images.save(
        ImageState(
            state.name,
            candidates=found.candidates,
            looked_at=tx.now,
            next_look_at=tx.now + wait,
            problem=found.problem,
        )
    )


async def _look_failed(services: Services, state: ImageState, error: GitopsdError) -> timedelta:
    """Keep what was known; what runs keeps running, and commits flow with the images known."""
    asked = getattr(error, "retry_after", None)
    backoff = timedelta(seconds=min(60, 2 ** min(state.tries, 6)))
    wait = max(asked, backoff) if isinstance(asked, timedelta) else backoff

    def work(tx: Transaction) -> None:
        latest = tx.images.get(state.name) or state
        tx.images.save(
            replace(
                latest,
                tries=latest.tries + 1,
                problem=redact_text(error.message),
                looked_at=tx.now,
                next_look_at=tx.now + wait,
            )
        )

    await services.store.transact(work)
    return wait


def _spread(name: str, poll: timedelta) -> timedelta:
    """Spread polls of many images over a tenth of the interval, as those of refs are spread."""
    digest = hashlib.sha256(name.encode()).digest()
    return poll * ((digest[0] + 51) / 2560)
