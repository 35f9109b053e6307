"""What an apply changes, said in lines that fit on a phone.

Theory: a diff compares the live object with the server's own dry-run answer, so defaults and
admission are in both and cancel out. Objects are flattened into ``path: value`` lines; list items
that have a name are addressed by it, so an inserted container is one insertion. Values are
compared as they are and shown as `gitopsd.kube.redaction` leaves them, so that a changed secret
shows as changed.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from gitopsd.domain.manifests import ChangeAction, ObjectChange
from gitopsd.kube.canonical import canonical_json, digest_of
from gitopsd.kube.names import LAST_APPLIED_ANNOTATION
from gitopsd.kube.objects import mapping_at, parse_ref, strip_server_fields
from gitopsd.kube.redaction import MASK, MASK_AFTER, MASK_BEFORE, redact_object, redact_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from gitopsd.domain.manifests import Digest, Json, JsonObject, ObjectRef

MAX_DIFF_LINES = 200
MAX_LINE = 200
MAX_TEXT_LINES = 400
_MAX_DEPTH = 64

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_/-]*")
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9_./@*$%(:][^\x00-\x1f\x7f]*")

_Part: TypeAlias = tuple[int, str]
"""One step of a path: (index, "") into a list, (-1, key) into an object, or a named item."""

_NAMED = -2
_ORDER: _Part = (-3, "")
"""Pseudo step whose value is the order of the names of a list's items."""

_Path: TypeAlias = tuple[_Part, ...]
_Leaves: TypeAlias = "dict[_Path, Json]"


def normalise_for_diff(obj: JsonObject) -> dict[str, Json]:
    """Copy a live object or a dry-run answer without what nobody asked for.

    Dropped are the fields only the server writes, status, and kubectl's copy of the manifest.
    """
    copy = strip_server_fields(obj)
    annotations = mapping_at(copy, "metadata", "annotations")
    if LAST_APPLIED_ANNOTATION in annotations:
        kept = {key: value for key, value in annotations.items() if key != LAST_APPLIED_ANNOTATION}
        metadata = {**mapping_at(copy, "metadata"), "annotations": kept}
        if not kept:
            del metadata["annotations"]
        copy["metadata"] = metadata
    return copy


def equal_for_apply(live: JsonObject, dry_run: JsonObject) -> bool:
    """Whether applying would change nothing that anyone asked for.

    Args:
        live: The object as it is.
        dry_run: The server's answer to a dry-run apply.

    Raises:
        PermanentError: ``InvalidObject``, when a value is not JSON.
    """
    return canonical_json(normalise_for_diff(live)) == canonical_json(normalise_for_diff(dry_run))


def diff_objects(
    live: JsonObject | None, desired: JsonObject | None, sensitive_kinds: Collection[str] = ()
) -> str:
    """Say what changes from one state of an object to the next, redacted, in short lines.

    Args:
        live: State before; None when the object does not exist.
        desired: State after, best the answer of a dry run; None when the object goes.
        sensitive_kinds: Further kinds whose whole body is secret.

    Returns:
        Lines ``- path: value`` and ``+ path: value``, texts of several lines as a unified diff
        under ``~ path:``; at most `MAX_DIFF_LINES` and one that says how many more there are;
        empty when nothing changes.

    Raises:
        PermanentError: ``InvalidObject``, when a value is not JSON.
    """
    old, old_shown = _read(live, sensitive_kinds)
    new, new_shown = _read(desired, sensitive_kinds)
    lines: list[str] = []
    for path in sorted(old.keys() | new.keys()):
        if path in old and path in new:
            if not _same(old[path], new[path]):
                lines += _changed_lines(path, old_shown.get(path), new_shown.get(path))
        elif path[-1:] != (_ORDER,):
            sign, shown = ("-", old_shown) if path in old else ("+", new_shown)
            lines.append(_line(sign, path, shown.get(path, MASK)))
    if len(lines) > MAX_DIFF_LINES:
        more = len(lines) - MAX_DIFF_LINES
        lines = [*lines[:MAX_DIFF_LINES], f"... and {more} more lines"]
    return "\n".join(lines)


def _read(obj: JsonObject | None, sensitive_kinds: Collection[str]) -> tuple[_Leaves, _Leaves]:
    if obj is None:
        return {}, {}
    normal = normalise_for_diff(obj)
    return (
        dict(_flatten(normal, ())),
        dict(_flatten(redact_object(normal, sensitive_kinds), ())),
    )


def _same(old: Json, new: Json) -> bool:
    return canonical_json(old) == canonical_json(new)


