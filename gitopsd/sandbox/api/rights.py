"""Who may do what: Roles, ClusterRoles and their bindings, read as a real API server reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.sandbox.api.identity import AUTHENTICATED, MASTERS, NODES, parse_account
from gitopsd.sandbox.api.keys import Key, Kind
from gitopsd.sandbox.fields import object_at, objects_at, text_at, texts_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.api.identity import User
    from gitopsd.sandbox.api.storage import ObjectStore

GROUP = "rbac.authorization.k8s.io"
ROLES = Kind(GROUP, "roles")
CLUSTER_ROLES = Kind(GROUP, "clusterroles")
ROLE_BINDINGS = Kind(GROUP, "rolebindings")
CLUSTER_ROLE_BINDINGS = Kind(GROUP, "clusterrolebindings")
# Everybody who is known may look around and ask about himself: what the built-in roles
# system:discovery, system:basic-user and system:public-info-viewer allow.
OPEN_PATHS = ("/api", "/apis", "/openapi", "/version", "/healthz", "/livez", "/readyz")
OPEN_REVIEWS = frozenset(
    {"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"}
)


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody wants to do.

    Attributes:
        verb: ``get list watch create update patch delete deletecollection impersonate`` or, for a
            path, the method in lower case.
        group: API group.
        resource: Plural name, with its subresource: ``pods/log``; empty for a path.
        namespace: Where; empty: cluster-wide.
        name: Of which object; empty: any.
        path: What is asked for that is no resource.
    """

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    def __str__(self) -> str:
        """What he cannot do, in the words of a refusal."""
        if not self.resource:
            return f'cannot {self.verb} path "{self.path}"'
        place = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        asked = f'resource "{self.resource}" in API group "{self.group}"'
        return f"cannot {self.verb} {asked} {place}"


class Rights:
    """Decides by the roles and bindings that are stored; there is nothing to cache."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def may(self, user: User, act: Act) -> bool:
        """Whether a user may do something."""
        if MASTERS in user.groups or NODES in user.groups or _is_open(user, act):
            return True
        return any(_allows(rule, act) for rule in self.rules_of(user, act.namespace))

    def rules_of(self, user: User, namespace: str) -> Iterator[JsonObject]:
        """Every rule that holds for a user in a namespace, the cluster-wide ones included."""
        for binding in self._store.list(CLUSTER_ROLE_BINDINGS).items:
            if _binds(binding, user, ""):
                yield from self._role_rules(binding, "")
        if not namespace:
            return
        for binding in self._store.list(ROLE_BINDINGS, namespace).items:
            if _binds(binding, user, namespace):
                yield from self._role_rules(binding, namespace)

    def _role_rules(self, binding: JsonObject, namespace: str) -> tuple[JsonObject, ...]:
        name = text_at(binding, "roleRef", "name")
        local = text_at(binding, "roleRef", "kind") == "Role"
        key = Key(*(ROLES if local else CLUSTER_ROLES), namespace if local else "", name)
        return objects_at(self._store.get(key), "rules")


def _is_open(user: User, act: Act) -> bool:
    if AUTHENTICATED not in user.groups:
        return False
    if act.resource:
        return act.verb == "create" and act.resource in OPEN_REVIEWS
    open_path = any(act.path == path or act.path.startswith(f"{path}/") for path in OPEN_PATHS)
    return act.verb in {"get", "head"} and open_path


def _binds(binding: JsonObject, user: User, namespace: str) -> bool:
    return any(_is_subject(item, user, namespace) for item in objects_at(binding, "subjects"))


def _is_subject(subject: JsonObject, user: User, namespace: str) -> bool:
    kind, name = text_at(subject, "kind"), text_at(subject, "name")
    if kind == "ServiceAccount":
        place = text_at(subject, "namespace", default=namespace)
        return parse_account(user.name) == (place, name)
    return name in user.groups if kind == "Group" else kind == "User" and name == user.name


def _allows(rule: JsonObject, act: Act) -> bool:
    if not _matches(texts_at(rule, "verbs"), act.verb):
        return False
    if not act.resource:
        return any(_matches_path(item, act.path) for item in texts_at(rule, "nonResourceURLs"))
    names = texts_at(rule, "resourceNames")
    return (
        _matches(texts_at(rule, "apiGroups"), act.group)
        and _matches_resource(texts_at(rule, "resources"), act.resource)
        and (not names or act.name in names)
    )


def _matches(listed: tuple[str, ...], wanted: str) -> bool:
    return "*" in listed or wanted in listed


def _matches_resource(listed: tuple[str, ...], wanted: str) -> bool:
    _, _, part = wanted.partition("/")
    return _matches(listed, wanted) or bool(part and f"*/{part}" in listed)


def _matches_path(pattern: str, path: str) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern[:-1])
    return pattern == path


def say_rules(rules: Iterator[JsonObject]) -> tuple[list[JsonObject], list[JsonObject]]:
    """Rules as a SelfSubjectRulesReview lists them: of resources, and of paths."""
    resources: list[JsonObject] = []
    paths: list[JsonObject] = []
    for rule in rules:
        chosen = paths if texts_at(rule, "nonResourceURLs") else resources
        chosen.append(object_at(rule))
    return resources, paths
