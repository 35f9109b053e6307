"""The one redaction that every sink of text and objects passes.

Theory: objects are masked by what they are (a Secret's values, environment variables with a
telling name), text by what secrets look like. Each pattern reads the text once: no pattern
begins inside a run of its own characters, and no repetition is nested, so that hostile text
costs time linear in its length, and its length is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gitopsd.kube.names import LAST_APPLIED_ANNOTATION
from gitopsd.kube.objects import group_of, kind_of, mapping_at, string_at

if TYPE_CHECKING:
    from collections.abc import Collection

    from gitopsd.domain.manifests import Json, JsonObject

MASK = "***"
MASK_BEFORE = "*** (before)"
MASK_AFTER = "*** (after)"

MAX_TEXT = 262_144
"""Longest text that is redacted, in characters; what is beyond is cut off and said so."""

CLAUSE_LENGTH = 300
_CLAUSE_TAIL = 97

_SECRET_FIELDS = ("data", "stringData")
_IDENTITY_FIELDS = frozenset({"apiVersion", "kind", "metadata"})
_MAX_DEPTH = 100

_SENSITIVE_NAME = re.compile(
    r"passw(?:or)?d|passphrase|secret|token|credential|api[_-]?key|access[_-]?key"
    r"|private[_-]?key|encryption[_-]?key|signing[_-]?key|(?:^|[_.-])dsn(?:$|[_.-])",
    re.IGNORECASE,
)

_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----"
    r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_USERINFO = re.compile(r"://(?!git@)[^\s/@\"'<>]+@")
_AUTHORIZATION = re.compile(
    r"(?i)(authorization[\"']?[ \t]{0,4}[:=][ \t]{0,4}[\"']?)"
    r"(?:(?:basic|bearer|token|digest|negotiate|aws4-hmac-sha256)[ \t]{1,4})?[^\s\"',;]+"
)
_BEARER = re.compile(r"(?i)\b(bearer[ \t]{1,4})[A-Za-z0-9._~+/=-]+")
_BASIC = re.compile(
    r"\b([Bb]asic[ \t]{1,4})(?=[A-Za-z0-9+/]{0,64}[0-9A-Z+/])[A-Za-z0-9+/]{8,}={0,2}"
)
_TOKENS = re.compile(
    r"gh[pousr]_[A-Za-z0-9]{8,}"
    r"|github_pat_[A-Za-z0-9_]{8,}"
    r"|gl(?:pat|dt|rt|cbt|ptt|soat|agent)-[A-Za-z0-9_-]{8,}"
    r"|xox[abeprs](?:\.xox[abp])?-[A-Za-z0-9-]{8,}"
    r"|xapp-[A-Za-z0-9-]{8,}"
    r"|(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"
)
_DOTTED = re.compile(r"[A-Za-z0-9_.-]{20,}")
_JWT_HEADER = 11
"""Shortest header of a JSON Web Token that is looked for: ``eyJ`` and 8 characters."""
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|\\\"[^\"]*\""
_ASSIGNED = re.compile(
    r"(?i)((?:passw(?:or)?d|passphrase|pwd|secret|token|credentials?|api[_-]?key|access[_-]?key"
    r"|private[_-]?key|encryption[_-]?key|signing[_-]?key)\\?[\"']?[ \t]{0,4}=[ \t]{0,4})"
    rf"(?:{_QUOTED}|[^\s\"'&,;]+)"
)
_QUOTED_FIELD = re.compile(
    r"(?i)((?:passw(?:or)?d|passphrase|pwd|secret|token|credentials?|api[_-]?key|access[_-]?key"
    r"|private[_-]?key|encryption[_-]?key|signing[_-]?key)\\?[\"']?[ \t]{0,4}:[ \t]{0,4})"
    rf"(?:{_QUOTED})"
)
_PASSWORD_FIELD = re.compile(
    r"(?i)((?:passw(?:or)?d|passphrase)\\?[\"']?[ \t]{0,4}:[ \t]{0,4})[^\s\"'&,;]+"
)
_PADDED_BASE64 = re.compile(r"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/]{10,}={1,2}(?![A-Za-z0-9+/=])")
_SECRET_KIND = re.compile(r"kind\\?[\"']?[ \t]{0,4}:[ \t]{0,4}\\?[\"']?Secret\b")
_FLOW_DATA = re.compile(r"(\\?[\"'](?:data|stringData)\\?[\"'][ \t]{0,4}:[ \t]{0,4}\{)[^{}]*")
_ESCAPED_NEWLINE = re.compile(r"\\{1,4}n")
_BLOCK_DATA = re.compile(r"([ ]{0,64})(?:data|stringData):[ \t]*")
_BLOCK_KEY = re.compile(r"([ ]{0,64}[A-Za-z0-9._\"'-]{1,253}:)(?=[ \t]|$)")


def is_sensitive_name(name: str) -> bool:
    """Whether the name of a variable or a key says that its value is a secret."""
    return _SENSITIVE_NAME.search(name) is not None


def redact_text(text: str) -> str:
    """Mask what looks like a secret in text, whoever wrote it.

    Masked are credentials in URLs, ``Authorization`` headers, bearer tokens, tokens of GitHub,
    GitLab, Slack and AWS, JSON Web Tokens, private keys, assignments to names such as
    ``password``, padded base64, and the values of a Secret that is quoted as JSON or YAML. What
    UTF-8 cannot say becomes ``?``, so that every sink can write the answer.
    """
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}... ({len(text) - MAX_TEXT} more characters cut)"
    text = text.encode("utf-8", "replace").decode("utf-8")
    if _SECRET_KIND.search(text):
        # Quoted as a Python or JSON string, a manifest in YAML has escaped ends of lines.
        text = _mask_block_data(_FLOW_DATA.sub(rf"\1{MASK}", _ESCAPED_NEWLINE.sub("\n", text)))
    text = _PEM.sub(MASK, text)
    text = _USERINFO.sub(f"://{MASK}@", text)
    text = _AUTHORIZATION.sub(rf"\1{MASK}", text)
    text = _BEARER.sub(rf"\1{MASK}", text)
    text = _BASIC.sub(rf"\1{MASK}", text)
    text = _TOKENS.sub(MASK, text)
    text = _DOTTED.sub(_mask_web_token, text)
    text = _ASSIGNED.sub(rf"\1{MASK}", text)
    text = _QUOTED_FIELD.sub(rf"\1{MASK}", text)
    text = _PASSWORD_FIELD.sub(rf"\1{MASK}", text)
    return _PADDED_BASE64.sub(_mask_base64, text)


def _mask_web_token(found: re.Match[str]) -> str:
    run = found.group()
    start = run.find("eyJ")
    return f"{run[:start]}{MASK}" if start >= 0 and "." in run[start + _JWT_HEADER :] else run


def _mask_base64(found: re.Match[str]) -> str:
    run = found.group()
    likely = len(run) % 4 == 0 and any(char.isupper() or char.isdigit() for char in run)
    return MASK if likely else run


def redact_clause(text: str) -> str:
    """Make one redacted line of at most `CLAUSE_LENGTH` characters from a cluster's message.

    What is too long loses its middle: API servers say what it is about first, then quote a whole
    value, and say what is wrong with it last.
    """
    line = " ".join(redact_text(text).split())
    if len(line) <= CLAUSE_LENGTH:
        return line
    return f"{line[: CLAUSE_LENGTH - _CLAUSE_TAIL - 3]}...{line[-_CLAUSE_TAIL:]}"


def _mask_block_data(text: str) -> str:
    lines = []
    indent: int | None = None
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip(" "))
        if indent is not None and (depth > indent or not line.strip()):
            lines.append(_mask_block_line(line))
            continue
        opening = _BLOCK_DATA.fullmatch(line)
        indent = len(opening.group(1)) if opening else None
        lines.append(line)
    return "\n".join(lines)


def _mask_block_line(line: str) -> str:
    key = _BLOCK_KEY.match(line)
    if key:
        return f"{key.group(1)} {MASK}"
    return f"{' ' * (len(line) - len(line.lstrip(' ')))}{MASK}" if line.strip() else line


def is_sensitive_kind(obj: JsonObject, sensitive_kinds: Collection[str] = ()) -> bool:
    """Whether an object's body is secret: a core Secret, or of a kind configured as such."""
    kind = kind_of(obj)
    return (kind == "Secret" and group_of(obj) == "") or kind in sensitive_kinds


