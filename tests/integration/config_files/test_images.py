"""Image sources of applications, and registries."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitopsd.adapters.config_files.documents import Parsed, parse_file
from gitopsd.adapters.config_files.live import load_configuration
from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.images import (
    DigestPolicy,
    ImageSource,
    NewestPolicy,
    PinImages,
    RegistrySpec,
    SemverPolicy,
)
from tests.support.configuration import APPLICATION, applications, write_files

REGISTRY = """\
apiVersion: gitopsd.io/v1
kind: Registry
metadata: {name: it}
spec: {SPEC}
"""


def _with(lines: str) -> str:
    return APPLICATION.replace("NAME", "it").replace("spec:\n", f"spec:\n  {lines}\n", 1)


def _application(lines: str) -> ApplicationSpec:
    answer = parse_file("applications/it.yaml", "Application", _with(lines).encode())
    assert isinstance(answer, Parsed), [str(error) for error in answer]
    assert isinstance(answer.value, ApplicationSpec)
    return answer.value


def _problems(text: str, kind: str = "Application") -> list[tuple[str, str]]:
    answer = parse_file("it.yaml", kind, text.encode())
    assert not isinstance(answer, Parsed)
    assert all(error.remedy for error in answer)
    return [(error.path, error.problem) for error in answer]


def test_image_sources_are_read() -> None:
    """Each policy is what its one key says; names are written out in full."""
    spec = _application(
        "images: ["
        "{name: ghcr.io/acme/api, policy: {semver: '>=1.4 <2'}, group: build}, "
        "{name: nginx, policy: {newest: 'main-*'}}, "
        "{name: 'registry:5000/team/worker', policy: {digest: main}}]"
    )

    assert spec.images == (
        ImageSource("ghcr.io/acme/api", SemverPolicy(">=1.4 <2"), "build"),
        ImageSource("docker.io/library/nginx", NewestPolicy("main-*")),
        ImageSource("registry:5000/team/worker", DigestPolicy("main")),
    )
    assert spec.pin_images is PinImages.NONE


def test_all_images_can_be_pinned() -> None:
    """`pinImages: all` is a wish of its own; without it references stay as they are written."""
    assert _application("pinImages: all").pin_images is PinImages.ALL
    assert _application("pinImages: none").pin_images is PinImages.NONE


@pytest.mark.parametrize(
    "image, path, problem",
    [
        ("{name: 'api:1', policy: {digest: a}}", "name",
         "'api:1' names a tag or digest, which the policy chooses"),
        ("{name: 'Api/X', policy: {digest: a}}", "name",
         "image 'Api/X': its name is not lower-case words joined by slashes"),
        ("{name: api}", "policy", "it is missing"),
        ("{name: api, policy: {}}", "policy",
         "a policy is one of `semver`, `newest` and `digest`"),
        ("{name: api, policy: {digest: a, newest: b}}", "policy",
         "a policy is one of `semver`, `newest` and `digest`"),
        ("{name: api, policy: {semver: 'abc'}}", "policy.semver",
         "this is no range of versions: 'abc' is no version"),
        ("{name: api, policy: {newest: 'main-[0-9]'}}", "policy.newest",
         "'main-[0-9]' is no pattern of tags"),
        ("{name: api, policy: {newest: ''}}", "policy.newest", "'' is no pattern of tags"),
        ("{name: api, policy: {digest: 'a b'}}", "policy.digest", "'a b' is no tag"),
        ("{name: api, policy: {digest: ''}}", "policy.digest", "'' is no tag"),
        ("{name: api, policy: {digest: 'a/b'}}", "policy.digest", "'a/b' is no tag"),
        ("{name: api, policy: {regex: a}}", "policy.regex", "unknown key `regex`"),
        ("{name: api, policy: {digest: a}, group: Build}", "group", "'Build' is no name"),
    ],
)  # fmt: skip
def test_mistakes_in_image_sources_are_explained(image: str, path: str, problem: str) -> None:
    """The place and the problem are named, and what to write instead."""
    assert (f"spec.images[0].{path}", problem) in _problems(_with(f"images: [{image}]"))


def test_other_values_of_pinning_are_refused() -> None:
    """There are two."""
    [(path, problem)] = _problems(_with("pinImages: some"))

    assert (path, problem) == ("spec.pinImages", "it is 'some', expected `none` or `all`")


def test_an_image_is_followed_once(tmp_path: Path) -> None:
    """Two policies of one image, however it is spelled, are a mistake."""
    images = (
        "images: [{name: nginx, policy: {digest: a}}, {name: docker.io/nginx, policy: {digest: b}}]"
    )
    files = applications("it") | {"applications/it.yaml": _with(images)}

    [error] = load_configuration(write_files(tmp_path, files)).errors

    assert (error.path, error.problem) == (
        "spec.images[1].name",
        "docker.io/library/nginx is there already",
    )


def test_a_registry_is_read(tmp_path: Path) -> None:
    """Relative file names begin at the configuration folder; the address loses its last slash."""
    spec = (
        "{host: 'registry:5000', url: 'http://10.0.0.1:5000/', credentialFile: login, "
        "caFile: /ca.pem, tokenHosts: [auth.example]}"
    )
    write_files(tmp_path, {"registries/it.yaml": REGISTRY.replace("{SPEC}", spec)})

    [registry] = load_configuration(tmp_path, check_secrets=False).configuration.registries

    assert registry == RegistrySpec(
        name="it",
        host="registry:5000",
        url="http://10.0.0.1:5000",
        credential_file=str(tmp_path / "login"),
        ca_file="/ca.pem",
        token_hosts=("auth.example",),
    )


def test_a_registry_needs_no_more_than_its_host(tmp_path: Path) -> None:
    """A file may say no more than where the registry is."""
    write_files(tmp_path, {"registries/it.yaml": REGISTRY.replace("{SPEC}", "{host: ghcr.io}")})

    assert load_configuration(tmp_path).configuration.registries == (RegistrySpec("it", "ghcr.io"),)


@pytest.mark.parametrize(
    "spec, path, problem",
    [
        ("{}", "spec.host", "it is missing"),
        ("{host: 'https://ghcr.io'}", "spec.host", "'https://ghcr.io' is no registry host"),
        ("{host: ghcr.io/acme}", "spec.host", "'ghcr.io/acme' is no registry host"),
        ("{host: acme}", "spec.host", "'acme' is no registry host"),
        ("{host: index.docker.io}", "spec.host", "'index.docker.io' is no registry host"),
        ("{host: ghcr.io, url: 'https://ghcr.io/v2/'}", "spec.url", "the address has a path"),
        ("{host: ghcr.io, url: 'https://a:b@ghcr.io'}", "spec.url",
         "the address holds credentials"),
        ("{host: ghcr.io, password: x}", "spec.password", "unknown key `password`"),
        ("{host: ghcr.io, tokenHosts: ['a b']}", "spec.tokenHosts[0]",
         "'a b' is no registry host"),
    ],
)  # fmt: skip
def test_mistakes_in_registries_are_explained(spec: str, path: str, problem: str) -> None:
    """The place and the problem are named, and what to write instead."""
    assert _problems(REGISTRY.replace("{SPEC}", spec), "Registry") == [(path, problem)]


def test_a_credential_that_is_missing_is_said(tmp_path: Path) -> None:
    """The file is not used before gitopsd can read what it names."""
    text = REGISTRY.replace("{SPEC}", "{host: ghcr.io, credentialFile: gone, caFile: gone}")
    write_files(tmp_path, {"registries/it.yaml": text})

    result = load_configuration(tmp_path)

    assert [error.path for error in result.errors] == ["spec.caFile", "spec.credentialFile"]
    assert result.configuration.registries == ()


def test_a_host_is_described_once(tmp_path: Path) -> None:
    """Of two files about one host, the later is in the wrong."""
    text = REGISTRY.replace("{SPEC}", "{host: ghcr.io}")
    write_files(
        tmp_path,
        {"registries/a.yaml": text, "registries/b.yaml": text.replace("name: it", "name: b")},
    )

    result = load_configuration(tmp_path)

    [error] = result.errors
    assert (error.file, error.path) == ("registries/b.yaml", "spec.host")
    assert error.problem == "registries/a.yaml says already how ghcr.io is reached"
    assert [one.name for one in result.configuration.registries] == ["it"]
