"""What every renderer promises: the fake, and real kustomize."""

from __future__ import annotations

import pytest

from gitopsd.domain.manifests import Digest, JsonObject, RenderedSet
from gitopsd.domain.sources import CommitSha
from gitopsd.errors import TemporaryError
from gitopsd.kube.canonical import digest_of_set
from gitopsd.kube.images import find_images
from gitopsd.kube.objects import labels_of, name_of
from gitopsd.ports import InputSet, Rejection, RenderRequest
from tests.contracts.renderer.conftest import Studio

CONFIG: JsonObject = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings"},
    "data": {"a": "b"},
}
POD: JsonObject = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "labels": {"app.kubernetes.io/managed-by": "somebody"}},
    "spec": {
        "initContainers": [{"name": "prepare", "image": "ghcr.io/acme/tools:2"}],
        "containers": [{"name": "web", "image": "nginx:1.27"}, {"name": "log", "image": "log"}],
    },
}
LABELS = {"gitopsd.io/application": "shop", "gitopsd.io/stage": "staging"}
DIGEST = Digest(f"sha256:{'a' * 64}")


async def _key(studio: Studio, sha: CommitSha, path: str = "overlay") -> str:
    inputs = await studio.renderer.fetch_inputs(studio.url, sha, path)
    assert isinstance(inputs, InputSet), inputs
    return inputs.key


async def _render(
    studio: Studio, sha: CommitSha, images: dict[str, Digest] | None = None
) -> RenderedSet:
    request = RenderRequest(studio.url, sha, "overlay", labels=LABELS, images=images or {})
    rendered = await studio.renderer.run_render(request)
    assert isinstance(rendered, RenderedSet), rendered
    return rendered


async def test_equal_inputs_have_one_key(studio: Studio) -> None:
    """A commit that changes another overlay leaves the key as it was."""
    first = await studio.commit({"overlay": (CONFIG,), "other": (CONFIG,)})
    second = await studio.commit({"other": (POD,)})

    assert await _key(studio, first) == await _key(studio, second)
    assert await _key(studio, first, "other") != await _key(studio, second, "other")


async def test_overlays_have_keys_of_their_own(studio: Studio) -> None:
    """Two overlays with the same content have two keys."""
    sha = await studio.commit({"overlay": (CONFIG,), "other": (CONFIG,)})

    assert await _key(studio, sha, "overlay") != await _key(studio, sha, "other")


async def test_inputs_name_files(studio: Studio) -> None:
    """The input set names at least one file of the overlay."""
    sha = await studio.commit({"overlay": (CONFIG,)})

    inputs = await studio.renderer.fetch_inputs(studio.url, sha, "overlay")

    assert isinstance(inputs, InputSet)
    assert inputs.files
    assert all(path.startswith("overlay/") for path in inputs.files)


async def test_objects_come_labelled_and_otherwise_as_written(studio: Studio) -> None:
    """Every object carries our labels, and managed-by only where Git sets none."""
    rendered = await _render(studio, await studio.commit({"overlay": (POD, CONFIG)}))

    config, pod = rendered.objects
    assert labels_of(config) == {**LABELS, "app.kubernetes.io/managed-by": "gitopsd"}
    assert labels_of(pod) == {**LABELS, "app.kubernetes.io/managed-by": "somebody"}
    assert config["data"] == CONFIG["data"]
    assert pod["spec"] == POD["spec"]


async def test_objects_come_in_apply_order(studio: Studio) -> None:
    """Whatever the order in Git, what others need comes first."""
    namespace: JsonObject = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop"},
    }

    rendered = await _render(studio, await studio.commit({"overlay": (POD, CONFIG, namespace)}))

    assert [name_of(obj) for obj in rendered.objects] == ["shop", "settings", "web"]


async def test_digest_addresses_the_objects(studio: Studio) -> None:
    """The digest is that of the canonical objects, and the same each time."""
    sha = await studio.commit({"overlay": (POD, CONFIG)})

    first, second = await _render(studio, sha), await _render(studio, sha)

    assert first.digest == second.digest == digest_of_set(first.objects)
    assert first.objects == second.objects


