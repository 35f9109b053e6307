"""Random sequences of writes end alike on the sandbox and on the real API server."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.support.api_talk import MERGE, ApiTalk, Said
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
        found = _compared(said, self.name)
        # Owners are listed by the second of their last change. Where the clock struck within a
        # sequence, it decides whether an apply that changes nothing counts: not the same on both.
        times = {entry.get("time") for entry in _owners(said.answer)}
        return found if len(times) > 1 else {**found, "counted": moved}

    def clear(self, kind: Kind) -> None:
        """Take the object away, whatever holds it: addresses of Services are few."""
        path = f"{kind.path.replace('NS', NAMESPACE)}/{self.name}"
        self.talk.say("PATCH", path, {"metadata": {"finalizers": None}}, MERGE)
        self.talk.say("DELETE", path)

    def _body(self, ask: Ask) -> Any:  # noqa: ANN401 - any JSON
        if ask.body is None:
            return None
        metadata = {**ask.body["metadata"], "name": self.name}
        if ask.version and self.versions:
            place = -1 if ask.version == "current" else 0
            metadata["resourceVersion"] = self.versions[place]
        return {**ask.body, "metadata": metadata}


def _owners(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.get("metadata", {}).get("managedFields", [])
    return found


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
    if said.status >= HTTPStatus.BAD_REQUEST:
        found.pop("warnings", None)  # a real server may have warned before it refused
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


@pytest.mark.timeout(900)
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
        if "counted" not in expected or "counted" not in answered:
            expected.pop("counted", None)
            answered.pop("counted", None)
        found = differences(expected, answered)
        assert not found, f"{ask.method} {ask.type} {ask.query}: {ask.body}"
    real.clear(kind)
    sandbox.clear(kind)
