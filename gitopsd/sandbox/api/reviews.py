"""Questions about rights and identities: kinds that are answered at once and stored nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.calls import Answer, as_object
from gitopsd.sandbox.api.identity import User
from gitopsd.sandbox.api.rights import Act, say_rules
from gitopsd.sandbox.fields import object_at, text_at, texts_at

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.calls import Call
    from gitopsd.sandbox.api.identity import Tokens
    from gitopsd.sandbox.api.rights import Rights

CREATED = 201
TOKEN_REVIEW = "TokenReview"  # noqa: S105 - a kind
KINDS = frozenset(
    {
        TOKEN_REVIEW,
        "SelfSubjectReview",
        "SelfSubjectAccessReview",
        "SelfSubjectRulesReview",
        "SubjectAccessReview",
        "LocalSubjectAccessReview",
    }
)


class Reviewer:
    """Answers reviews."""

    def __init__(self, rights: Rights, tokens: Tokens) -> None:
        self._rights = rights
        self._tokens = tokens

    def review(self, call: Call, body: JsonObject) -> Answer:
        """The review with its answer in ``status``."""
        status: JsonObject
        if call.resource.kind == TOKEN_REVIEW:
            status = self._token_status(call, body)
        elif call.resource.kind == "SelfSubjectReview":
            status = {"userInfo": describe_user(call.user)}
        elif call.resource.kind == "SelfSubjectRulesReview":
            status = self._rules_status(call, body)
        else:
            status = self._access_status(call, body)
        shown: dict[str, Json] = {
            "kind": call.resource.kind,
            "apiVersion": call.resource.api_version,
            "metadata": {**object_at(body, "metadata"), "creationTimestamp": None},
        }
        if "spec" in body:
            shown["spec"] = body["spec"]
        return Answer(CREATED, {**shown, "status": status})

    def _token_status(self, call: Call, body: JsonObject) -> JsonObject:
        user = self._tokens.find(text_at(body, "spec", "token"), call.now)
        if user is None:
            return {"user": {}, "error": "invalid bearer token"}
        return {"authenticated": True, "user": describe_user(user)}

    def _access_status(self, call: Call, body: JsonObject) -> JsonObject:
        spec = object_at(body, "spec")
        user = call.user
        if not call.resource.kind.startswith("Self"):
            user = User(text_at(spec, "user"), texts_at(spec, "groups"), text_at(spec, "uid"))
        allowed = self._rights.may(user, _act(spec))
        return {"allowed": True} if allowed else {"allowed": False}

    def _rules_status(self, call: Call, body: JsonObject) -> JsonObject:
        namespace = text_at(body, "spec", "namespace")
        resources, paths = say_rules(self._rights.rules_of(call.user, namespace))
        return {
            "resourceRules": list(resources),
            "nonResourceRules": list(paths),
            "incomplete": False,
        }


def describe_user(user: User) -> JsonObject:
    """A user as reviews show one."""
    shown: dict[str, Json] = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        shown["uid"] = user.uid
    if user.extra:
        shown["extra"] = {name: list(values) for name, values in user.extra.items()}
    return shown


def _act(spec: JsonObject) -> Act:
    path = object_at(spec, "nonResourceAttributes")
    if path:
        return Act(text_at(path, "verb"), path=text_at(path, "path"))
    wanted = as_object(object_at(spec, "resourceAttributes"))
    part = text_at(wanted, "subresource")
    resource = text_at(wanted, "resource")
    return Act(
        verb=text_at(wanted, "verb"),
        group=text_at(wanted, "group"),
        resource=f"{resource}/{part}" if part else resource,
        namespace=text_at(wanted, "namespace"),
        name=text_at(wanted, "name"),
    )