@pytest.mark.parametrize("name", ["nginx:1.27", "nginx", "docker.io/library/nginx"])
async def test_images_are_pinned_by_reference_or_name(name: str, studio: Studio) -> None:
    """A digest is put on the image it is meant for, however that is named; others stay."""
    sha = await studio.commit({"overlay": (POD,)})

    rendered = await _render(studio, sha, {name: DIGEST, "unknown": DIGEST})

    assert find_images(rendered.objects) == (
        "ghcr.io/acme/tools:2",
        "log",
        f"nginx:1.27@{DIGEST}",
    )
    assert rendered.images == {"nginx:1.27": DIGEST}


async def test_pins_change_the_digest(studio: Studio) -> None:
    """A set with another pin is another set."""
    sha = await studio.commit({"overlay": (POD,)})

    plain, pinned = await _render(studio, sha), await _render(studio, sha, {"nginx": DIGEST})

    assert plain.digest != pinned.digest


async def test_renderer_names_itself(studio: Studio) -> None:
    """A set says what made it."""
    rendered = await _render(studio, await studio.commit({"overlay": (CONFIG,)}))

    assert rendered.renderer


async def test_empty_overlay_is_an_empty_set(studio: Studio) -> None:
    """An overlay without objects renders to a set without objects."""
    rendered = await _render(studio, await studio.commit({"overlay": ()}))

    assert rendered.objects == ()


async def test_broken_overlay_is_a_verdict(studio: Studio) -> None:
    """What a person wrote wrongly is a rejection that names its place, twice the same."""
    sha = await studio.commit({"overlay": None})
    request = RenderRequest(studio.url, sha, "overlay", labels=LABELS)

    walked = await studio.renderer.fetch_inputs(studio.url, sha, "overlay")
    rendered = await studio.renderer.run_render(request)

    assert isinstance(walked, Rejection)
    assert rendered == walked
    assert walked.reason == "RemoteBase"
    assert walked.message.startswith("overlay/kustomization.yaml:1: ")


async def test_missing_overlay_is_a_verdict(studio: Studio) -> None:
    """An overlay that the commit does not have is a rejection."""
    sha = await studio.commit({"other": (CONFIG,)})

    walked = await studio.renderer.fetch_inputs(studio.url, sha, "overlay")

    assert isinstance(walked, Rejection)
    assert walked.message.startswith("overlay:1: ")


async def test_commit_that_was_not_fetched_is_no_verdict(studio: Studio) -> None:
    """A commit that cannot be read says nothing about the overlay."""
    await studio.commit({"overlay": (CONFIG,)})
    unknown = CommitSha("f" * 40)

    with pytest.raises(TemporaryError) as caught:
        await studio.renderer.fetch_inputs(studio.url, unknown, "overlay")

    assert caught.value.reason == "CommitMissing"
    with pytest.raises(TemporaryError):
        await studio.renderer.run_render(RenderRequest(studio.url, unknown, "overlay"))


async def test_one_document_of_a_commit_is_read(studio: Studio) -> None:
    """A path with nothing is None; a commit that was not fetched is no answer."""
    written = b'# for people\nrun: "it\'s 1"\nruns: {commit: "1234"}\n'
    sha = await studio.write("overlay/note.yaml", written)
    fetch = studio.renderer.fetch_document
    assert await fetch(studio.url, sha, "overlay/note.yaml") == {
        "run": "it's 1",
        "runs": {"commit": "1234"},
    }
    assert await fetch(studio.url, sha, "overlay/other.yaml") is None
    assert await fetch(studio.url, sha, "other/note.yaml") is None
    with pytest.raises(TemporaryError) as caught:
        await fetch(studio.url, CommitSha("f" * 40), "overlay/note.yaml")
    assert caught.value.reason == "CommitMissing"


@pytest.mark.parametrize(
    "content,reason",
    [
        (b"a: [", None),
        (b"\xff\xfe", None),
        (b"- a\n- b\n", None),
        (b"", None),
        (b"a: 1\n---\nb: 2\n", None),
        (b"[" * 9_000, None),
        (b"a: " + b"b" * 16_384, "TooLarge"),
    ],
    ids=["no YAML", "no text", "a list", "empty", "two", "deep", "large"],
)
async def test_what_is_no_such_document_is_rejected(
    studio: Studio, content: bytes, reason: str | None
) -> None:
    """With the file and the line, and without reading what is too large."""
    sha = await studio.write("note.yaml", content)
    found = await studio.renderer.fetch_document(studio.url, sha, "note.yaml")
    assert isinstance(found, Rejection)
    assert found.message.startswith("note.yaml:")
    assert reason in (None, found.reason)
