"""Sends a request for a resource to who answers it, after the checks that all have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from gitopsd.sandbox.api.calls import Answer
from gitopsd.sandbox.api.reviews import KINDS as REVIEWS
from gitopsd.sandbox.api.served import NEVER_KINDS, NEVER_SERVED
from gitopsd.sandbox.objects.status_errors import (
    method_not_allowed,
    not_implemented,
    path_not_found,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.api.calls import Call
    from gitopsd.sandbox.api.deleting import Deleter
    from gitopsd.sandbox.api.parts import Parts
    from gitopsd.sandbox.api.paths import Asked
    from gitopsd.sandbox.api.reading import Reader
    from gitopsd.sandbox.api.reviews import Reviewer
    from gitopsd.sandbox.api.served import ServedResources
    from gitopsd.sandbox.api.watching import Watcher
    from gitopsd.sandbox.api.writing import Writer
    from gitopsd.sandbox.objects.resources import Resource

Events: TypeAlias = "AsyncGenerator[JsonObject, None]"
# Parts of pods that need a terminal, a second connection, or a node that can change what runs.
NEVER_DONE = frozenset(
    {
        ("pods", "attach"),
        ("pods", "portforward"),
        ("pods", "ephemeralcontainers"),
        ("pods", "resize"),
        ("nodes", "proxy"),
    }
)

_OF_OBJECTS = frozenset({"patch", "update"})


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Everybody who answers.

    Attributes:
        served: The resources.
        reader: GET.
        watcher: WATCH.
        writer: POST, PUT and PATCH.
        deleter: DELETE.
        parts: Subresources.
        reviewer: Questions about rights.
    """

    served: ServedResources
    reader: Reader
    watcher: Watcher
    writer: Writer
    deleter: Deleter
    parts: Parts
    reviewer: Reviewer

    def find(self, asked: Asked) -> Resource:
        """The resource of a request, once it is clear that it can be asked for this.

        Raises:
            StatusError: There is no such resource, or this cannot be done with it.
        """
        resource = self.served.find(asked.group, asked.version, asked.resource)
        if resource is None:
            if asked.group in NEVER_SERVED:
                raise not_implemented(f"the API group {asked.group}")
            if (asked.group, asked.version, asked.resource) in NEVER_KINDS:
                raise not_implemented(say_kind(asked.group, asked.version, asked.resource))
            raise path_not_found()
        if not resource.namespaced and asked.namespace and resource.plural != "namespaces":
            raise path_not_found()
        if asked.subresource:
            _check_part(resource, asked)
        elif asked.verb not in resource.verbs or (asked.verb in _OF_OBJECTS and not asked.name):
            raise method_not_allowed(resource)
        if resource.namespaced and not asked.namespace and _needs_namespace(asked):
            raise path_not_found() if asked.name else method_not_allowed(resource)
        return resource

    def answer(self, call: Call) -> Answer | Events:
        """Answer a request, or open its stream.

        Raises:
            StatusError: It is refused.
        """
        if call.asked.subresource:
            return self.parts.answer(call)
        if call.resource.kind in REVIEWS:
            return self.reviewer.review(call, self.writer.read_body(call))
        if call.asked.verb == "watch":
            return self.watcher.open(call)
        answers: dict[str, Callable[[Call], Answer]] = {
            "get": self.reader.get,
            "list": self.reader.list,
            "create": self.writer.create,
            "update": self.writer.update,
            "patch": self.writer.patch,
            "delete": self.deleter.delete,
            "deletecollection": self.deleter.delete_collection,
        }
        return answers[call.asked.verb](call)


def say_kind(group: str, version: str, resource: str) -> str:
    """A kind as the list of what is never done names it: ``v1/bindings``."""
    return "/".join(word for word in (group, version, resource) if word)


def _check_part(resource: Resource, asked: Asked) -> None:
    part = next((item for item in resource.subresources if item.name == asked.subresource), None)
    if part is None:
        raise path_not_found()
    if (resource.plural, part.name) in NEVER_DONE and not resource.group:
        raise not_implemented(f"{resource.plural}/{part.name}")
    if asked.verb not in part.verbs:
        raise method_not_allowed(resource)


def _needs_namespace(asked: Asked) -> bool:
    return bool(asked.name) or asked.verb in {"create", "deletecollection"}
