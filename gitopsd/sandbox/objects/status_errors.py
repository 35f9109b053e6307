"""Refusals as the API server words them: ``Status`` objects of meta/v1, with their HTTP code.

Source of the wording: k8s.io/apimachinery ``pkg/api/errors`` and what a real server answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.errors import PermanentError
from gitopsd.sandbox.objects.resources import Resource


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong.

    Attributes:
        reason: Kubernetes' word for it, e.g. ``FieldValueInvalid``.
        message: What a person reads.
        field: Where: ``spec.replicas``.
    """

    reason: str
    message: str
    field: str

    def __str__(self) -> str:
        """As it stands in a refusal's message."""
        return f"{self.field}: {self.message}" if self.field else self.message

    def as_json(self) -> JsonObject:
        """As it stands in a refusal's details."""
        fields = {"reason": self.reason, "message": self.message, "field": self.field}
        return {key: value for key, value in fields.items() if value}


class StatusError(PermanentError):
    """A request is refused.

    Args:
        code: The HTTP status.
        reason: Kubernetes' word for it; empty when it has none.
        message: What a person reads.
        details: What it is about.
    """

    def __init__(
        self, code: int, reason: str, message: str, details: JsonObject | None = None
    ) -> None:
        super().__init__(message, reason=reason)
        self.code = code
        self.details = details

    @property
    def body(self) -> JsonObject:
        """The answer's body."""
        found: dict[str, Json] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            found["reason"] = self.reason
        if self.details is not None:
            found["details"] = self.details
        return {**found, "code": self.code}


def success(message: str = "", details: JsonObject | None = None) -> JsonObject:
    """The body of an answer that has no object to show."""
    body: dict[str, Json] = {"kind": "Status", "apiVersion": "v1", "metadata": {}}
    body["status"] = "Success"
    if message:
        body["message"] = message
    if details is not None:
        body["details"] = details
    return body


def _details(resource: Resource, name: str) -> dict[str, Json]:
    fields = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in fields.items() if value}


def not_found(resource: Resource, name: str) -> StatusError:
    """There is no such object."""
    return StatusError(
        HTTPStatus.NOT_FOUND,
        "NotFound",
        f'{resource.qualified} "{name}" not found',
        _details(resource, name),
    )


def path_not_found() -> StatusError:
    """There is no such path, or no such kind."""
    message = "the server could not find the requested resource"
    return StatusError(HTTPStatus.NOT_FOUND, "NotFound", message, {})


def already_exists(resource: Resource, name: str, *, deleted: bool = False) -> StatusError:
    """An object of this name is there already, or not gone yet though it is deleted."""
    prefix = "object is being deleted: " if deleted else ""
    return StatusError(
        HTTPStatus.CONFLICT,
        "AlreadyExists",
        f'{prefix}{resource.qualified} "{name}" already exists',
        _details(resource, name),
    )


STALE = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def conflict(resource: Resource, name: str, why: str = STALE) -> StatusError:
    """The object is not what the request takes it for."""
    return StatusError(
        HTTPStatus.CONFLICT,
        "Conflict",
        f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}',
        _details(resource, name),
    )


def apply_conflict(message: str, causes: Iterable[Cause]) -> StatusError:
    """Other managers own fields that an apply would change."""
    listed = [cause.as_json() for cause in causes]
    return StatusError(HTTPStatus.CONFLICT, "Conflict", message, {"causes": listed})


def _aggregate(messages: Sequence[str]) -> str:
    """Several messages in one, each once."""
    unique = list(dict.fromkeys(messages))
    return unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]"


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """The object breaks rules of its kind."""
    qualified = f"{kind}.{group}" if group else kind
    message = f'{qualified} "{name}" is invalid'
    if causes:
        message = f"{message}: {_aggregate([str(cause) for cause in causes])}"
    fields: dict[str, Json] = {"name": name, "group": group, "kind": kind}
    details = {key: value for key, value in fields.items() if value}
    if causes:
        details["causes"] = [cause.as_json() for cause in causes]
    return StatusError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", message, details)


def bad_request(message: str) -> StatusError:
    """The request itself makes no sense."""
    return StatusError(HTTPStatus.BAD_REQUEST, "BadRequest", message)


def forbidden(resource: Resource, name: str, why: str) -> StatusError:
    """Who asks may not, or the object must not be."""
    what = f'{resource.qualified} "{name}"' if name else resource.qualified
    return StatusError(
        HTTPStatus.FORBIDDEN,
        "Forbidden",
        f"{what} is forbidden: {why}",
        _details(resource, name),
    )


def unauthorized() -> StatusError:
    """Nobody is known to be asking."""
    return StatusError(HTTPStatus.UNAUTHORIZED, "Unauthorized", "Unauthorized")


def expired(message: str) -> StatusError:
    """What a watch or a list wants to go on from is not kept any more."""
    return StatusError(HTTPStatus.GONE, "Expired", message)


def gone(message: str) -> StatusError:
    """It was there and will not be again."""
    return StatusError(HTTPStatus.GONE, "Gone", message)


def method_not_allowed(resource: Resource) -> StatusError:
    """Nobody can do this to such a resource."""
    return StatusError(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
        _details(resource, ""),
    )


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    """The body is in a format that is not read here."""
    listed = ", ".join(accepted)
    message = (
        f"the body of the request was in an unknown format - accepted media types include: {listed}"
    )
    return StatusError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    """The answer is wanted in a format that is not written here."""
    listed = ", ".join(accepted)
    message = f"only the following media types are accepted: {listed}"
    return StatusError(HTTPStatus.NOT_ACCEPTABLE, "NotAcceptable", message)


def not_implemented(what: str) -> StatusError:
    """A real server does this; the sandbox never will."""
    message = f"the sandbox does not do this: {what}"
    return StatusError(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", message)


def internal(message: str) -> StatusError:
    """What a real server answers with code 500 and without a reason: it could not read a patch."""
    return StatusError(HTTPStatus.INTERNAL_SERVER_ERROR, "", message)


def too_many_requests(message: str, retry_after_seconds: int) -> StatusError:
    """Ask again later."""
    details: JsonObject = {"retryAfterSeconds": retry_after_seconds}
    return StatusError(HTTPStatus.TOO_MANY_REQUESTS, "TooManyRequests", message, details)
