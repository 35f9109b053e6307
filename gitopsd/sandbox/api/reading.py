"""GET: one object, or a list with selectors and pages."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import orjson

from gitopsd.sandbox.api.calls import Answer
from gitopsd.sandbox.api.forms import list_meta, make_presenter
from gitopsd.sandbox.api.keys import HistoryLost
from gitopsd.sandbox.api.list_options import parse_list_options
from gitopsd.sandbox.api.selectors import (
    SelectorError,
    parse_field_selector,
    parse_label_selector,
)
from gitopsd.sandbox.api.served import kind_of
from gitopsd.sandbox.fields import objects_at, text_at
from gitopsd.sandbox.objects.status_errors import StatusError, bad_request, expired, not_found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.calls import Call
    from gitopsd.sandbox.api.list_options import ListOptions
    from gitopsd.sandbox.api.selectors import Select
    from gitopsd.sandbox.api.served import ServedResources
    from gitopsd.sandbox.api.storage import ObjectStore

OK = 200
GATEWAY_TIMEOUT = 504
LIST_EXPIRED = "The resourceVersion for the provided list is too old."
PAGE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You can start a new list without the continue parameter."
)


class Reader:
    """Answers GET requests."""

    def __init__(self, store: ObjectStore, served: ServedResources) -> None:
        self._store = store
        self._served = served

    def get(self, call: Call) -> Answer:
        """One object.

        Raises:
            StatusError: There is none.
        """
        obj = self.find(call)
        presenter = make_presenter(self._served, call.resource, call.form, call.query)
        return Answer(OK, presenter.show(obj, call.now))

    def find(self, call: Call) -> JsonObject:
        """The object that a request names.

        Raises:
            StatusError: There is none.
        """
        obj = self._store.get(call.key)
        if obj is None:
            raise not_found(call.resource, call.asked.name)
        return obj

    def list(self, call: Call) -> Answer:
        """A list, or a page of it.

        Raises:
            StatusError: A selector or a token cannot be read, or the version is not kept any more.
        """
        options = parse_list_options(call.query, watch=False)
        select = parse_selectors(call, self._served)
        namespace, limit, token = call.asked.namespace, options.limit, options.token
        version, start = self._start(options)
        try:
            found = self._store.list_at(kind_of(call.resource), version)
        except HistoryLost as error:
            raise expired(PAGE_EXPIRED if token else LIST_EXPIRED) from error
        chosen = [
            (place, obj)
            for place, obj in found
            if (not namespace or place[0] == namespace)
            and (start is None or place > start)
            and select(obj)
        ]
        page = chosen[:limit] if limit else chosen
        more = len(chosen) - len(page)
        narrowed = call.query.get("labelSelector") or call.query.get("fieldSelector")
        token = _make_token(version, page[-1][0]) if more else ""
        meta = list_meta(version, token, None if narrowed else more)
        presenter = make_presenter(self._served, call.resource, call.form, call.query)
        return Answer(OK, presenter.show_list([obj for _, obj in page], meta, call.now))

    def _start(self, options: ListOptions) -> tuple[int, tuple[str, str] | None]:
        if options.token:
            return _parse_token(options.token)
        now = self._store.version
        if options.version > now:
            raise too_new(options.version, now)
        return (options.version if options.exact and options.version else now), None


def parse_selectors(call: Call, served: ServedResources) -> Select:
    """What a list or a watch is narrowed to.

    Raises:
        StatusError: A selector cannot be read.
    """
    custom = served.schemas.custom_kind(call.resource.api_version, call.resource.kind)
    versions: Sequence[JsonObject] = (
        objects_at(custom.definition, "spec", "versions") if custom else ()
    )
    extra = tuple(
        text_at(field, "jsonPath").removeprefix(".")
        for version in versions
        if text_at(version, "name") == call.resource.version
        for field in objects_at(version, "selectableFields")
    )
    try:
        labels = parse_label_selector(call.query.get("labelSelector", ""))
        fields = parse_field_selector(
            call.query.get("fieldSelector", ""), kind_of(call.resource), extra
        )
    except SelectorError as error:
        raise bad_request(error.message) from error
    return lambda obj: labels(obj) and fields(obj)


def too_new(asked: int, now: int) -> StatusError:
    """A version was asked for that this cluster has not reached."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    details: JsonObject = {"causes": [cause], "retryAfterSeconds": 1}
    message = f"Timeout: Too large resource version: {asked}, current: {now}"
    return StatusError(GATEWAY_TIMEOUT, "Timeout", message, details)


def _make_token(version: int, last: tuple[str, str]) -> str:
    content: Json = {"v": "meta.k8s.io/v1", "rv": version, "start": list(last)}
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode().rstrip("=")


def _parse_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        content = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = content["start"]
        return int(content["rv"]), (str(namespace), str(name))
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise bad_request("invalid continue token: continue key is not valid") from error
