"""One request as the API understands it, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from gitopsd.sandbox.api.deletion import DeleteOptions
from gitopsd.sandbox.api.keys import Key
from gitopsd.sandbox.api.paths import is_set
from gitopsd.sandbox.api.served import kind_of
from gitopsd.sandbox.fields import field_at, number_at, text_at
from gitopsd.sandbox.objects.status_errors import StatusError, bad_request

if TYPE_CHECKING:
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.forms import Form
    from gitopsd.sandbox.api.identity import User
    from gitopsd.sandbox.api.paths import Asked
    from gitopsd.sandbox.objects.resources import Resource

JSON_TYPE = "application/json"
MANAGER_FROM_AGENT_LENGTH = 128


@dataclass(frozen=True, slots=True)
class Call:
    """A request for a resource.

    Attributes:
        asked: What for.
        resource: The resource that the path names.
        query: The query.
        body: The body's bytes.
        content_type: The body's media type, without parameters.
        form: How the answer is wanted.
        user: Who asks, impersonation applied.
        user_agent: The client.
        now: When.
    """

    asked: Asked
    resource: Resource
    query: Mapping[str, str]
    body: bytes
    content_type: str
    form: Form
    user: User
    user_agent: str
    now: datetime

    @property
    def key(self) -> Key:
        """Where the object is stored."""
        namespace = self.asked.namespace if self.resource.namespaced else ""
        return Key(*kind_of(self.resource), namespace, self.asked.name)

    @property
    def dry_run(self) -> bool:
        """Whether nothing shall be written.

        Raises:
            StatusError: The parameter has another value than ``All``.
        """
        value = self.query.get("dryRun", "")
        if value in {"", "All"}:
            return value == "All"
        raise bad_request(f'dryRun: Unsupported value: "{value}": supported values: "All"')

    @property
    def field_manager(self) -> str:
        """Who writes: as the request says, or the first part of the client's name."""
        said = self.query.get("fieldManager", "")
        return said or default_manager(self.user_agent)

    @property
    def field_validation(self) -> str:
        """What to do about unknown fields: ``Ignore``, ``Warn`` (unless said) or ``Strict``."""
        return self.query.get("fieldValidation") or "Warn"

    @property
    def force(self) -> bool:
        """Whether an apply takes fields from others."""
        return "force" in self.query and is_set(self.query.get("force"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets.

    Attributes:
        status: HTTP status.
        document: JSON; None: no body.
        warnings: Sentences for the person at the client.
        headers: More headers.
    """

    status: int
    document: Json = None
    warnings: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def default_manager(user_agent: str) -> str:
    """The manager of a client that names none: its name without the version."""
    return user_agent.partition("/")[0][:MANAGER_FROM_AGENT_LENGTH] or "unknown"


def refusal_answer(error: StatusError) -> Answer:
    """A refusal as an answer."""
    headers: dict[str, str] = {}
    after = field_at(error.details, "retryAfterSeconds")
    if after is not None:
        headers["Retry-After"] = str(int(number_at(error.details, "retryAfterSeconds")))
    return Answer(error.code, error.body, headers=headers)


def parse_delete_options(call: Call) -> DeleteOptions:
    """What a DELETE asks for, in its body or its query.

    Raises:
        StatusError: It cannot be read.
    """
    body: Json = {}
    if call.body:
        try:
            body = orjson.loads(call.body)
        except orjson.JSONDecodeError as error:
            raise bad_request(f"the body of a DELETE is no DeleteOptions: {error}") from error
    grace = field_at(body, "gracePeriodSeconds")
    if grace is None:
        grace = _whole(call.query.get("gracePeriodSeconds"))
    return DeleteOptions(
        uid=text_at(body, "preconditions", "uid"),
        version=text_at(body, "preconditions", "resourceVersion"),
        grace_seconds=grace if isinstance(grace, int) else None,
        propagation=_propagation(call, body),
    )


def dry_run_of_delete(call: Call) -> bool:
    """Whether a DELETE shall delete nothing: its body may say so too."""
    if call.dry_run:
        return True
    return bool(call.body) and "All" in (field_at(orjson.loads(call.body), "dryRun") or ())  # type: ignore[operator] # a list or nothing, as DeleteOptions has it


def _propagation(call: Call, body: Json) -> str:
    said = text_at(body, "propagationPolicy") or call.query.get("propagationPolicy", "")
    orphan = field_at(body, "orphanDependents")
    if not said and isinstance(orphan, bool):
        said = "Orphan" if orphan else "Background"
    if said in {"", "Orphan", "Background", "Foreground"}:
        # Jobs keep their pods unless told otherwise: so it was in the first version.
        default = "Orphan" if (call.resource.group, call.resource.plural) == JOBS else ""
        return said or default
    supported = '"Background", "Foreground", "Orphan"'
    raise bad_request(
        f'propagationPolicy: Unsupported value: "{said}": supported values: {supported}'
    )


JOBS = ("batch", "jobs")


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def as_object(document: Json) -> JsonObject:
    """A JSON object; empty for anything else."""
    return document if isinstance(document, Mapping) else {}
