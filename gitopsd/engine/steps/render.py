"""Render: the release's overlay for this stage becomes a stored, content-addressed set."""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.images import PinImages
from gitopsd.domain.manifests import Digest, Json, RenderedSet
from gitopsd.domain.stages import StageRendering
from gitopsd.domain.work import EvidenceKind
from gitopsd.engine.outcomes import Done, Outcome, Quarantined, Verdict, Waiting
from gitopsd.engine.pin_facts import keep_pin
from gitopsd.engine.pinning import resolve_pins
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import PermanentError
from gitopsd.kube.images import find_images, parse_image
from gitopsd.pipeline.quarantine import is_quarantined
from gitopsd.ports import Rejection, RenderRequest
from gitopsd.store_ports import Transaction


async def run_render(context: StepContext) -> Outcome:
    """Render the overlay at the release's commit and store what came out.

    Safe to repeat: the same inputs render to the same digest, and a set is stored once.

    Raises:
        TemporaryError: Git, the renderer, or a registry that never said anything about an image
            which is to be pinned, could not be asked.
        PermanentError: The set holds Secrets and there is no encryption key.
    """
    request = RenderRequest(
        repo=context.application.source.repo,
        commit=context.release.commit.sha,
        path=context.spec.path,
        labels=context.labels,
        images=context.release.images,
        tags={name: origin.tag for name, origin in context.release.origins.items() if origin.tag},
    )
    rendered = await _render(context, request)
    if isinstance(rendered, Waiting | Verdict):
        return rendered
    if isinstance(rendered, Rejection):
        return Verdict(rendered.reason, rendered.message)
    if not rendered.objects:
        return Verdict("NothingRendered", f"{context.spec.path} renders to no object at all")
    notes: list[Json] = [*rendered.notes]
    if notes:
        await context.keep(EvidenceKind.NOTES, notes, key="render")
    await keep_pin(context)
    return await context.services.store.transact(lambda tx: _store(tx, context, rendered))


async def _render(
    context: StepContext, request: RenderRequest
) -> RenderedSet | Rejection | Waiting | Verdict:
    """Render, and where all images are pinned, once more with what they were resolved to.

    The second time, only the pins differ: kustomize does not run again for them.
    """
    renderer = context.services.renderer
    rendered = await renderer.run_render(request)
    if isinstance(rendered, Rejection) or context.application.pin_images is not PinImages.ALL:
        return rendered
    pins = await resolve_pins(context, rendered)
    if isinstance(pins, Waiting | Verdict):
        return pins
    if not pins.digests:
        return rendered
    pinned = await renderer.run_render(replace(request, images={**pins.digests, **request.images}))
    if isinstance(pinned, Rejection):
        return pinned
    return replace(pinned, notes=(*pinned.notes, *pins.notes))


def _store(tx: Transaction, context: StepContext, rendered: RenderedSet) -> Outcome:
    key = context.run.stage
    images = image_digests(rendered)
    tx.rendered.put(rendered)
    tx.images.mark(key.application, context.release.id, _tag_marks(rendered))
    tx.releases.put_rendering(
        StageRendering(
            stage=key,
            release=context.release.id,
            rendered=rendered.digest,
            input_key=context.release.inputs.get(context.spec.name, ""),
            images=images,
        )
    )
    found = is_quarantined(rendered.digest, images, tx.quarantines.in_force(key))
    if found is not None:
        message = (
            f"the rendered set is quarantined in {key} since {found.at:%Y-%m-%d %H:%M} UTC: "
            f"{found.reason} Push a fix, or: gitopsd quarantine lift {found.id}"
        )
        return Quarantined(message)
    return Done(rendered=rendered.digest)


def _tag_marks(rendered: RenderedSet) -> list[str]:
    """List the tags of the set's images: a release can be asked for by each of them."""
    marks = []
    for image in find_images(rendered.objects):
        try:
            tag = parse_image(image).tag
        except PermanentError:
            continue
        marks += [f"tag:{tag}"] if tag else []
    return marks


def image_digests(rendered: RenderedSet) -> tuple[Digest, ...]:
    """List the digests of the images that are referred to by digest."""
    found = set(rendered.images.values())
    for image in find_images(rendered.objects):
        try:
            digest = parse_image(image).digest
        except PermanentError:
            continue
        if digest is not None:
            found.add(digest)
    return tuple(sorted(found))