def redact_object(obj: JsonObject, sensitive_kinds: Collection[str] = ()) -> dict[str, Json]:
    """Copy an object with its secrets masked.

    Masked are the values of a Secret, every value outside the metadata of the kinds in
    `sensitive_kinds`, environment variables and ConfigMap keys whose names say that they are
    secret, and the copy of the manifest that client-side kubectl keeps in an annotation.

    Args:
        obj: Any object.
        sensitive_kinds: Further kinds whose whole body is secret.

    Returns:
        The copy; keys stay, values become ``***``.
    """
    copy = {key: _mask_named(value, 0) for key, value in obj.items()}
    if is_sensitive_kind(obj, sensitive_kinds):
        for key in copy.keys() - _IDENTITY_FIELDS:
            if key in _SECRET_FIELDS or kind_of(obj) in sensitive_kinds:
                copy[key] = _mask_leaves(obj[key], 0)
    elif kind_of(obj) == "ConfigMap":
        for field in ("data", "binaryData"):
            if field in copy:
                copy[field] = _mask_sensitive_keys(copy[field])
    return _mask_last_applied(copy)


def _mask_last_applied(copy: dict[str, Json]) -> dict[str, Json]:
    annotations = mapping_at(copy, "metadata", "annotations")
    if LAST_APPLIED_ANNOTATION in annotations:
        masked = {**annotations, LAST_APPLIED_ANNOTATION: MASK}
        copy["metadata"] = {**mapping_at(copy, "metadata"), "annotations": masked}
    return copy


