"""No planted secret appears in any answer, whoever put it where."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import replace
from functools import partial

from gitopsd.domain.manifests import Digest, Health, Json, JsonObject
from gitopsd.domain.runs import Failure, Run, RunId, Step
from gitopsd.domain.stages import Condition, Freeze, Observation, Stall
from gitopsd.domain.verifications import Quarantine, StallReason
from gitopsd.domain.work import (
    AuditEntry,
    Evidence,
    EvidenceKind,
    LiveState,
    Notification,
    RunEvent,
)
from gitopsd.entrypoints.http.api.all_routes import ROUTES
from gitopsd.errors import ConfigError
from gitopsd.store_ports import Transaction
from tests.support.engine_world import STAGING
from tests.support.http_world import Busy, make_busy, serving_world


class Planted:
    """Makes secrets in the disguises in which they really turn up."""

    def __init__(self) -> None:
        self.values: list[str] = []

    def _new(self, prefix: str = "", length: int = 30) -> str:
        value = prefix + secrets.token_hex(length)[:length]
        self.values.append(value)
        return value

    def sentence(self) -> str:
        """A message that holds one secret of each kind."""
        body = base64.b64encode(json.dumps({"sub": self._new()}).encode()).decode().rstrip("=")
        token = f"eyJhbGciOiJIUzI1NiJ9.{body}.{secrets.token_urlsafe(32)}"
        self.values.append(body)
        return (
            f"cannot reach https://ci:{self._new()}@git.example/shop with "
            f"Authorization: Bearer {self._new()} or {self._new('ghp_', 40)} or "
            f"{self._new('glpat-', 26)}, password={self._new()} and {token}"
        )


def plant(tx: Transaction, busy: Busy, planted: Planted) -> None:
    """Put secrets wherever people, clusters and tools could have written them."""
    run = tx.runs.get(RunId(busy.finished))
    stage = tx.stages.get(STAGING)
    assert run is not None
    assert stage is not None
    say = planted.sentence
    tx.runs.save(_failed(run, say()), expected_version=run.version)
    tx.runs.append_event(
        RunEvent(run.id, 0, tx.now, "StepErrored", Step.VERIFY, "Running", say(), _deep(say()))
    )
    for kind in EvidenceKind:
        content: Json = [] if kind is EvidenceKind.GATES else _deep(say())
        tx.runs.put_evidence(Evidence(run.id, Step.VERIFY, kind, tx.now, content, key="planted"))
    live: JsonObject = {"kind": "ConfigMap", "data": {"log": say()}}
    tx.runs.put_live_state(LiveState(run.id, tx.now, (live,), (say(),)))
    changes: Json = {"objects": [{"object": "Secret a/b", "action": "configured", "diff": say()}]}
    tx.runs.put_evidence(
        Evidence(run.id, Step.DIFF, EvidenceKind.CHANGE_SET, tx.now, changes, key="plan")
    )
    tx.stages.save(
        replace(
            stage,
            hold=Condition("alex", say(), tx.now),
            suspended=Condition("alex", say(), tx.now),
            stall=Stall(StallReason.MANUAL, say(), tx.now),
            observation=Observation(Health.DEGRADED, synced=False, message=say(), at=tx.now),
        )
    )
    tx.quarantines.add(
        Quarantine("q-2", STAGING, Digest("sha256:x"), (), run.release, say(), tx.now)
    )
    tx.records.add_freeze(Freeze("f-2", "application:none", "alex", say(), tx.now))
    tx.records.append_audit(AuditEntry(0, tx.now, "alex", "sync", say(), say(), _deep(say())))
    tx.records.add_notification(
        Notification("n-1", "on-deployed", "shop", "staging", say(), tx.now, {"why": say()})
    )
    state = next(iter(tx.refs.page()))
    tx.refs.save(replace(state, problem=say()))


def _failed(run: Run, message: str) -> Run:
    return replace(
        run,
        failure=Failure("Broken", message, Step.VERIFY),
        waiting_for=message,
        version=run.version + 1,
    )


def _deep(text: str) -> dict[str, Json]:
    return {"output": text, "nested": [{"lines": [text, text]}]}


async def test_no_planted_secret_appears_in_any_answer() -> None:
    """Every resource, every list and every probe is read after secrets were put everywhere."""
    planted = Planted()
    async with serving_world() as http:
        busy = await make_busy(http)
        await http.world.store.transact(partial(plant, busy=busy, planted=planted))
        http.problems.append(
            ConfigError(file="a.yaml", path="spec", problem=planted.sentence(), remedy="Mend it")
        )
        values = {
            "app": "shop",
            "stage": "staging",
            "run": busy.finished,
            "release": busy.release,
            "sha": busy.commit,
        }
        answers = {}
        for route in ROUTES:
            if route.method == "GET" and route.path != "/events":
                reply = await http.ask("GET", route.path.format(**values))
                answers[route.path] = reply.text
                assert reply.status == 200, route.path
        for path in ("/health", "/health/ready"):
            answers[path] = (await http.ask("GET", path, token="")).text
        own = list(http.tokens.values())

    assert len(planted.values) >= 50
    leaks = [
        (path, value)
        for path, text in answers.items()
        for value in (*planted.values, *own)
        if value in text
    ]
    assert leaks == []
