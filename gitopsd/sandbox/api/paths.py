"""What a request asks for, read from its method, path and query as an API server does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

_VERBS = {
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
    "GET": "get",
    "HEAD": "get",
}
# These parts of a Namespace look like collections inside it.
_NAMESPACE_PARTS = frozenset({"status", "finalize"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for an API object or a collection; or, with no resource, for something else.

    Attributes:
        verb: As in RBAC rules: ``get list watch create update patch delete deletecollection``;
            for a path that is no resource, the HTTP method in lower case.
        path: The path.
        group: API group, empty for core.
        version: API version.
        namespace: Namespace; empty for cluster scope and for all namespaces.
        resource: Plural name; empty when the path is none of a resource.
        name: Name of the object; empty for a collection.
        subresource: Part of the object.
        rest: What follows the subresource: a path for a proxy.
    """

    verb: str
    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""


def parse_request(method: str, raw_path: str, query: Mapping[str, str]) -> Asked:
    """Read a request.

    Args:
        method: HTTP method.
        raw_path: Path as it was sent, percent-encoded, without its query.
        query: The query.
    """
    parts = raw_path.strip("/").split("/")
    names = [unquote(part) for part in parts]
    plain = Asked(method.lower(), raw_path)
    if len(names) > 2 and names[0] == "api":  # noqa: PLR2004 - /api, a version, a resource
        group, version, depth = "", names[1], 2
    elif len(names) > 3 and names[0] == "apis":  # noqa: PLR2004 - /apis, group, version, resource
        group, version, depth = names[1], names[2], 3
    else:
        return plain
    namespace, rest = "", names[depth:]
    deep = len(rest) > 2  # noqa: PLR2004 - namespaces, its name, and a collection in it
    if rest[0] == "namespaces" and deep and rest[2] not in _NAMESPACE_PARTS:
        namespace, rest, depth = rest[1], rest[2:], depth + 2
    elif rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
    resource, name, part, *_ = (*rest, "", "", "")
    return Asked(
        verb=_verb(method, name, query),
        path=raw_path,
        group=group,
        version=version,
        namespace=namespace,
        resource=resource,
        name=name,
        subresource=part,
        rest="/".join(parts[depth + 3 :]),
    )


def is_set(value: str | None) -> bool:
    """Whether a query parameter says yes."""
    return value is not None and value.lower() in {"1", "t", "true", ""}


def _verb(method: str, name: str, query: Mapping[str, str]) -> str:
    if method in {"GET", "HEAD"} and not name:
        return "watch" if is_set(query.get("watch")) else "list"
    if method == "DELETE" and not name:
        return "deletecollection"
    return _VERBS.get(method, method.lower())