def _mask_sensitive_keys(values: Json) -> Json:
    if not isinstance(values, Mapping):
        return values
    return {key: MASK if is_sensitive_name(str(key)) else value for key, value in values.items()}


def _mask_named(value: Json, depth: int) -> Json:
    if depth > _MAX_DEPTH:
        return MASK
    if isinstance(value, Mapping):
        copy = {key: _mask_named(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value.get("value"), str) and is_sensitive_name(string_at(value, "name")):
            copy["value"] = MASK
        return copy
    if isinstance(value, list | tuple):
        return [_mask_named(inner, depth + 1) for inner in value]
    return value


def _mask_leaves(value: Json, depth: int) -> Json:
    if depth > _MAX_DEPTH:
        return MASK
    if isinstance(value, Mapping):
        return {key: _mask_leaves(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_mask_leaves(inner, depth + 1) for inner in value]
    return MASK


def redact_secret_pair(
    before: JsonObject | None, after: JsonObject | None
) -> tuple[dict[str, Json] | None, dict[str, Json] | None]:
    """Copy two states of one Secret so that a diff shows which keys change, never a value.

    A value that is the same on both sides is ``***`` on both; one that differs is
    ``*** (before)`` and ``*** (after)``; one that is on one side only is ``***`` there.

    Args:
        before: The older state; None when there is none.
        after: The newer state; None when there is none.

    Returns:
        The two copies, None where the argument was.
    """
    return (
        None if before is None else _mask_side(before, after, MASK_BEFORE),
        None if after is None else _mask_side(after, before, MASK_AFTER),
    )


def _mask_side(obj: JsonObject, other: JsonObject | None, changed: str) -> dict[str, Json]:
    copy = redact_object(obj)
    for field in _SECRET_FIELDS:
        values = obj.get(field)
        if isinstance(values, Mapping):
            others = mapping_at(other, field)
            copy[field] = {
                key: changed if key in others and others[key] != value else MASK
                for key, value in values.items()
            }
    return copy
