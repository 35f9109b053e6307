"""Change sets as text."""

from __future__ import annotations

import pytest

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.entrypoints.http.api.runs import write_diff
from gitopsd.entrypoints.http.models import to_json


@pytest.mark.parametrize("plan", [None, {}, {"objects": "no list"}, {"objects": []}])
def test_nothing_to_show(plan: JsonObject | None) -> None:
    """No change set, or an unreadable one, is an empty text."""
    assert write_diff(plan) == ""


def test_each_object_with_its_fields_below() -> None:
    """What stays as it is is left out; notes stand in parentheses; secrets are masked."""
    plan: JsonObject = {
        "objects": [
            {"object": "Deployment a/b", "action": "configured", "diff": "- x: 1\n+ x: 2"},
            {"object": "Service a/b", "action": "unchanged", "diff": ""},
            {"object": "ConfigMap a/c", "action": "pruned", "note": "left Git"},
            {"object": "ConfigMap a/d", "action": "created", "diff": "+ password: hunter2hunter2"},
            "nonsense",
        ]
    }

    text = write_diff(plan)

    assert text.startswith(
        "configured Deployment a/b\n  - x: 1\n  + x: 2\npruned ConfigMap a/c  (left Git)\n"
    )
    assert "hunter2" not in text
    assert "Service" not in text


def test_hooks_are_said_first() -> None:
    """Who approves sees what runs before, within and after."""
    plan: JsonObject = {"objects": [], "hooks": ["PreSync: Job a/migrate"]}

    assert write_diff(plan) == "runs PreSync: Job a/migrate"


def test_stored_values_are_copied_redacted() -> None:
    """Every text at any depth, keys as text, unknown things as nothing."""
    value: Json = {"a": ["token=abcdefghijklmnop", 1, 2.5, True, None], "b": {"c": ("x",)}}

    assert to_json(value) == {"a": ["token=***", 1, 2.5, True, None], "b": {"c": ["x"]}}
