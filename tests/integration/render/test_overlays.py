"""The stored set is what kustomize itself makes, plus pins and labels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gitopsd.domain.manifests import Digest
from gitopsd.kube.objects import annotations_of
from tests.support.kustomize_oracle import (
    build,
    canonical,
    find_images,
    run_kubectl,
    write_checkout,
)
from tests.support.overlays import BASE, OVERLAY_PATHS, OVERLAYS
from tests.support.rendering import LABELS, Workshop


def _digest_for(reference: str) -> Digest:
    return Digest(f"sha256:{hashlib.sha256(reference.encode()).hexdigest()}")


@pytest.mark.parametrize("name", OVERLAYS)
async def test_stored_set_equals_kustomize(name: str, workshop: Workshop, tmp_path: Path) -> None:
    """Every object is byte for byte what kustomize makes of it, with our labels and pins."""
    files, path = OVERLAYS[name], OVERLAY_PATHS.get(name, "overlay")
    write_checkout(tmp_path / "checkout", files)
    plain = run_kubectl(tmp_path / "checkout" / path)
    pins = {image: _digest_for(image) for image in find_images(plain)}
    expected = build(tmp_path / "checkout", path, labels=LABELS, pins=pins)

    rendered = await workshop.render_set(workshop.commit(files), path, images=pins)

    assert canonical(rendered.objects) == canonical(expected)
    assert rendered.images == pins


async def test_origins_are_those_of_the_overlay(workshop: Workshop) -> None:
    """Origin annotations name files from the overlay, as if kustomize were run there by hand."""
    kustomization = "resources: [../base]\nbuildMetadata: [originAnnotations]\n"
    commit = workshop.commit({**BASE, "overlay/kustomization.yaml": kustomization})

    rendered = await workshop.render_set(commit)

    service = next(obj for obj in rendered.objects if obj["kind"] == "Service")
    assert annotations_of(service) == {
        "config.kubernetes.io/origin": "path: ../base/service.yaml\n"
    }


async def test_three_hundred_objects_are_three_hundred(workshop: Workshop) -> None:
    """The large overlay is as large as its name says."""
    rendered = await workshop.render_set(workshop.commit(OVERLAYS["300 objects"]))

    assert len(rendered.objects) == 300


async def test_equal_inputs_give_equal_digests(workshop: Workshop) -> None:
    """Two commits with the same inputs render to the same digest, by one renderer run."""
    first = workshop.commit({**BASE, "overlay/kustomization.yaml": "resources: [../base]\n"})
    second = workshop.commit({"README.md": "more words\n"})

    one, other = await workshop.render_set(first), await workshop.render_set(second)

    assert one.digest == other.digest
    assert one.objects == other.objects


async def test_labels_and_pins_are_part_of_the_digest(workshop: Workshop) -> None:
    """Another label or another pin is another set, without another build."""
    commit = workshop.commit({**BASE, "overlay/kustomization.yaml": "resources: [../base]\n"})
    pins = {"ghcr.io/acme/web:1.0": _digest_for("web")}

    plain = await workshop.render_set(commit)
    labelled = await workshop.render_set(commit, labels={"gitopsd.io/stage": "production"})
    pinned = await workshop.render_set(commit, images=pins)

    assert len({plain.digest, labelled.digest, pinned.digest}) == 3


async def test_labels_never_reach_pod_templates(workshop: Workshop) -> None:
    """A label of ours in a pod template would restart every pod; none gets there."""
    commit = workshop.commit({**BASE, "overlay/kustomization.yaml": "resources: [../base]\n"})

    rendered = await workshop.render_set(commit)

    deployment = next(obj for obj in rendered.objects if obj["kind"] == "Deployment")
    assert "'gitopsd.io/application'" not in str(deployment["spec"])
    assert "managed-by" not in str(deployment["spec"])


async def test_renderer_is_named_with_its_bytes(workshop: Workshop) -> None:
    """A set says which kustomize made it: name, version and sha256."""
    commit = workshop.commit({**BASE, "overlay/kustomization.yaml": "resources: [../base]\n"})

    rendered = await workshop.render_set(commit)

    name, version, digest = rendered.renderer.split()
    assert name == "kustomize"
    assert version.startswith("v5.")
    assert len(digest) == len("sha256:") + 64
