"""What pydantic found wrong, said to the person who wrote the file."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from gitopsd.adapters.config_files.fields import Section
from gitopsd.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

_MAX_SHOWN = 60
_NO_PLACES = ("[key]", "[list]", "[text]", "[mapping]")
"""Parts of pydantic's places that stand in no document: what is written in one of several ways."""

_TYPES = {
    "string_type": ("text", 'Write it as text, in quotes if it looks like a number: "1.10"'),
    "int_type": ("a whole number", "Write a whole number without quotes"),
    "int_from_float": ("a whole number", "Write a whole number without quotes"),
    "float_type": ("a number", "Write a number without quotes"),
    "bool_type": ("true or false", "Write `true` or `false` without quotes"),
    "list_type": ("a list", "Write a list: one entry a line, each after a dash"),
    "dict_type": ("a mapping", "Write `key: value` lines, indented"),
    "model_type": ("a mapping", "Write `key: value` lines, indented"),
    "model_attributes_type": ("a mapping", "Write `key: value` lines, indented"),
}


def format_path(parts: Iterable[str | int]) -> str:
    """Write a place in a document: ``spec.stages[0].cluster``."""
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def suggest(word: str, known: Iterable[str]) -> str:
    """Say ``Did you mean ...?`` when something known is close; else name what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not close:
        folded = [name for name in names if name.lower() == word.lower().replace("_", "")]
        close = folded[:1]
    if close:
        return f"Did you mean `{close[0]}`?"
    listed = ", ".join(f"`{name}`" for name in names)
    return f"Known here: {listed}" if names else "Nothing of this kind is configured"


def list_problems(error: ValidationError, model: type[Section], file: str) -> list[ConfigError]:
    """Turn the errors of one document into sentences.

    Args:
        error: What pydantic raised.
        model: Model of the whole document.
        file: File as the person knows it.

    Returns:
        One error for each place, in document order.
    """
    problems: dict[str, ConfigError] = {}
    for detail in error.errors(include_url=False):
        location = [part for part in detail["loc"] if part not in _NO_PLACES]
        path = format_path(location)
        problem, remedy = _explain(detail, location, model)
        problems.setdefault(path, ConfigError(file=file, path=path, problem=problem, remedy=remedy))
    return list(problems.values())


def _explain(
    detail: ErrorDetails, location: list[str | int], model: type[Section]
) -> tuple[str, str]:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "gitopsd":
        return context["problem"], context["remedy"]
    if kind == "missing":
        return "it is missing", _explain_missing(location, model)
    if kind == "extra_forbidden":
        return _explain_unknown(location, model)
    if kind == "literal_error":
        return _explain_choice(detail, location, model)
    if kind in _TYPES:
        expected, remedy = _TYPES[kind]
        return f"{_show(detail['input'])}, expected {expected}", remedy
    # Bounds of numbers and lengths: pydantic's own sentence names the bound.
    return detail["msg"].replace("Input", "the value", 1), "Write a value within this bound"


def _explain_missing(location: list[str | int], model: type[Section]) -> str:
    field = _find_field(model, location)
    name = location[-1]
    if field is None:
        return f"Write `{name}:`"
    example = f" {field.examples[0]}" if field.examples else " ..."
    literal = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    if literal:
        example = f" {literal[0]}"
    meaning = f" ({field.description})" if field.description else ""
    return f"Write `{name}:{example}`{meaning}"


def _explain_unknown(location: list[str | int], model: type[Section]) -> tuple[str, str]:
    parent = _find_model(model, location[:-1])
    key = str(location[-1])
    if parent is None:
        return "unknown key", "Remove it"
    if key in parent.NOT_YET:
        return f"`{key[:_MAX_SHOWN]}` is not supported yet", parent.NOT_YET[key]
    if key == "<<":
        remedy = "Write the keys out; a value can be named with `&name` and repeated with `*name`"
        return "merge keys (`<<`) are not read", remedy
    known = [field.alias or name for name, field in parent.model_fields.items()]
    return f"unknown key `{key[:_MAX_SHOWN]}`", suggest(key, known)


def _explain_choice(
    detail: ErrorDetails, location: list[str | int], model: type[Section]
) -> tuple[str, str]:
    field = _find_field(model, location)
    choices = [str(choice) for choice in _find_choices(field.annotation if field else None)]
    listed = " or ".join(f"`{choice}`" for choice in choices) or detail["ctx"]["expected"]
    remedy = suggest(str(detail["input"]), choices) if len(choices) > 1 else f"Write {listed}"
    return f"{_show(detail['input'])}, expected {listed}", remedy


def _show(value: object) -> str:
    if value is None:
        return "it is empty"
    if isinstance(value, str):
        return f"it is {value[:_MAX_SHOWN]!r}"
    if isinstance(value, bool):
        return f"it is {str(value).lower()}"
    if isinstance(value, int | float):
        return f"it is the number {value}"
    return "it is a mapping" if isinstance(value, dict) else "it is a list"


def _find_field(model: type[Section], location: Sequence[str | int]) -> FieldInfo | None:
    names = [index for index, part in enumerate(location) if isinstance(part, str)]
    last = names[-1] if names else 0
    parent = _find_model(model, location[:last])
    if parent is None or not names:
        return None
    return next(
        (
            field
            for name, field in parent.model_fields.items()
            if location[last] in (field.alias, name)
        ),
        None,
    )


def _find_model(model: type[Section], location: Sequence[str | int]) -> type[Section] | None:
    """Follow a place through the annotations to the model that stands there."""
    found: type[Section] | None = model
    for part in location:
        if isinstance(part, int):
            continue  # `_find_models` looked through the list already
        field = _find_field(found, [part]) if found is not None else None
        found = next(iter(_find_models(field.annotation)), None) if field is not None else None
    return found


def _find_models(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _find_models(inner)]


def _find_choices(annotation: Any) -> list[object]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType, list):
        return [one for inner in get_args(annotation) for one in _find_choices(inner)]
    return []
