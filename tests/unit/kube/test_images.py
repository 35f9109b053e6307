"""Image references: found, parsed, pinned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.domain.manifests import Digest, Json, JsonObject
from gitopsd.errors import PermanentError
from gitopsd.kube import images
from gitopsd.kube.images import ImageReference, ImageUse
from tests.support.hostile import HOSTILE_OBJECTS

A = Digest("sha256:" + "a" * 64)
B = Digest("sha256:" + "b" * 64)
LONG = Digest("sha512:" + "c" * 128)


@pytest.mark.parametrize(
    "reference, parsed",
    [
        ("nginx", ImageReference("docker.io", "library/nginx", "", None, "nginx")),
        ("nginx:1.27", ImageReference("docker.io", "library/nginx", "1.27", None, "nginx")),
        ("acme/api", ImageReference("docker.io", "acme/api", "", None, "acme/api")),
        (
            "docker.io/nginx",
            ImageReference("docker.io", "library/nginx", "", None, "docker.io/nginx"),
        ),
        (
            "index.docker.io/library/nginx",
            ImageReference("docker.io", "library/nginx", "", None, "index.docker.io/library/nginx"),
        ),
        (
            "ghcr.io/acme/api:1.4",
            ImageReference("ghcr.io", "acme/api", "1.4", None, "ghcr.io/acme/api"),
        ),
        (
            "localhost/api",
            ImageReference("localhost", "api", "", None, "localhost/api"),
        ),
        (
            "registry:5000/api",
            ImageReference("registry:5000", "api", "", None, "registry:5000/api"),
        ),
        (
            "127.0.0.1:5000/a/b/c:x_Y.z-9",
            ImageReference("127.0.0.1:5000", "a/b/c", "x_Y.z-9", None, "127.0.0.1:5000/a/b/c"),
        ),
        (
            "[::1]:5000/api:1",
            ImageReference("[::1]:5000", "api", "1", None, "[::1]:5000/api"),
        ),
        (f"nginx@{A}", ImageReference("docker.io", "library/nginx", "", A, "nginx")),
        (
            f"ghcr.io/acme/api:1.4@{A}",
            ImageReference("ghcr.io", "acme/api", "1.4", A, "ghcr.io/acme/api"),
        ),
        (f"nginx@{LONG}", ImageReference("docker.io", "library/nginx", "", LONG, "nginx")),
        (
            "quay.io/a__b/c--d/e.f_g",
            ImageReference("quay.io", "a__b/c--d/e.f_g", "", None, "quay.io/a__b/c--d/e.f_g"),
        ),
    ],
)
def test_references_are_parsed(reference: str, parsed: ImageReference) -> None:
    """Host, repository, tag and digest, with Docker Hub's abbreviations written out."""
    assert images.parse_image(reference) == parsed


@pytest.mark.parametrize(
    "reference, problem",
    [
        ("", "its name is not lower-case words joined by slashes"),
        ("Nginx", "its name is not lower-case words joined by slashes"),
        ("nginx:", "after the last colon stands no tag"),
        ("nginx:-x", "after the last colon stands no tag"),
        ("nginx:" + "t" * 129, "after the last colon stands no tag"),
        ("a//b", "its name is not lower-case words joined by slashes"),
        ("a/b/", "its name is not lower-case words joined by slashes"),
        ("-a", "its name is not lower-case words joined by slashes"),
        ("a..b", "its name is not lower-case words joined by slashes"),
        ("nginx@sha256:abc", "after @ stands no sha256 digest"),
        ("nginx@", "after @ stands no sha256 digest"),
        ("nginx@md5:" + "a" * 64, "after @ stands no sha256 digest"),
        ("a:b:c", "its name is not lower-case words joined by slashes"),
        ("ex_ample.com/api", "it begins with no registry host"),
        ("host:port/api", "it begins with no registry host"),
        ("nginx\n", "its name is not lower-case words joined by slashes"),
        ("https://ghcr.io/acme/api", "it begins with no registry host"),
        ("x" * 256, "its name is not lower-case words joined by slashes"),
    ],
)
def test_what_is_no_reference_is_refused(reference: str, problem: str) -> None:
    """The refusal shows the reference and says what is wrong with it."""
    with pytest.raises(PermanentError) as caught:
        images.parse_image(reference)
    shown = reference if len(reference) <= 255 else reference[:255] + "..."
    assert caught.value.message == f"image {shown!r}: {problem}"
    assert caught.value.reason == "InvalidImage"


def test_the_longest_parts_are_accepted() -> None:
    """A name of 255 and a tag of 128 characters."""
    assert images.parse_image("x" * 255).repository == "library/" + "x" * 255
    assert images.parse_image("nginx:" + "t" * 128).tag == "t" * 128


def test_a_reference_is_written_in_full() -> None:
    """The full name, and what a registry is asked for."""
    plain = images.parse_image("nginx")
    tagged = images.parse_image("nginx:1")
    pinned = images.parse_image(f"nginx:1@{A}")
    assert plain.name == "docker.io/library/nginx"
    assert (plain.manifest, tagged.manifest, pinned.manifest) == ("latest", "1", A)
    assert str(plain) == "docker.io/library/nginx"
    assert str(tagged) == "docker.io/library/nginx:1"
    assert str(pinned) == f"docker.io/library/nginx:1@{A}"


@pytest.mark.parametrize(
    "reference, pinned",
    [
        ("nginx", f"nginx@{A}"),
        ("nginx:1.27", f"nginx:1.27@{A}"),
        (f"nginx@{B}", f"nginx@{A}"),
        (f"ghcr.io/acme/api:1.4@{B}", f"ghcr.io/acme/api:1.4@{A}"),
        ("registry:5000/api", f"registry:5000/api@{A}"),
    ],
)
def test_pins_keep_the_name_and_tag_as_written(reference: str, pinned: str) -> None:
    """The digest is what counts; the tag stays for people; an older digest goes."""
    assert images.pin(reference, A) == pinned


