"""Where a registry is asked, and what its file says about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from gitopsd.domain.images import RegistrySpec
from gitopsd.kube.images import DOCKER_HUB, parse_image

_ASKED_ELSEWHERE = {DOCKER_HUB: "https://registry-1.docker.io"}
_TOKENS_ELSEWHERE = {
    DOCKER_HUB: ("auth.docker.io",),
    "registry.gitlab.com": ("gitlab.com",),
}
"""Public registries whose tokens are had at another host of theirs."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One image's registry.

    Attributes:
        host: Host as image names write it.
        url: Address it is asked at, without a slash at its end.
        repository: Path of the image in it.
        spec: What its file says; None when it has none.
    """

    host: str
    url: str
    repository: str
    spec: RegistrySpec | None = None

    @property
    def trusted_hosts(self) -> frozenset[str]:
        """Hosts (with their ports, if written) that may be sent the credential."""
        named = self.spec.token_hosts if self.spec is not None else ()
        own = (self.host, host_of(self.url))
        return frozenset((*own, *named, *_TOKENS_ELSEWHERE.get(self.host, ())))


def find_endpoint(image: str, specs: Iterable[RegistrySpec]) -> Endpoint:
    """Find where an image's registry is asked.

    Args:
        image: Image name.
        specs: The configured registries.

    Raises:
        PermanentError: ``InvalidImage``, when it is no image name.
    """
    parsed = parse_image(image)
    host = parsed.registry
    spec = next((one for one in specs if one.host == host), None)
    url = spec.url if spec is not None and spec.url else _ASKED_ELSEWHERE.get(host)
    return Endpoint(host, url or f"https://{host}", parsed.repository, spec)


def host_of(url: str) -> str:
    """Read the host of an address, with its port when one is written."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def is_same_origin(one: str, other: str) -> bool:
    """Tell whether two addresses have scheme, host and port in common."""
    first, second = urlsplit(one), urlsplit(other)
    return (first.scheme, first.netloc.lower()) == (second.scheme, second.netloc.lower())
