"""Resolves the image references of a release, once, for all stages it travels through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitopsd.domain.images import ResolvedImage
from gitopsd.domain.manifests import Digest, RenderedSet
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.image_checks import judge_missing
from gitopsd.engine.outcomes import Verdict, Waiting
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import GitopsdError, PermanentError
from gitopsd.kube.images import ImageReference, find_images, parse_image
from gitopsd.kube.redaction import redact_clause
from gitopsd.store_ports import Transaction

IN_FLIGHT = 8


@dataclass(frozen=True, slots=True)
class Pins:
    """What a release's references are pinned to.

    Attributes:
        digests: Reference as the manifests write it -> digest.
        notes: Digests that were reused because their registry did not answer, a sentence each.
    """

    digests: Mapping[str, Digest]
    notes: tuple[str, ...] = ()


async def resolve_pins(context: StepContext, rendered: RenderedSet) -> Pins | Waiting | Verdict:
    """Resolve every reference of a rendered set that carries no digest.

    What an earlier stage, or an earlier attempt, resolved for this release stays: the same bytes
    go to every stage. A registry that does not answer is answered for by what it said last about
    that very reference.

    Safe to repeat: a reference of a release is resolved once.

    Raises:
        TemporaryError: A registry did not answer, and never said anything about a reference.
        PermanentError: A registry cannot be asked, and never said anything about a reference.
    """
    release = context.release.id
    wanted = find_unpinned(rendered)
    known = await context.services.store.read(lambda tx: tx.images.pins(release))
    lacking = [reference for reference in wanted if reference not in known]
    answers = await run_all(lacking, lambda one: _resolve(context, wanted[one], one), IN_FLIGHT)
    missing = tuple(answer for answer in answers if isinstance(answer, str))
    if missing:
        return judge_missing(context, rendered, missing)
    found = [answer for answer in answers if isinstance(answer, _Resolved)]
    if not found:
        return Pins({one: known[one] for one in wanted})

    def work(tx: Transaction) -> Mapping[str, Digest]:
        for one in found:
            if not one.note:
                tx.images.put_resolved(ResolvedImage(one.reference, one.digest, tx.now))
        return tx.images.put_pins(release, {one.reference: one.digest for one in found})

    pins = await context.services.store.transact(work)
    notes = tuple(one.note for one in found if one.note)
    return Pins({one: pins[one] for one in wanted}, notes)


def find_unpinned(rendered: RenderedSet) -> dict[str, ImageReference]:
    """Find the references of a set that name no digest; what is no reference is not resolved."""
    found: dict[str, ImageReference] = {}
    for reference in find_images(rendered.objects):
        try:
            parsed = parse_image(reference)
        except PermanentError:
            continue
        if parsed.digest is None:
            found[reference] = parsed
    return found


@dataclass(frozen=True, slots=True)
class _Resolved:
    """A reference with its digest, and the sentence that says that it was reused."""

    reference: str
    digest: Digest
    note: str = ""


async def _resolve(context: StepContext, parsed: ImageReference, reference: str) -> _Resolved | str:
    """Resolve one reference; the reference itself when the registry does not have it."""
    try:
        digest = await context.services.registry.fetch_digest(parsed.name, parsed.manifest)
    except GitopsdError as error:
        last = await context.services.store.read(lambda tx: tx.images.resolved(reference))
        if last is None:
            raise
        note = (
            f"{reference} is pinned to {last.digest}, as its registry said on "
            f"{last.at:%Y-%m-%d %H:%M} UTC; asked now: {redact_clause(error.message)}"
        )
        return _Resolved(reference, last.digest, note)
    return reference if digest is None else _Resolved(reference, digest)
