"""``verify:`` of a stage: the checks that are made against the application itself."""

from __future__ import annotations

import re
from abc import abstractmethod
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from gitopsd.adapters.config_files.fields import HttpUrl, Name, PositiveDuration, Section, refuse
from gitopsd.adapters.json_path import parse_json_path
from gitopsd.domain.checks import Check, HttpCheck

_LAST_PORT = 65_535
_PORT_NAME = re.compile(r"(?=[a-z0-9-]{1,15}\Z)[a-z0-9-]*[a-z][a-z0-9-]*")  # RFC 6335 service names
_CREDENTIAL_HEADERS = ("authorization", "cookie", "proxy-authorization")


def _check_json_path(value: str) -> str:
    try:
        parse_json_path(value)
    except ValueError as error:
        raise refuse(str(error), "Write keys with dots between them") from None
    return value


def _check_header_name(value: str) -> str:
    if value.lower() in _CREDENTIAL_HEADERS:
        raise refuse(
            f"header {value} would put a secret into the configuration",
            "Check an address that needs no login; logins in checks are not supported yet",
        )
    if not value or not all(sign.isalnum() or sign in "-_" for sign in value):
        raise refuse(f"{value[:60]!r} is no header name", "Write a name such as `X-Probe`")
    return value


def _check_header_value(value: str) -> str:
    if not value.isprintable():
        raise refuse("the header holds a control character", "Write one printable line")
    return value


def _check_request_path(value: str) -> str:
    if not value.startswith("/") or any(sign.isspace() for sign in value):
        raise refuse(f"{value[:60]!r} is no request path", "Write a path such as `/health`")
    return value


def _check_scalar(value: object) -> object:
    if isinstance(value, list | dict):
        raise refuse("a list or mapping is no single value", "Name the value inside it by its path")
    return value


def _check_port(value: object) -> object:
    if isinstance(value, str) and _PORT_NAME.fullmatch(value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LAST_PORT:
        return str(value)
    raise refuse(
        "this is no port of a service",
        "Write its name, such as `http`, or its number, such as `80`",
    )


Scalar = Annotated[str | int | float | bool | None, BeforeValidator(_check_scalar)]
Port = Annotated[str, BeforeValidator(_check_port), WithJsonSchema({"type": ["string", "integer"]})]
JsonPath = Annotated[str, AfterValidator(_check_json_path)]
HeaderName = Annotated[str, AfterValidator(_check_header_name)]
HeaderValue = Annotated[str, AfterValidator(_check_header_value)]
RequestPath = Annotated[str, AfterValidator(_check_request_path)]


class CheckKindSection(Section):
    """What every kind of check has in common."""

    name: str = Field(default="", description="What people call the check")
    within: PositiveDuration = Field(
        default=timedelta(seconds=60), description="How long the check may take to succeed"
    )
    timeout: PositiveDuration = Field(
        default=timedelta(seconds=10), description="Bound of one whole attempt"
    )
    successes: Annotated[int, Field(ge=1, le=100)] = Field(default=1, description="In a row")

    @abstractmethod
    def to_domain(self) -> Check:
        """Make the frozen value."""


class HttpSection(CheckKindSection):
    """``http:`` of a check."""

    service: Name | None = Field(
        default=None, description="Service asked through the API server's proxy"
    )
    namespace: Name | None = Field(
        default=None, description="Namespace of the service; the stage's if unset"
    )
    port: Port | None = Field(default=None, description="Port name or number of the service")
    scheme: Literal["http", "https"] = Field(default="http", description="Behind the proxy")
    url: HttpUrl | None = Field(default=None, description="Asked directly, instead of a service")
    path: RequestPath = Field(default="/", description="Path and query asked of the service")
    method: Literal["GET", "HEAD", "OPTIONS", "POST"] = "GET"
    headers: dict[HeaderName, HeaderValue] = Field(default={}, description="Extra request headers")
    status: Annotated[int, Field(ge=100, le=599)] = 200
    json_path: dict[JsonPath, Scalar] = Field(
        default={}, description="Paths into the JSON body -> expected values"
    )
    body_contains: str = Field(default="", description="Text that the body must hold")
    max_latency: PositiveDuration | None = Field(
        default=None, description="Of one attempt, body included"
    )
    follow_redirects: bool = Field(default=False, description="On the same host only")
    max_body_bytes: Annotated[int, Field(ge=1, le=10_000_000)] = 1_000_000

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if (self.service is None) == (self.url is None):
            raise refuse(
                "a check asks either a service or a url",
                "Write `service: NAME` with `port:`, or `url: https://...`",
            )
        given = self.model_fields_set & {"namespace", "port", "scheme", "path"}
        if self.url is not None and given:
            raise refuse(f"`{min(given)}` does not go with `url`", "Write it as a part of the url")
        if self.service is not None and self.port is None:
            raise refuse("`port` is missing", "Write the service's port, such as `port: http`")
        return self

    def to_domain(self) -> HttpCheck:
        """Make the frozen value."""
        return HttpCheck(
            name=self.name or self.url or f"{self.service}{self.path}",
            service=self.service or "",
            namespace=self.namespace or "",
            port=self.port or "",
            scheme=self.scheme,
            url=self.url or "",
            path=self.path,
            method=self.method,
            headers=self.headers,
            status=self.status,
            json_path=self.json_path,
            body_contains=self.body_contains,
            within=self.within,
            timeout=self.timeout,
            successes=self.successes,
            max_latency=self.max_latency,
            follow_redirects=self.follow_redirects,
            max_body_bytes=self.max_body_bytes,
        )


class CheckSection(Section):
    """One entry of ``verify:``."""

    NOT_YET: ClassVar[dict[str, str]] = {
        "prometheus": "Check over HTTP meanwhile",
        "job": "Run the test as a PostSync hook meanwhile",
    }

    http: HttpSection | None = Field(
        default=None, description="An HTTP request and what its answer must be"
    )

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if len(self._given) != 1:
            raise refuse(
                "an entry of verify is one check",
                "Write one kind, such as `http:`, and what it asks, and each check as its own "
                "entry; `gitopsd schema Application` lists the kinds",
            )
        return self

    @property
    def _given(self) -> list[CheckKindSection]:
        fields = (getattr(self, name) for name in type(self).model_fields)
        return [one for one in fields if one is not None]

    def to_domain(self) -> Check:
        """Make the frozen value."""
        return self._given[0].to_domain()
