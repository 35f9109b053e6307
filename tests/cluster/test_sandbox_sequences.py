"""Random sequences of writes end alike on the sandbox and on the real API server."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.support.api_talk import ApiTalk, Said
from tests.support.bare_sandbox import BareSandbox
from tests.support.recorded_stage import prepare
from tests.support.recorded_writes import differences, heard
from tests.support.write_sequences import Ask, Kind, sequences

if TYPE_CHECKING:
    from tests.support.quiet_control_plane import QuietControlPlane

SEQUENCES = 300
NAMESPACE = "sequences"
_NUMBERS = itertools.count()


@dataclass(slots=True)
class Side:
    """One server during one sequence.

    Attributes:
        talk: The conversation.
        name: The object's.
        versions: The versions that the object had, as this server counts them.
    """

    talk: ApiTalk
    name: str
    versions: list[str] = field(default_factory=list)

    def ask(self, kind: Kind, ask: Ask) -> dict[str, Any]:
        """Send a request; returns the answer as it is compared, and if the version moved."""
        place = kind.path.replace("NS", NAMESPACE)
        path = f"{place}/{self.name}{ask.query}" if ask.named else f"{place}{ask.query}"
        said = self.talk.say(ask.method, path, self._body(ask), ask.type)
        version = said.answer.get("metadata", {}).get("resourceVersion", "")
        moved = bool(version) and self.versions[-1:] != [version]
        if moved and "dryRun" not in ask.query:
            self.versions.append(version)
        return {**_compared(said, self.name), "counted": moved}

    def _body(self, ask: Ask) -> Any:  # noqa: ANN401 - any JSON
        if ask.body is None:
            return None
        metadata = {**ask.body["metadata"], "name": self.name}
        if ask.version and self.versions:
            place = -1 if ask.version == "current" else 0
            metadata["resourceVersion"] = self.versions[place]
        return {**ask.body, "metadata": metadata}


def _compared(said: Said, name: str) -> dict[str, Any]:
    """An answer without what may differ: names, times, and the order that nobody promises."""
    found = heard(said, NAMESPACE)
    answer = found["answer"]
    if "deletionTimestamp" in answer.get("metadata", {}):
        answer["metadata"]["deletionTimestamp"] = "<time>"
    causes = answer.get("details", {}).get("causes")
    if causes:
        # A real server walks its maps in random order, and complains of some things twice.
        answer["details"]["causes"] = sorted({json.dumps(cause) for cause in causes})
        if answer["reason"] == "Invalid":
            answer["message"] = ""
    plain: dict[str, Any] = _renamed(found, name)
    return plain


def _renamed(value: Any, name: str) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {key: _renamed(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, name) for item in value]
    return value.replace(name, "<name>") if isinstance(value, str) else value


@pytest.fixture(scope="module")
def talks(quiet_cluster: QuietControlPlane) -> Iterator[tuple[ApiTalk, ApiTalk]]:
    """A conversation with the real API server, and one with the sandbox's."""
    with (
        ApiTalk(quiet_cluster.client) as real,
        BareSandbox() as server,
        ApiTalk(server.client) as sandbox,
    ):
        for talk in (real, sandbox):
            prepare(talk.say, NAMESPACE)
        yield real, sandbox


@settings(
    max_examples=SEQUENCES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(sequence=sequences())
def test_random_sequences_are_answered_alike(
    talks: tuple[ApiTalk, ApiTalk], sequence: tuple[Kind, list[Ask]]
) -> None:
    """Status, reason, object and owners of every answer agree, and when a version is counted."""
    kind, asks = sequence
    name = f"s{next(_NUMBERS)}"
    real, sandbox = (Side(talk, name) for talk in talks)
    for ask in asks:
        expected, answered = real.ask(kind, ask), sandbox.ask(kind, ask)
        found = differences(expected, answered)
        assert not found, f"{ask.method} {ask.type} {ask.query}: {ask.body}"
