"""A Secret that was quoted on its way into a text is masked all the same."""

from __future__ import annotations

import json

import pytest

from gitopsd.kube.redaction import redact_text

YAML = "apiVersion: v1\nkind: Secret\nstringData:\n  key: plain\n"
MANIFEST = {"apiVersion": "v1", "kind": "Secret", "stringData": {"key": "plain"}}


@pytest.mark.parametrize(
    "text",
    [
        YAML,
        repr(YAML),
        repr([repr(YAML)]),
        json.dumps(YAML),
        json.dumps(json.dumps(YAML)),
        str(ValueError(YAML, 1)),
        repr(MANIFEST),
        str(ValueError("failed", MANIFEST)),
        json.dumps(MANIFEST),
        json.dumps(json.dumps(MANIFEST)),
    ],
    ids=range(10),
)
def test_quoting_does_not_hide_a_secret(text: str) -> None:
    """As Python writes it in an exception, and as JSON writes it in a message."""
    redacted = redact_text(text)
    assert "plain" not in redacted
    assert "key" in redacted or "***" in redacted


def test_other_texts_keep_their_quoting() -> None:
    """Escaped ends of lines are undone only where a Secret is quoted."""
    assert redact_text(r"kind: ConfigMap\ndata:\n  key: plain") == (
        r"kind: ConfigMap\ndata:\n  key: plain"
    )
