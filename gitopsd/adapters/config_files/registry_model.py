"""The kind Registry."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gitopsd.adapters.config_files.application_model import MetadataSection
from gitopsd.adapters.config_files.fields import FileName, HttpUrl, Section, refuse
from gitopsd.domain.images import RegistrySpec
from gitopsd.errors import PermanentError
from gitopsd.kube.images import parse_image


def _check_host(value: str) -> str:
    try:
        parsed = parse_image(f"{value}/image")
    except PermanentError:
        parsed = None
    if parsed is None or parsed.registry != value:
        raise refuse(
            f"{value[:60]!r} is no registry host",
            "Write the host as image names begin with it, such as `ghcr.io` or `registry:5000`",
        )
    return value


def _check_base_url(value: str) -> str:
    if value.rstrip("/").count("/") != 2:  # noqa: PLR2004 - those of "https://"
        raise refuse("the address has a path", "Write scheme, host and port: the API is at /v2/")
    return value.rstrip("/")


RegistryHost = Annotated[str, AfterValidator(_check_host)]
BaseUrl = Annotated[HttpUrl, AfterValidator(_check_base_url)]


class RegistrySection(Section):
    """``spec:`` of a registry."""

    host: RegistryHost = Field(
        description="Host as image names begin with it", examples=["ghcr.io"]
    )
    url: BaseUrl | None = Field(
        default=None, description="Address it is asked at; https://HOST if unset"
    )
    credential_file: FileName | None = Field(
        default=None, description="File with `user:password`, or a Docker config.json"
    )
    ca_file: FileName | None = Field(default=None, description="CA certificates for HTTPS")
    token_hosts: list[RegistryHost] = Field(
        default=[],
        description="Further hosts that may get the credential, if it says tokens are had there",
    )


class Registry(Section):
    """How to reach a registry of images, and as whom."""

    api_version: Literal["gitopsd.io/v1"] = Field(alias="apiVersion")
    kind: Literal["Registry"]
    metadata: MetadataSection
    spec: RegistrySection

    def to_domain(self) -> RegistrySpec:
        """Make the frozen value."""
        spec = self.spec
        return RegistrySpec(
            name=self.metadata.name,
            host=spec.host,
            url=spec.url or "",
            credential_file=spec.credential_file or "",
            ca_file=spec.ca_file or "",
            token_hosts=tuple(spec.token_hosts),
        )
