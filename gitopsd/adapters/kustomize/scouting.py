"""Looks at YAML before it is parsed: what would exhaust a parser is found without parsing it.

ryaml needs seconds to refuse a megabyte of ``[``, and kustomize needs gigabytes to refuse an
alias bomb. Both are rare, so cheap signs are looked for first, and only a file that shows one is
parsed to be sure.
"""

from __future__ import annotations

import re

from ryaml import (  # type: ignore[attr-defined] # re-exported without saying so
    InvalidYamlError,
    loads_all,
)

from gitopsd.adapters.kustomize.refusals import Place, RefusedError
from gitopsd.domain.manifests import Json

MAX_DEPTH = 128
"""Nesting that ryaml takes; Kubernetes objects have less than 40."""
_SUSPICIOUS_DEPTH = 500
_MAX_PROBES = 20
_BRACKETS = re.compile(rb"[\[{\]}]")
_ALIAS = re.compile(rb"(?m)(?:^|[\s\[,:-])\*[^\s,\]}]")
_ANCHOR = re.compile(rb"(?m)(?:^|[\s\[,:-])&[^\s,\]}]")
_AT = re.compile(r"at line (\d+)")


def check_yaml(path: str, content: bytes) -> None:
    """Refuse a file whose nesting or aliases would exhaust a parser.

    Raises:
        RefusedError: ``TooDeep`` or ``AliasBomb``, with the line.
    """
    _check_depth(path, content)
    if _ANCHOR.search(content) and (alias := _ALIAS.search(content)):
        try:
            loads_all(content.decode(errors="replace"))
        except (InvalidYamlError, ValueError) as error:
            if "repetition limit" in str(error):
                line = content.count(b"\n", 0, alias.end()) + 1
                raise RefusedError(
                    "AliasBomb",
                    Place(path, line),
                    "its aliases multiply into too much; write the values out",
                ) from error


def _check_depth(path: str, content: bytes) -> None:
    depth = probes = 0
    for bracket in _BRACKETS.finditer(content):
        depth = depth + 1 if bracket[0] in b"[{" else max(0, depth - 1)
        if depth > _SUSPICIOUS_DEPTH and probes < _MAX_PROBES:
            # Brackets in text nest nothing, so the parser is asked, up to here.
            line = _find_too_deep(content[: bracket.end()])
            if line:
                raise _too_deep(path, line)
            depth, probes = 0, probes + 1


def _find_too_deep(content: bytes) -> int:
    try:
        loads_all(content.decode(errors="replace"))
    except (InvalidYamlError, ValueError) as error:
        if "recursion limit" in str(error):
            return _line_of(str(error))
    return 0


def _too_deep(path: str, line: int) -> RefusedError:
    sentence = f"values are nested deeper than {MAX_DEPTH} levels"
    return RefusedError("TooDeep", Place(path, line), sentence)


def _line_of(message: str) -> int:
    found = _AT.search(message)
    return int(found[1]) if found else 1


def parse_yaml(path: str, content: bytes) -> list[Json]:
    """Parse all documents of a file.

    Raises:
        RefusedError: ``BadYaml``, ``TooDeep`` or ``AliasBomb``, with the line.
    """
    check_yaml(path, content)
    try:
        documents: list[Json] = loads_all(content.decode()) or []  # None for no bytes at all
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RefusedError("BadYaml", Place(path, line), "it is not UTF-8") from error
    except (InvalidYamlError, ValueError, TypeError) as error:
        message = str(error)
        if "recursion limit" in message:
            raise _too_deep(path, _line_of(message)) from error
        raise RefusedError(
            "BadYaml", Place(path, _line_of(message)), f"it is not YAML: {message}"
        ) from error
    return documents