def test_only_digests_can_be_pinned_to() -> None:
    """A tag is no pin."""
    with pytest.raises(PermanentError) as caught:
        images.pin("nginx", Digest("latest"))
    assert caught.value.message == "image 'latest': it is no digest to pin to"


def pod_spec(*names: str) -> dict[str, Json]:
    """Make a pod spec with containers of some images."""
    return {"containers": [{"name": f"c{i}", "image": name} for i, name in enumerate(names)]}


@pytest.mark.parametrize(
    "obj",
    [
        {"kind": "Pod", "spec": pod_spec("a", "b")},
        {"kind": "Deployment", "spec": {"template": {"spec": pod_spec("a", "b")}}},
        {
            "kind": "CronJob",
            "spec": {"jobTemplate": {"spec": {"template": {"spec": pod_spec("a", "b")}}}},
        },
        {"kind": "PodTemplate", "template": {"spec": pod_spec("a", "b")}},
        {"kind": "List", "items": [{"spec": pod_spec("a")}, {"spec": pod_spec("b")}]},
        {"kind": "Widget", "spec": {"pods": {"x": pod_spec("a", "b")}}},
    ],
)
def test_images_are_found_in_every_kind_of_workload(obj: JsonObject) -> None:
    """A pod spec is known by its containers, wherever it stands."""
    assert images.find_images([obj]) == ("a", "b")


def test_every_use_of_a_pod_spec_is_found() -> None:
    """Init, main and ephemeral containers and image volumes, in the kubelet's order."""
    spec: Json = {
        "containers": [{"name": "main", "image": "m"}, {"name": "none"}, "odd", {"image": 3}],
        "initContainers": [{"name": "init", "image": "i"}],
        "ephemeralContainers": [{"name": "debug", "image": "d"}],
        "volumes": [
            {"name": "v", "image": {"reference": "data:1"}},
            {"name": "w", "emptyDir": {}},
            {"name": "x", "image": "odd"},
        ],
    }
    assert images.find_uses({"spec": spec}) == (
        ImageUse("init", "i"),
        ImageUse("main", "m"),
        ImageUse("debug", "d"),
        ImageUse("v", "data:1"),
    )


def test_each_image_is_listed_once() -> None:
    """Sorted, whoever uses it."""
    objects = [{"spec": pod_spec("b", "a")}, {"spec": pod_spec("b")}]
    assert images.find_images(objects) == ("a", "b")
    assert images.find_images([]) == ()


def wanting(kind: str, name: str, *wanted: str) -> JsonObject:
    """Make an object that wants images."""
    metadata: JsonObject = {"name": name, "namespace": "shop"}
    return {"kind": kind, "metadata": metadata, "spec": pod_spec(*wanted)}


def test_who_wants_a_missing_image_is_said() -> None:
    """Kind and name of each object, few of many; nobody else is named."""
    objects = [wanting("Deployment", "api", "a", "b", "c"), wanting("Job", "migrate", "a")]
    assert images.say_missing(objects, ["a"], "x") == (
        "Deployment shop/api, Job shop/migrate: the registry has no image a"
    )
    assert images.say_missing(objects, ["a", "b", "c"], "x") == (
        "Deployment shop/api, Job shop/migrate: the registry has no image a; "
        "Deployment shop/api: the registry has no image b, c"
    )
    many = [wanting("Job", f"j{number}", "a") for number in range(5)]
    assert images.say_missing(many, ["a"], "x") == (
        "Job shop/j0, Job shop/j1, Job shop/j2, 2 more: the registry has no image a"
    )
    assert images.say_missing([{**many[0], "metadata": {"name": "j"}}], ["a"], "x") == (
        "Job x/j: the registry has no image a"
    )


def nest(levels: int) -> JsonObject:
    """Put a pod spec below a number of levels."""
    value: JsonObject = pod_spec("deep")
    for _ in range(levels):
        value = {"x": value}
    return value


def test_the_search_ends_at_a_depth() -> None:
    """Deeper than 64 levels no image is looked for, and nothing overflows."""
    assert images.find_images([nest(64)]) == ("deep",)
    assert images.find_images([nest(65)]) == ()
    assert images.find_images([nest(20_000)]) == ()


@given(HOSTILE_OBJECTS)
def test_no_object_makes_the_search_raise(obj: JsonObject) -> None:
    """Whatever a manifest holds, no image is empty."""
    assert all(image for image in images.find_images([obj]))


@given(st.text(max_size=40))
def test_a_parsed_reference_is_parsed_the_same_when_written_in_full(text: str) -> None:
    """Parsing raises the documented error or gives something that parses to itself."""
    try:
        parsed = images.parse_image(text)
    except PermanentError:
        return
    again = images.parse_image(str(parsed))
    assert (again.name, again.tag, again.digest) == (parsed.name, parsed.tag, parsed.digest)


def test_digests_of_a_set_are_those_that_its_references_name() -> None:
    """A reference without a digest, or that is none, is there and has none."""
    digest = f"sha256:{'a' * 64}"
    specs = [{"image": f"host/a:1@{digest}"}, {"image": "host/b:1"}, {"image": "Not One"}]
    pod: JsonObject = {"kind": "Pod", "spec": {"containers": specs}}
    assert images.find_digests([pod]) == {
        "Not One": None,
        f"host/a:1@{digest}": digest,
        "host/b:1": None,
    }
