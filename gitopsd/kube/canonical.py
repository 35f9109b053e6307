"""One spelling for each JSON value, and content addresses made from it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from gitopsd.domain.manifests import Digest
from gitopsd.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitopsd.domain.manifests import Json, JsonObject


def canonical_json(value: Json) -> bytes:
    """Spell a JSON value in the one way that content addresses are made from.

    Keys are sorted, nothing is indented, and everything outside ASCII is escaped, so that equal
    values have equal bytes whichever parser they came from.

    Args:
        value: A JSON value.

    Returns:
        ASCII bytes without a line break.

    Raises:
        PermanentError: ``InvalidObject``, when the value is not JSON: NaN or infinity, a type
            that JSON does not have, keys of mixed types, or nesting beyond the interpreter's.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PermanentError(f"a value is not JSON: {error}", reason="InvalidObject") from error
    except RecursionError as error:
        raise PermanentError("a value is nested too deeply", reason="InvalidObject") from error
    return text.encode("ascii")


def digest_of_bytes(content: bytes) -> Digest:
    """Address bytes by their sha256."""
    return Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")


def digest_of(value: Json) -> Digest:
    """Address a JSON value by the sha256 of its canonical spelling.

    Raises:
        PermanentError: ``InvalidObject``, when the value is not JSON.
    """
    return digest_of_bytes(canonical_json(value))


def digest_of_set(objects: Iterable[JsonObject]) -> Digest:
    """Address a set of objects; the order they come in does not count.

    Raises:
        PermanentError: ``InvalidObject``, when a value is not JSON.
    """
    lines = sorted(canonical_json(obj) for obj in objects)
    return digest_of_bytes(b"".join(line + b"\n" for line in lines))
