"""Bodies and their fields, read so that nothing a sender writes can raise but DeliveryError."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import parse_qs

import orjson

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.domain.sources import CommitSha, RefName
from gitopsd.errors import DeliveryError

_FORM = "application/x-www-form-urlencoded"
_MAX_FORM_FIELDS = 16
_MAX_KEY_CHARACTERS = 200
_MAX_REF_CHARACTERS = 1024
_MAX_TEXT_CHARACTERS = 200
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PRINTABLE_ASCII = re.compile(r"[\x21-\x7e]+")
_REF = re.compile(r"refs/[^/]+/.+")
# git-check-ref-format(1): no control characters, space, ~ ^ : ? * [ \, no "..", "@{", "//", no
# component that begins with a dot or ends with ".lock", no slash or dot at the end.
_REF_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|\Z)|[/.]\Z")


def parse_object(headers: Mapping[str, str], body: bytes) -> JsonObject:
    """Parse a JSON body, or the ``payload`` field of a form body.

    Args:
        headers: Lower-case header names -> values.
        body: Raw bytes whose signature holds.

    Raises:
        DeliveryError: The body is no JSON object (``NotJson``, ``NotAnObject``) or no form with one
            ``payload`` field (``NotAForm``).
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    text = _find_form_payload(body) if media_type == _FORM else body
    try:
        document = orjson.loads(text)
    except ValueError as error:
        raise DeliveryError(f"the body is not JSON: {error}", reason="NotJson") from error
    if not isinstance(document, dict):
        raise DeliveryError("the body is JSON but not an object", reason="NotAnObject")
    return document


def _find_form_payload(body: bytes) -> str:
    try:
        fields = parse_qs(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_FORM_FIELDS,
        )
    except ValueError as error:
        raise DeliveryError(f"the form cannot be read: {error}", reason="NotAForm") from error
    values = fields.get("payload", [])
    if len(values) != 1:
        raise DeliveryError(
            f"the form has {len(values)} fields named payload, expected one", reason="NotAForm"
        )
    return values[0]


def value_at(document: Json, *path: str) -> Json:
    """Find a value by keys; None when something on the way is missing or no object."""
    value = document
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def text_at(document: Json, *path: str) -> str:
    """Find a text by keys; empty when it is missing or something else."""
    value = value_at(document, *path)
    return value if isinstance(value, str) else ""


def select_words(text: str) -> str:
    """Keep what people and databases can take: printable characters, at most 200 of them."""
    return "".join(sign for sign in text if sign.isprintable())[:_MAX_TEXT_CHARACTERS]


def select_key(text: str) -> str:
    """Make a delivery key out of a header: itself when short and plain, else its digest."""
    if not text or (len(text) <= _MAX_KEY_CHARACTERS and _PRINTABLE_ASCII.fullmatch(text)):
        return text
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def parse_ref(text: str) -> RefName:
    """Check a full ref name against git-check-ref-format(1).

    Raises:
        DeliveryError: It is missing, short (``main``), too long or malformed (``BadRef``).
    """
    if len(text) > _MAX_REF_CHARACTERS or not _REF.fullmatch(text) or _REF_FORBIDDEN.search(text):
        raise DeliveryError(
            f"ref is {select_words(text)!r}, expected a full name such as refs/heads/main",
            reason="BadRef",
        )
    return RefName(text)


def parse_sha(text: str) -> CommitSha | None:
    """Read a commit id; None for the all-zero id that stands for "no commit".

    Raises:
        DeliveryError: It is no full commit id (``BadCommit``).
    """
    lowered = text.lower()
    if not _SHA.fullmatch(lowered):
        raise DeliveryError(
            f"the commit is {select_words(text)!r}, expected 40 or 64 hex digits",
            reason="BadCommit",
        )
    return CommitSha(lowered) if lowered.strip("0") else None


def parse_before(text: str) -> CommitSha | None:
    """Read the commit before a push; None for "no commit" and for anything unusable.

    Nothing is decided by it, so a push is not refused for it.
    """
    try:
        return parse_sha(text)
    except DeliveryError:
        return None