def _flatten(value: Json, path: _Path) -> Iterator[tuple[_Path, Json]]:
    if len(path) > _MAX_DEPTH:
        yield path, f"(nested deeper) {digest_of(value)}"
    elif isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flatten(inner, (*path, (-1, str(key))))
    elif isinstance(value, list | tuple) and any(_is_nested(item) for item in value):
        yield from _flatten_list(value, path)
    else:
        yield path, value


def _flatten_list(items: Sequence[Json], path: _Path) -> Iterator[tuple[_Path, Json]]:
    names = [item.get("name") if isinstance(item, Mapping) else None for item in items]
    texts = [name for name in names if isinstance(name, str) and name]
    if len(set(texts)) == len(items):
        yield (*path, _ORDER), texts
        for name, item in zip(texts, items, strict=True):
            yield from _flatten(item, (*path, (_NAMED, name)))
    else:
        for index, item in enumerate(items):
            yield from _flatten(item, (*path, (index, "")))


def _is_nested(value: Json) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _changed_lines(path: _Path, old: Json, new: Json) -> list[str]:
    if path[-1:] == (_ORDER,):
        return _order_lines(path, old, new)
    if _same(old, new):  # masked on both sides
        old, new = MASK_BEFORE, MASK_AFTER
    if isinstance(old, str) and isinstance(new, str) and ("\n" in old or "\n" in new):
        return _text_lines(path, old, new)
    return [_line("-", path, old), _line("+", path, new)]


def _order_lines(path: _Path, old: Json, new: Json) -> list[str]:
    if isinstance(old, list) and isinstance(new, list) and set(map(str, old)) == set(map(str, new)):
        return [_line("-", path, old), _line("+", path, new)]
    return []


def _text_lines(path: _Path, old: str, new: str) -> list[str]:
    before = redact_text(old).split("\n")
    after = redact_text(new).split("\n")
    head = f"~ {_say_path(path)}:"
    if before == after:
        return [f"{head} {MASK_AFTER}"]
    if max(len(before), len(after)) > MAX_TEXT_LINES:
        return [f"{head} {len(before)} lines become {len(after)}"]
    changes = list(difflib.unified_diff(before, after, n=1, lineterm=""))[2:]
    return [head, *(_clip(f"  {line}") for line in changes)]


def _line(sign: str, path: _Path, value: Json) -> str:
    return _clip(redact_text(f"{sign} {_say_path(path)}: {_say_value(value)}"))


def _clip(line: str) -> str:
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 3]}..."


def _say_path(path: _Path) -> str:
    said = ""
    for index, key in path:
        if index >= 0:
            said += f"[{index}]"
        elif index == _NAMED:
            said += f"[{key}]"
        elif (index, key) == _ORDER:
            said += " (order)"
        elif _PLAIN_KEY.fullmatch(key):
            said += f".{key}" if said else key
        else:
            said += f"[{json.dumps(key)}]"
    return said


def _say_value(value: Json) -> str:
    if isinstance(value, str) and _PLAIN_TEXT.fullmatch(value) and not _reads_as_other(value):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _reads_as_other(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text != text.strip()
    return True


def change_of(
    live: JsonObject | None,
    desired: JsonObject,
    *,
    note: str = "",
    checked: bool = True,
    sensitive_kinds: Collection[str] = (),
) -> ObjectChange:
    """Say what an apply does to one object.

    Args:
        live: The object as it is; None when it does not exist.
        desired: The server's dry-run answer, or the manifest where that has to wait.
        note: What else a person should know about it.
        checked: Whether `desired` is the server's answer.
        sensitive_kinds: Further kinds whose whole body is secret.

    Raises:
        PermanentError: ``InvalidObject``, when `desired` has no identity or is not JSON.
    """
    ref = parse_ref(desired)
    if live is not None and equal_for_apply(live, desired):
        return ObjectChange(ref, ChangeAction.UNCHANGED, note=note, checked=checked)
    action = ChangeAction.CREATED if live is None else ChangeAction.CONFIGURED
    diff = diff_objects(live, desired, sensitive_kinds)
    return ObjectChange(ref, action, diff=diff, note=note, checked=checked)


def compute_plan_digest(
    rendered: Digest,
    applied: Digest | None,
    deletions: Iterable[ObjectRef],
    hooks: Iterable[ObjectRef],
) -> Digest:
    """Address what an approval is bound to.

    Args:
        rendered: Digest of the rendered set.
        applied: Digest of the applied set that it was diffed against; None before the first.
        deletions: Objects that would be pruned, in any order.
        hooks: Hooks that would run, in any order.
    """
    return digest_of(
        {
            "rendered": rendered,
            "applied": applied,
            "deletions": [_spell(ref) for ref in sorted(deletions)],
            "hooks": [_spell(ref) for ref in sorted(hooks)],
        }
    )


def _spell(ref: ObjectRef) -> list[Json]:
    key = ref.key
    return [key.group, key.kind, key.namespace, key.name]
