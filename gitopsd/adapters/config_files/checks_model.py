"""``verify:`` of a stage: the checks that are made against the application itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

from gitopsd.adapters.config_files.check_kind_model import CheckKindSection
from gitopsd.adapters.config_files.checks_cluster_model import CommandSection, JobSection
from gitopsd.adapters.config_files.checks_metric_model import AnalysisSection
from gitopsd.adapters.config_files.checks_network_model import (
    DnsSection,
    GrpcSection,
    TcpSection,
    TlsSection,
)
from gitopsd.adapters.config_files.fields import HttpUrl, Name, PositiveDuration, Section, refuse
from gitopsd.adapters.json_path import parse_json_path
from gitopsd.domain.checks import Check, HttpCheck, HttpListCheck

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
Method = Literal["GET", "HEAD", "OPTIONS", "POST"]
Status = Annotated[int, Field(ge=100, le=599)]
_OF_ONE_REQUEST = frozenset(
    {"path", "method", "status", "json_path", "body_contains", "max_latency"}
)


class HttpRequestSection(Section):
    """One entry of ``requests:`` of an HTTP check."""

    path: RequestPath = Field(description="Path and query")
    method: Method = "GET"
    headers: dict[HeaderName, HeaderValue] = Field(default={}, description="Extra request headers")
    status: Status = 200
    json_path: dict[JsonPath, Scalar] = Field(
        default={}, description="Paths into the JSON body -> expected values"
    )
    body_contains: str = Field(default="", description="Text that the body must hold")
    max_latency: PositiveDuration | None = Field(
        default=None, description="Of one attempt, body included"
    )


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
    paths: list[RequestPath] = Field(
        default=[], max_length=20, description="Several paths, each with the same expectations"
    )
    requests: list[HttpRequestSection] = Field(
        default=[], max_length=20, description="Several requests, each with its own expectations"
    )
    method: Method = "GET"
    headers: dict[HeaderName, HeaderValue] = Field(default={}, description="Extra request headers")
    status: Status = 200
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

    @model_validator(mode="after")
    def _check_list(self) -> Self:
        given = self.model_fields_set
        if self.requests and (self.paths or given & _OF_ONE_REQUEST):
            spelled = to_camel(min(given & (_OF_ONE_REQUEST | {"paths"})))
            raise refuse(f"`{spelled}` does not go with `requests`", "Write it in each request")
        if self.paths and "path" in given:
            raise refuse("`path` does not go with `paths`", "Write it as one of `paths`")
        parts = urlsplit(self.url or "")
        if (self.paths or self.requests) and (parts.path.strip("/") or parts.query):
            raise refuse(
                "the url of several requests has a path of its own",
                "Write the url up to its host, such as `https://shop.example`",
            )
        return self

    def to_domain(self) -> HttpCheck | HttpListCheck:
        """Make the frozen value."""
        one = HttpCheck(
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
        several = (
            *(_ask(one, path) for path in self.paths),
            *(_ask(_expect(one, request), request.path) for request in self.requests),
        )
        if not several:
            return one
        listed = ", ".join(dict.fromkeys(request.name for request in several))
        return HttpListCheck(
            name=self.name or f"{self.service or self.url} {listed}",
            requests=several,
            within=self.within,
            timeout=self.timeout,
            successes=self.successes,
        )


def _ask(one: HttpCheck, path: str) -> HttpCheck:
    """Make a request for another path of the same server."""
    if one.url:
        return replace(one, name=path, url=one.url.rstrip("/") + path)
    return replace(one, name=path, path=path)


def _expect(one: HttpCheck, request: HttpRequestSection) -> HttpCheck:
    return replace(
        one,
        method=request.method,
        headers={**one.headers, **request.headers},
        status=request.status,
        json_path=request.json_path,
        body_contains=request.body_contains,
        max_latency=request.max_latency,
    )


class CheckSection(Section):
    """One entry of ``verify:``."""

    http: HttpSection | None = Field(
        default=None, description="An HTTP request and what its answer must be"
    )
    tcp: TcpSection | None = Field(default=None, description="A port that takes connections")
    tls: TlsSection | None = Field(default=None, description="A certificate, and how long it lasts")
    grpc: GrpcSection | None = Field(default=None, description="The gRPC health service")
    dns: DnsSection | None = Field(default=None, description="A name and its records")
    job: JobSection | None = Field(default=None, description="A Job that runs to its end")
    command: CommandSection | None = Field(default=None, description="A command in a pod")
    prometheus: AnalysisSection | None = Field(
        default=None, description="A figure of a metric server"
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
    def _given(self) -> list[CheckKindSection | AnalysisSection]:
        fields = (getattr(self, name) for name in type(self).model_fields)
        return [one for one in fields if one is not None]

    def to_domain(self) -> Check:
        """Make the frozen value."""
        return self._given[0].to_domain()


def make_checks(sections: Sequence[CheckSection]) -> tuple[Check, ...]:
    """Make the frozen values; a name that an earlier check has gets a number behind it.

    What is known of a check is kept under its name, so two of one name would hide each other.
    """
    made: list[Check] = []
    for section in sections:
        check, taken = section.to_domain(), {one.name for one in made}
        name = next(name for name in _spell_names(check.name) if name not in taken)
        made.append(replace(check, name=name))
    return tuple(made)


def _spell_names(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name} ({number})" for number in count(2))
