"""The query of a list or a watch, read and checked as a real API server does.

Source: k8s.io/apimachinery ``pkg/apis/meta/internalversion``, its defaults and its validation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.sandbox.objects.status_errors import Cause, bad_request, internal, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WHOLE = re.compile(r"-?[0-9]+")
_EXACT, _NOT_OLDER = "Exact", "NotOlderThan"
_MATCH = "resourceVersionMatch"
_NO = frozenset({"0", "false"})


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What a list or a watch is asked for.

    Attributes:
        version: The version that is asked for; 0: none, or any.
        exact: Whether a list shall be as it was at that version.
        limit: How many objects a page has; 0: all.
        token: Where the page before ended.
        initial: Whether a watch begins with what there is, and says where that ends.
        bookmarks: Whether a watch says how far it has come.
        seconds: How long a watch lasts; 0: as the server likes.
    """

    version: int
    exact: bool
    limit: int
    token: str
    initial: bool
    bookmarks: bool
    seconds: int


def parse_list_options(query: Mapping[str, str], *, watch: bool) -> ListOptions:
    """Read a query.

    Raises:
        StatusError: It cannot be read, or contradicts itself.
    """
    limit, seconds = _whole(query, "limit"), _whole(query, "timeoutSeconds")
    match, version = query.get(_MATCH, ""), query.get("resourceVersion", "")
    initial = query.get("sendInitialEvents")
    if watch and initial is None and not match and version in {"", "0"}:
        # So a watch of before there were initial events is understood.
        initial, match = "true", _NOT_OLDER
    token = query.get("continue", "")
    check = _watch_causes if watch else _list_causes
    causes = list(check(match, version, token, asks_initial=initial is not None))
    if causes:
        raise invalid("meta.k8s.io", "ListOptions", "", causes)
    if token and not watch and version not in {"", "0"}:
        raise bad_request("specifying resource version is not allowed when using continue")
    return ListOptions(
        version=_version(version, watch=watch),
        # A page at a version is of that version; a list without pages need only be no older.
        exact=match == _EXACT or (not match and limit > 0),
        limit=max(limit, 0),
        token=token,
        initial=initial is not None and initial.lower() not in _NO,
        bookmarks=query.get("allowWatchBookmarks", "false").lower() not in _NO,
        seconds=max(seconds, 0),
    )


def _list_causes(match: str, version: str, token: str, *, asks_initial: bool) -> Iterator[Cause]:
    if match:
        if not version:
            yield _forbidden(f"{_MATCH} is forbidden unless resourceVersion is provided")
        if token:
            yield _forbidden(f"{_MATCH} is forbidden when continue is provided")
        if match not in {_EXACT, _NOT_OLDER}:
            yield _unsupported(match, f'"{_EXACT}", "{_NOT_OLDER}", ""')
        if match == _EXACT and version == "0":
            yield _forbidden(f'{_MATCH} "exact" is forbidden for resourceVersion "0"')
    if asks_initial:
        yield _forbidden("sendInitialEvents is forbidden for list", "sendInitialEvents")


def _watch_causes(match: str, _version: str, token: str, *, asks_initial: bool) -> Iterator[Cause]:
    if asks_initial and match != _NOT_OLDER:
        yield _forbidden(f"sendInitialEvents requires setting {_MATCH} to {_NOT_OLDER}")
    if match:
        if not asks_initial:
            said = f"{_MATCH} is forbidden for watch unless sendInitialEvents is provided"
            yield _forbidden(said)
        if match != _NOT_OLDER:
            yield _unsupported(match, f'"{_NOT_OLDER}"')
        if token:
            yield _forbidden(f"{_MATCH} is forbidden when continue is provided")


def _forbidden(said: str, field: str = _MATCH) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {said}", field)


def _unsupported(match: str, supported: str) -> Cause:
    said = f'Unsupported value: "{match}": supported values: {supported}'
    return Cause("FieldValueNotSupported", said, _MATCH)


def _whole(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "") or "0"
    if not _WHOLE.fullmatch(text):
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def _version(text: str, *, watch: bool) -> int:
    if not text or re.fullmatch("[0-9]+", text):
        return int(text or "0")
    parsing = f'strconv.ParseUint: parsing "{text}": invalid syntax'
    said = f'resourceVersion: Invalid value: "{text}": {parsing}'
    # A real server takes the one for a mistake of the client, the other for its own.
    raise internal(said) if watch else bad_request(f"invalid resource version: {said}")
