"""Asks registries whether the images of a set are there, beside the dry-runs of Validate."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from gitopsd.domain.manifests import Digest, RenderedSet
from gitopsd.domain.runs import LastLook
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.outcomes import Verdict, Waiting
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import GitopsdError, PermanentError
from gitopsd.kube.images import ImageReference, find_images, parse_image, say_missing
from gitopsd.kube.redaction import redact_clause

BOUND = timedelta(seconds=5)
"""How long a registry may keep a release waiting."""

SILENCE = timedelta(seconds=30)
"""How long a registry that did not answer is not asked again."""

AGAIN = timedelta(seconds=3)
"""How soon a missing image is asked about again."""

IN_FLIGHT = 8


@dataclass(frozen=True, slots=True)
class ImageFindings:
    """What registries say about the images of a set.

    Attributes:
        missing: Images that are not there, definitely.
        notes: Images that could not be asked about, a sentence each; no verdict against them.
        marks: Revisions that the images were built from, to find the release by.
    """

    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Finding:
    missing: str = ""
    note: str = ""
    revision: str = ""


async def check_images(context: StepContext, rendered: RenderedSet) -> ImageFindings:
    """Ask about every image of a set.

    A registry that does not answer, or does not let gitopsd see an image that the cluster may see,
    says nothing against a release: it is noted. Never raises for it.
    """
    images: dict[str, ImageReference] = {}
    for reference in find_images(rendered.objects):
        try:
            images[reference] = parse_image(reference)
        except PermanentError:
            continue  # the API server's dry-run is the judge of what an image name may be
    findings = await run_all(images, lambda one: _check(context, one, images[one]), IN_FLIGHT)
    return ImageFindings(
        missing=tuple(one.missing for one in findings if one.missing),
        notes=tuple(one.note for one in findings if one.note),
        marks=tuple(
            sorted({f"revision:{one.revision}" for one in findings if one.revision}),
        ),
    )


def judge_missing(
    context: StepContext, rendered: RenderedSet, missing: tuple[str, ...]
) -> Waiting | Verdict:
    """Wait for images of a set that are not there, for a while; then that is the verdict."""
    now = context.services.clock.now()
    message = say_missing(rendered.objects, missing, context.spec.namespace)
    try:
        since = datetime.fromisoformat(context.run.cursor)
    except ValueError:
        since = now
    left = since + context.spec.image_grace - now
    if left > timedelta(0):
        return Waiting(min(AGAIN, left), LastLook.NOT_HEALTHY, since.isoformat(), f"{message} yet")
    return Verdict("ImageMissing", f"{message}; push it, or mend the reference")


async def _check(context: StepContext, reference: str, image: ImageReference) -> _Finding:
    services = context.services
    silent_until = services.silent_registries.get(image.registry, 0.0)
    if services.clock.monotonic() < silent_until:
        return _Finding(note=f"{reference}: registry {image.registry} did not answer a moment ago")
    try:
        async with asyncio.timeout(BOUND.total_seconds()):
            return await _ask(context, reference, image)
    except TimeoutError:
        why = f"no answer within {BOUND.total_seconds():g} s"
    except GitopsdError as error:
        why = redact_clause(error.message)
        if error.reason == "Credential":
            return _Finding(note=f"{reference} could not be asked about: {why}")
    until = services.clock.monotonic() + SILENCE.total_seconds()
    services.silent_registries[image.registry] = until
    return _Finding(note=f"{reference} could not be asked about: {why}")


async def _ask(context: StepContext, reference: str, image: ImageReference) -> _Finding:
    services = context.services
    digest = await services.registry.fetch_digest(image.name, image.manifest)
    if digest is None:
        return _Finding(missing=reference)
    if image.digest is None or not _is_configured(context, image.registry):
        return _Finding()
    return _Finding(revision=await _read_revision(context, image, image.digest))


async def _read_revision(context: StepContext, image: ImageReference, digest: Digest) -> str:
    details = await context.services.registry.fetch_details(image.name, digest)
    return details.revision if details is not None else ""


def _is_configured(context: StepContext, host: str) -> bool:
    """Tell whether a registry is ours to ask for more: others count what is read from them."""
    return any(spec.host == host for spec in context.services.configuration().registries)
