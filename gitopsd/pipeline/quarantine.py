"""Which bytes failed where, and whether a release contains them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from gitopsd.domain.manifests import Digest, Json, RenderedSet
from gitopsd.domain.runs import Run
from gitopsd.domain.verifications import Quarantine


def compute_quarantine(
    run: Run,
    reason: str,
    at: datetime,
    *,
    failed: RenderedSet | None = None,
    restored: RenderedSet | None = None,
) -> Quarantine | None:
    """Compute what a failed run puts into quarantine.

    Args:
        run: The Rollout that ended Failed.
        reason: The failure's sentence.
        at: When it ended.
        failed: What it rendered, when that can be read.
        restored: What a failure restores, when there is something.

    Returns:
        The quarantine of its rendered digest, and of images when they are all that changed; None
        when it failed before it rendered anything.
    """
    if run.rendered is None:
        return None
    images: tuple[Digest, ...] = ()
    if failed is not None and restored is not None:
        images = compute_quarantined_images(failed, restored)
    return Quarantine(
        id=f"q-{run.id}",
        stage=run.stage,
        rendered=run.rendered,
        images=images,
        release=run.release,
        reason=reason,
        at=at,
    )


def compute_quarantined_images(failed: RenderedSet, restored: RenderedSet) -> tuple[Digest, ...]:
    """Compute the image digests to blame: the new ones, when images are all that changed.

    Args:
        failed: The set that failed.
        restored: The verified set that a failure restores.

    Returns:
        Digests in ``failed`` that ``restored`` does not have, sorted; none when anything but
        image references differs, for then the images may be innocent.
    """
    new = set(failed.images.values()) - set(restored.images.values())
    if not _differ_in_images_only(failed.objects, restored.objects):
        return ()
    return tuple(sorted(new))


def is_quarantined(
    rendered: Digest | None, images: Iterable[Digest], quarantines: Iterable[Quarantine]
) -> Quarantine | None:
    """Find the quarantine in force that bytes fall under.

    Args:
        rendered: Rendered digest; None while it is not known.
        images: Image digests that are in it.
        quarantines: Quarantines of the stage.
    """
    held = frozenset(images)
    for quarantine in quarantines:
        if quarantine.lifted_at is not None:
            continue
        if rendered == quarantine.rendered or not held.isdisjoint(quarantine.images):
            return quarantine
    return None


def _differ_in_images_only(one: Json, other: Json, key: str = "") -> bool:
    """Compare two JSON values, taking any two strings under a key ``image`` as equal."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(
            _differ_in_images_only(one[name], other[name], name) for name in one
        )
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_differ_in_images_only, one, other))
    if key == "image" and isinstance(one, str) and isinstance(other, str):
        return True
    return type(one) is type(other) and one == other
