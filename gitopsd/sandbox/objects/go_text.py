"""Values as Go prints them: some of the server's messages hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gitopsd.domain.manifests import Json


def go_type(value: Json) -> str:
    """A value's type: ``%T``."""
    if isinstance(value, Mapping):
        return "map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "int64" if isinstance(value, int) else "float64"
    return "string" if isinstance(value, str) else "<nil>"


def go_text(value: Json) -> str:
    """A value for people: ``%v``."""
    if isinstance(value, Mapping):
        inner = " ".join(f"{key}:{go_text(item)}" for key, item in sorted(value.items()))
        return f"map[{inner}]"
    if isinstance(value, list):
        return "[" + " ".join(go_text(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def go_syntax(value: Json) -> str:
    """A value as it would be written in a program: ``%#v``."""
    if isinstance(value, Mapping):
        inner = ", ".join(f'"{key}":{go_syntax(item)}' for key, item in sorted(value.items()))
        return f"map[string]interface {{}}{{{inner}}}"
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(go_syntax(item) for item in value) + "}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return "interface {}(nil)" if value is None else go_text(value)
