"""Answers for paths that are no resource: discovery, versions, schemas, health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api import discovery, openapi
from gitopsd.sandbox.api.calls import Answer
from gitopsd.sandbox.api.served import NEVER_SERVED
from gitopsd.sandbox.objects.status_errors import not_implemented

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.served import ServedResources

OK = 200
# A real server's own accounts of itself, keys for strangers, and an older form of schemas.
NEVER_PATHS = frozenset(
    {
        "/.well-known",
        "/debug",
        "/flagz",
        "/logs",
        "/metrics",
        "/openapi/v2",
        "/openid",
        "/statusz",
    }
)
_OTHERS = ("/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version")


class PageNotFound(Exception):  # noqa: N818 - an answer, not a breakdown
    """There is no such path; real servers say so in plain text."""


class PlainPaths:
    """Answers them.

    Args:
        served: The resources.
        address: Where the server listens, which the old form of discovery says.
    """

    def __init__(self, served: ServedResources, address: str) -> None:
        self._served = served
        self._address = address

    def answer(self, path: str, accept: str) -> Answer | str:
        """The answer, or a text.

        Raises:
            PageNotFound: There is no such path.
            StatusError: The sandbox will never have it.
        """
        parts = path.strip("/").split("/")
        match parts:
            case ["version"]:
                return Answer(OK, discovery.VERSION)
            case ["healthz" | "livez" | "readyz", *_]:
                return "ok"
            case ["apis", group, *_] if group in NEVER_SERVED:
                raise not_implemented(f"the API group {group}")
            case [first, *_] if f"/{first}" in NEVER_PATHS:
                raise not_implemented(f"/{first}")
            case ["openapi", "v2", *_]:
                raise not_implemented("/openapi/v2")
            case [""]:
                return Answer(OK, {"paths": self._paths()})
            case _:
                pass
        if len(parts) == 1 and _wants_aggregated(accept) and parts[0] in {"api", "apis"}:
            found = discovery.describe_everything(self._served, core=parts[0] == "api")
            return Answer(OK, found, headers={"Content-Type": discovery.AGGREGATED})
        return self._discover(parts)

    def _paths(self) -> list[Json]:
        versions = [
            f"/apis/{group}/{version}" if group else f"/api/{version}"
            for group, found in self._served.groups()
            for version in found
        ]
        groups = [f"/apis/{group}" for group, _ in self._served.groups() if group]
        return [*sorted([*_OTHERS, *groups, *versions])]

    def _discover(self, parts: list[str]) -> Answer:
        match parts:
            case ["api"]:
                return Answer(OK, discovery.describe_core_versions(self._address))
            case ["apis"]:
                return Answer(OK, discovery.describe_groups(self._served))
            case ["api", version]:
                return _found(discovery.describe_version(self._served, "", version))
            case ["apis", group]:
                return _found(discovery.describe_group(self._served, group))
            case ["apis", group, version]:
                return _found(discovery.describe_version(self._served, group, version))
            case ["openapi", "v3", *rest]:
                return self._describe(rest)
            case _:
                raise PageNotFound

    def _describe(self, parts: list[str]) -> Answer:
        match parts:
            case []:
                return Answer(OK, openapi.describe_versions(self._served))
            case ["api", version]:
                return _found(openapi.describe_version(self._served, "", version))
            case ["apis", group, version]:
                return _found(openapi.describe_version(self._served, group, version))
            case _:
                raise PageNotFound


def _found(document: JsonObject | None) -> Answer:
    if document is None:
        raise PageNotFound
    return Answer(OK, document)


def _wants_aggregated(accept: str) -> bool:
    """Whether the best form that is asked for and known here is the aggregated one."""
    for part in accept.split(","):
        pieces = {piece.strip() for piece in part.split(";")}
        if "as=APIGroupDiscoveryList" in pieces:
            if "v=v2" in pieces:
                return True
        elif "application/json" in pieces or "*/*" in pieces:
            return False
    return False
