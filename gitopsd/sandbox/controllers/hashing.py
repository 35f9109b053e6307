"""Short stable names for templates: the hashes in names of ReplicaSets and revisions. Pure.

The shape is the real one (FNV, 32 bits, written in letters that spell nothing); the hashed bytes
are canonical JSON, not Go's printing of its structs, so values differ from a real cluster's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json

# Kubernetes' letters for generated names, see ``k8s.io/apimachinery/pkg/util/rand``.
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_OFFSET, _PRIME, _BITS = 2166136261, 16777619, 0xFFFFFFFF


def canonical(document: Json) -> bytes:
    """A document as JSON with sorted keys and no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def safe_hash(content: bytes) -> str:
    """Up to ten letters that depend on all of `content`."""
    value = _OFFSET
    for byte in content:
        value = ((value ^ byte) * _PRIME) & _BITS
    return "".join(_LETTERS[ord(digit) % len(_LETTERS)] for digit in str(value))


def template_hash(template: Json, collisions: int | None) -> str:
    """The ``pod-template-hash`` of a pod template after so many collisions."""
    probe = b"" if collisions is None else collisions.to_bytes(8, "little")
    return safe_hash(canonical(template) + probe)
