"""Reads ``WWW-Authenticate`` (RFC 9110, 11.6.1): how a registry wants to be logged in to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_LONGEST = 8192
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the grammar's word, no secret
_PARAMETER = re.compile(rf'({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*(?:,\s*|\Z)')
_SCHEME = re.compile(rf"({_TOKEN})(?:\s+|\Z|(?=,))")
_BETWEEN = " \t,"


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in.

    Attributes:
        scheme: Lower-case name: ``bearer``, ``basic``.
        parameters: Lower-case names -> values.
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(value: str) -> tuple[Challenge, ...]:
    """Read the challenges of a header, as many as can be read.

    Args:
        value: The header; several of them joined by commas.
    """
    found: list[Challenge] = []
    text = value[:_LONGEST].strip(_BETWEEN)
    while text:
        scheme = _SCHEME.match(text)
        if scheme is None:
            break
        text = text[scheme.end() :].lstrip(_BETWEEN)
        parameters: dict[str, str] = {}
        while (parameter := _PARAMETER.match(text)) is not None:
            name, quoted, plain = parameter.groups()
            written = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(name.lower(), written)
            text = text[parameter.end() :].lstrip(_BETWEEN)
        found.append(Challenge(scheme[1].lower(), parameters))
    return tuple(found)
