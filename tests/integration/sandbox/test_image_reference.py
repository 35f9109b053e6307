"""Image references are read as every kubelet reads them."""

from __future__ import annotations

import pytest

from gitopsd.errors import PermanentError
from gitopsd.sandbox.image_reference import parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    "text, repository, target",
    [
        ("nginx", "docker.io/library/nginx", "latest"),
        ("nginx:1.27", "docker.io/library/nginx", "1.27"),
        ("acme/web:1", "docker.io/acme/web", "1"),
        ("ghcr.io/acme/web", "ghcr.io/acme/web", "latest"),
        ("localhost/web:1", "localhost/web", "1"),
        ("127.0.0.1:5000/acme/team/web:v1.2_x", "127.0.0.1:5000/acme/team/web", "v1.2_x"),
        (f"ghcr.io/acme/web@{DIGEST}", "ghcr.io/acme/web", DIGEST),
        (f"ghcr.io/acme/web:1@{DIGEST}", "ghcr.io/acme/web", DIGEST),
    ],
)
def test_a_reference_has_a_repository_and_a_target(text: str, repository: str, target: str) -> None:
    """Host, path, tag and digest are told apart; a digest wins over a tag."""
    reference = parse_reference(text)

    assert (reference.repository, reference.target) == (repository, target)


@pytest.mark.parametrize(
    "text, words",
    [
        ("ACME/Web:1", "repository name (ACME/Web) must be lowercase"),
        ("", "invalid reference format"),
        ("web:", "invalid reference format"),
        ("web:-x", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("web@sha256:12", "invalid reference format"),
        ("ghcr.io//web", "invalid reference format"),
        ("$(IMAGE)", "invalid reference format"),
    ],
)
def test_what_is_no_reference_is_refused_in_the_kubelets_words(text: str, words: str) -> None:
    """The refusal is what the pod's status shows."""
    with pytest.raises(PermanentError) as refusal:
        parse_reference(text)

    assert refusal.value.reason == "InvalidImageName"
    assert refusal.value.message.startswith(f'Failed to apply default image tag "{text}": ')
    assert words in refusal.value.message
