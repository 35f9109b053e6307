"""In which form an answer is wanted: whole objects, their metadata alone, or a table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from gitopsd.sandbox.api.printing.cells import Printer
from gitopsd.sandbox.api.printing.custom import custom_printer
from gitopsd.sandbox.api.printing.tables import PRINTERS, make_partial, make_table
from gitopsd.sandbox.api.served import kind_of
from gitopsd.sandbox.fields import object_at, objects_at, text_at
from gitopsd.sandbox.objects.status_errors import StatusError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.served import ServedResources
    from gitopsd.sandbox.objects.resources import Resource

_JSON_TYPES = frozenset({"application/json", "application/yaml", "application/*", "*/*", ""})
_PARTIAL = frozenset({"PartialObjectMetadata", "PartialObjectMetadataList"})
NOT_ACCEPTABLE = 406


class Form(Enum):
    """What an answer consists of."""

    OBJECT = "Object"
    PARTIAL = "PartialObjectMetadata"
    TABLE = "Table"


def parse_accept(header: str) -> Form:
    """The first form of an ``Accept`` header that can be answered.

    Raises:
        StatusError: There is none.
    """
    for part in header.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        said = dict(piece.partition("=")[::2] for piece in parameters)
        wanted, version = said.get("as", ""), said.get("v", "v1")
        if media not in _JSON_TYPES:
            continue
        if not wanted:
            return Form.OBJECT
        if version == "v1" and wanted in _PARTIAL:
            return Form.PARTIAL
        if version == "v1" and wanted == "Table":
            return Form.TABLE
    said_types = "application/json, application/yaml"
    message = f"406: Not Acceptable\n\nAvailable representations: {said_types}"
    raise StatusError(NOT_ACCEPTABLE, "NotAcceptable", message, {})


@dataclass(frozen=True, slots=True)
class Presenter:
    """Shows objects of one resource in one form.

    Attributes:
        resource: The resource.
        form: The form.
        printer: Its rows.
        include: What table rows carry of their object.
    """

    resource: Resource
    form: Form
    printer: Printer
    include: str = "Metadata"

    def show(self, obj: JsonObject, now: datetime, *, headers: bool = True) -> JsonObject:
        """One object."""
        whole = self.whole(obj)
        if self.form is Form.OBJECT:
            return whole
        if self.form is Form.PARTIAL:
            return make_partial(whole)
        meta: dict[str, Json] = {"resourceVersion": text_at(obj, "metadata", "resourceVersion")}
        return make_table(
            kind_of(self.resource),
            self.printer,
            [whole],
            meta,
            now=now,
            include=self.include,
            headers=headers,
        )

    def show_list(
        self, items: Sequence[JsonObject], meta: Mapping[str, Json], now: datetime
    ) -> JsonObject:
        """A list of objects."""
        if self.form is Form.TABLE:
            whole = [self.whole(item) for item in items]
            kind = kind_of(self.resource)
            return make_table(kind, self.printer, whole, meta, now=now, include=self.include)
        if self.form is Form.PARTIAL:
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": meta,
                "items": [make_partial(item) for item in items],
            }
        shown: list[Json] = (
            [self.whole(item) for item in items]
            if self.resource.custom
            else [_without_kind(item) for item in items]
        )
        return {
            "kind": f"{self.resource.kind}List",
            "apiVersion": self.resource.api_version,
            "metadata": meta,
            "items": shown,
        }

    def whole(self, obj: JsonObject) -> JsonObject:
        """An object in the version that was asked for."""
        if obj.get("apiVersion") == self.resource.api_version and "kind" in obj:
            return obj
        return {"kind": self.resource.kind, **obj, "apiVersion": self.resource.api_version}


def make_presenter(
    served: ServedResources, resource: Resource, form: Form, query: Mapping[str, str]
) -> Presenter:
    """The presenter for a request."""
    printer = PRINTERS.get(kind_of(resource))
    if printer is None:
        custom = served.schemas.custom_kind(resource.api_version, resource.kind)
        versions = objects_at(custom.definition if custom else None, "spec", "versions")
        named = (item for item in versions if text_at(item, "name") == resource.version)
        printer = custom_printer(next(named, {}))
    return Presenter(resource, form, printer, query.get("includeObject") or "Metadata")


def list_meta(version: int, token: str = "", remaining: int | None = None) -> dict[str, Json]:
    """The metadata of a list."""
    meta: dict[str, Json] = {"resourceVersion": str(version)}
    if token:
        meta["continue"] = token
    if token and remaining is not None:
        meta["remainingItemCount"] = remaining
    return meta


def bookmark(presenter: Presenter, version: int, now: datetime, *, initial_end: bool) -> JsonObject:
    """The object of a BOOKMARK event: nothing but the version, and whether the list is through."""
    meta: dict[str, Json] = {"resourceVersion": str(version)}
    if initial_end:
        meta["annotations"] = {"k8s.io/initial-events-end": "true"}
    bare: JsonObject = {
        "kind": presenter.resource.kind,
        "apiVersion": presenter.resource.api_version,
        "metadata": meta,
    }
    return presenter.show(bare, now, headers=False)


def _without_kind(obj: JsonObject) -> JsonObject:
    shown = {name: value for name, value in obj.items() if name not in {"kind", "apiVersion"}}
    return {"metadata": object_at(obj, "metadata"), **shown}
