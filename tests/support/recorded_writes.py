"""Writes and what a real API server answered, recorded: the sandbox must answer the same.

``tests/fixtures/sandbox/*.json`` holds cases of one or more steps. Each step is a request and the
answer, without what differs each time: ids, times, versions and addresses. ``NS`` stands for the
namespace. A step that is ``loose`` has an answer full of Go's internal types; of it only status,
reason and the causes' fields are compared. Answers are recorded again by
``.venv/bin/python -m tools.sandbox_recordings``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from tests.support.api_talk import PLAIN, Said

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "sandbox"
NAMESPACE = "NS"

Step: TypeAlias = dict[str, Any]
Case: TypeAlias = dict[str, Any]
Say: TypeAlias = Callable[[str, str, Any, str], Said]

_VARYING = frozenset(
    {
        "batch.kubernetes.io/controller-uid",
        "clusterIP",
        "controller-uid",
        "creationTimestamp",
        "lastPhaseTransitionTime",
        "nodePort",
        "time",
        "uid",
    }
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ADDRESS = re.compile(r"10\.\d+\.\d+\.\d+")
_FILES = ("creates", "refusals", "updates", "customs")


def names() -> tuple[str, ...]:
    """The recordings that there are."""
    return _FILES


def load(name: str) -> list[Case]:
    """The cases of a recording."""
    found: list[Case] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def save(name: str, cases: Iterable[Case]) -> None:
    """Write a recording, a step a line."""
    lines = []
    for case in cases:
        steps = ",\n  ".join(
            json.dumps(step, ensure_ascii=False, sort_keys=True) for step in case["steps"]
        )
        lines.append(f'{{"case": {json.dumps(case["case"])}, "steps": [\n  {steps}\n]}}')
    text = "[\n" + ",\n".join(lines) + "\n]\n"
    (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


def play(step: Step, say: Say, namespace: str) -> Said:
    """Send a step's request."""
    method, path = step["ask"].split(" ", 1)
    body = step.get("body")
    if body is not None:
        body = json.loads(json.dumps(body).replace(NAMESPACE, namespace))
    return say(method, path.replace(NAMESPACE, namespace), body, step.get("type", PLAIN))


def is_clearing(step: Step) -> bool:
    """Whether a step only clears up: its answer is not recorded."""
    return str(step["ask"]).startswith("DELETE ")


def heard(said: Said, namespace: str) -> dict[str, Any]:
    """An answer as it is recorded."""
    answer = _plain(said.answer, namespace)
    found: dict[str, Any] = {"status": said.status, "answer": answer}
    if said.warnings:
        found["warnings"] = [_text(text, namespace) for text in said.warnings]
    return found


def recorded(step: Step) -> dict[str, Any]:
    """A step's recorded answer, as far as it is compared."""
    found: dict[str, Any] = {"status": step["status"], "answer": step["answer"]}
    if "warnings" in step:
        found["warnings"] = step["warnings"]
    return loosened(found) if step.get("loose") else found


def compared(said: Said, namespace: str, step: Step) -> dict[str, Any]:
    """An answer, as far as it is compared."""
    found = heard(said, namespace)
    return loosened(found) if step.get("loose") else found


def loosened(found: dict[str, Any]) -> dict[str, Any]:
    """Of a refusal: status, reason and which fields it is about."""
    causes = found["answer"].get("details", {}).get("causes", [])
    fields = [[cause.get("reason"), cause.get("field")] for cause in causes]
    return {"status": found["status"], "reason": found["answer"].get("reason"), "fields": fields}


def _plain(value: Any, namespace: str, key: str = "") -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        if isinstance(value.get("managedFields"), list):
            value = {**value, "managedFields": sorted(value["managedFields"], key=_owner)}
        return {
            name: _plain(item, namespace, name)
            for name, item in sorted(value.items())
            if name != "resourceVersion"
        }
    if isinstance(value, list):
        return [_plain(item, namespace, key) for item in value]
    if key in _VARYING and value not in {None, "None"}:
        return f"<{key}>"
    return _text(value, namespace) if isinstance(value, str) else value


def _owner(entry: dict[str, Any]) -> tuple[str, ...]:
    keys = ("operation", "manager", "apiVersion", "subresource")
    return tuple(entry.get(key, "") for key in keys)


def _text(text: str, namespace: str) -> str:
    text = _ADDRESS.sub("<address>", _UUID.sub("<uid>", text))
    return text.replace(namespace, NAMESPACE)


def differences(real: Any, ours: Any, path: str = "") -> list[str]:  # noqa: ANN401 - any JSON
    """Where two answers differ, a line each."""
    if isinstance(real, dict) and isinstance(ours, dict):
        return [
            line
            for key in sorted({*real, *ours})
            for line in differences(real.get(key, _NONE), ours.get(key, _NONE), f"{path}/{key}")
        ]
    if isinstance(real, list) and isinstance(ours, list) and len(real) == len(ours):
        return [
            line
            for index, (one, other) in enumerate(zip(real, ours, strict=True))
            for line in differences(one, other, f"{path}[{index}]")
        ]
    return [] if real == ours else [f"{path}: real {real!r}, sandbox {ours!r}"]


_NONE = "<nothing>"
