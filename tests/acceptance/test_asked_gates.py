"""Gates that ask outside: when they are asked, for whom, and what their answers do.

Real: the engine. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.asked_gates import (
    AskedGate,
    ChecksGate,
    ExternalGate,
    Finding,
    GateObservation,
    Otherwise,
    ProbeAnswer,
    PrometheusGate,
)
from gitopsd.domain.config import ApplicationSpec, StageSpec
from gitopsd.domain.gates import Closed, Open
from gitopsd.domain.metrics import Comparison, Condition
from gitopsd.domain.runs import AbortReason, Phase, Run, RunKind, Step
from gitopsd.engine.actions import ActionDone, ActionRefused
from gitopsd.engine.queries import load_gates
from tests.support.engine_world import (
    APPROVER,
    PRODUCTION,
    World,
    deployment,
    make_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

ONE = "registry.example/api:1"
URL = "https://decide.example/gitopsd"
GATE = ExternalGate(URL, "/secret")
SECOND = timedelta(seconds=1)

OPEN = ProbeAnswer(Finding.MET, "decide.example says open")
CLOSED = ProbeAnswer(Finding.UNMET, "decide.example says closed: the index is being built")
LOST = ProbeAnswer(Finding.INCONCLUSIVE, "decide.example: no complete answer within 10 s")


def guarded(*gates: AskedGate) -> ApplicationSpec:
    """The shop, whose production asks outside."""

    def guard(stage: StageSpec) -> StageSpec:
        return replace(stage, gates=gates or (GATE,)) if stage.after else stage

    return shop_spec(guard)


async def at_gate(world: World) -> Run:
    """Wait until production's next release stands at its Gate, and was asked about."""
    run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    await world.until(lambda: any(one.run == run.id for one in world.prober.asked), "an asking")
    await world.clock.sleep(SECOND)
    return await world.run(run.id)


async def why(world: World, run: Run, gate: str = "external") -> Closed:
    """How a gate of the run is closed."""
    gates = await world.store.read(lambda tx: load_gates(tx, run))
    (found,) = [one.answer for one in gates if one.name == gate]
    assert isinstance(found, Closed)
    return found


async def observed(world: World, run: Run) -> list[GateObservation]:
    """What is stored of the run's answers."""
    return list(await world.store.read(lambda tx: tx.runs.observations(run.id)))


async def test_a_release_waits_for_an_answer_that_opens() -> None:
    """It is asked at once, then each half minute, and leaves its Gate with the answer."""
    world = make_world(guarded())
    world.prober.answer(URL, CLOSED, CLOSED, OPEN)
    async with started(world):
        await world.push("one", deployment(ONE))
        run = await at_gate(world)
        assert (await why(world, run)).reason == CLOSED.sentence
        began = world.clock.now()
        done = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert done.id == run.id
        assert 58 * SECOND < world.clock.now() - began < 90 * SECOND

    assert len(world.prober.asked) == 3
    question = world.prober.asked[0]
    assert (question.stage, question.run, question.plan) == (PRODUCTION, run.id, run.plan)
    assert question.commit == world.head


async def test_who_left_the_gate_is_not_asked_about() -> None:
    """Nothing asks for a run that goes on, or has ended."""
    world = make_world(guarded())
    world.prober.answer(URL, OPEN)
    async with started(world):
        await world.push("one", deployment(ONE))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        asked = len(world.prober.asked)
        await world.clock.sleep(timedelta(hours=1))
        assert len(world.prober.asked) == asked
        backlog = await world.store.read(lambda tx: tx.work.backlog())
        assert "Probe" not in {kind.value for kind in backlog}


async def test_a_refusal_ends_the_run_for_good() -> None:
    """The release is rejected, as by a person, and not tried again."""
    world = make_world(guarded())
    world.prober.answer(URL, ProbeAnswer(Finding.REFUSED, "decide.example says refused: no"))
    async with started(world):
        await world.push("one", deployment(ONE))
        run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.ABORTED)
        await world.clock.sleep(timedelta(minutes=30))
        assert len(await world.runs(PRODUCTION)) == 1
    assert run.failure is not None
    assert run.failure.reason == AbortReason.REJECTED.value
    assert run.failure.message == "external: decide.example says refused: no"


async def test_trouble_opens_nothing_and_is_asked_about_more_rarely() -> None:
    """A service that is away for hours is asked a few dozen times, then opens the Gate."""
    world = make_world(guarded())
    world.prober.answer(URL, LOST)
    async with started(world):
        await world.push("one", deployment(ONE))
        run = await at_gate(world)
        await world.clock.sleep(timedelta(hours=2))
        assert (await world.run(run.id)).step is Step.GATE
        assert 24 <= len(world.prober.asked) <= 32
        (seen,) = await observed(world, run)
        assert seen.troubles == len(world.prober.asked)
        world.prober.answer(URL, OPEN)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_a_person_has_it_asked_at_once() -> None:
    """Without waiting for the pause that trouble has made; after the Gate nothing is asked."""
    world = make_world(guarded())
    world.prober.answer(URL, LOST)
    async with started(world):
        await world.push("one", deployment(ONE))
        run = await at_gate(world)
        await world.clock.sleep(timedelta(hours=1))
        world.prober.answer(URL, OPEN)
        begun = world.clock.now()
        done = await world.actions.retry(APPROVER, run.id)
        assert isinstance(done, ActionDone), done
        assert done.message == f"the gates of {run.id} that ask outside are asked again now"
        await world.until(lambda: _left(world, run), "leaving the Gate")
        assert world.clock.now() - begun < 5 * SECOND
        refused = await world.actions.retry(APPROVER, run.id)
        assert isinstance(refused, ActionRefused)


async def _left(world: World, run: Run) -> bool:
    return (await world.run(run.id)).step is not Step.GATE


async def test_another_question_is_asked_at_once() -> None:
    """What the file says now is asked, also of a run that waits already; old answers are void."""
    other = replace(GATE, url="https://other.example")
    world = make_world(guarded())
    world.prober.answer(URL, CLOSED)
    world.prober.answer(other.url, OPEN)
    async with started(world):
        await world.push("one", deployment(ONE))
        run = await at_gate(world)
        spec = replace(guarded(other), digest="2")
        await world.configure(replace(world.configuration[0], applications={spec.name: spec}))
        begun = world.clock.now()
        await world.until(lambda: _left(world, run), "leaving the Gate")
        assert world.clock.now() - begun < 10 * SECOND
    assert [one.gate for one in world.prober.asked] == [GATE, other]


async def test_two_gates_are_asked_at_their_own_intervals() -> None:
    """Both have to be open at the same moment."""
    rare = replace(GATE, url="https://rare.example", every=timedelta(minutes=5))
    world = make_world(guarded(GATE, rare))
    world.prober.answer(URL, CLOSED)
    world.prober.answer(rare.url, OPEN)
    async with started(world):
        await world.push("one", deployment(ONE))
        run = await at_gate(world)
        await world.clock.sleep(timedelta(minutes=10))
        often = sum(one.gate == GATE for one in world.prober.asked)
        rarely = sum(one.gate == rare for one in world.prober.asked)
        assert (19 <= often <= 22, 2 <= rarely <= 3) == (True, True)
        assert len(await observed(world, run)) == 2
        world.prober.answer(URL, OPEN)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_an_answer_grows_old_while_no_process_runs() -> None:
    """After a night the stored answer counts for nothing: it is asked again first."""
    world = make_world(guarded())
    world.prober.answer(URL, CLOSED)
    async with started(world):
        await world.push("one", deployment(ONE))
        run = await at_gate(world)
    (seen,) = await observed(world, run)
    opened = replace(seen, finding=Finding.MET)
    await world.store.transact(lambda tx: tx.runs.put_observation(opened))
    await world.clock.sleep(timedelta(hours=9))
    async with started(world):
        await world.clock.sleep(timedelta(minutes=5))
        assert (await world.run(run.id)).step is Step.GATE
        assert (await why(world, run)).reason == CLOSED.sentence


async def test_a_release_waits_for_the_checks_of_its_commit() -> None:
    """What is asked names the commit; a check that fails later keeps it closed again."""
    gate = ChecksGate(("ci/test",))
    world = make_world(guarded(gate))
    pending = ProbeAnswer(Finding.UNMET, "ci/test is in_progress on it")
    failed = ProbeAnswer(Finding.FAILED, "ci/test is failure on it: https://ci.example/1")
    world.prober.answer("ci/test", pending, failed, failed, OPEN)
    async with started(world):
        sha = await world.push("one", deployment(ONE))
        run = await at_gate(world)
        assert (await why(world, run, "checks")).reason == pending.sentence
        await world.clock.sleep(40 * SECOND)
        assert (await why(world, run, "checks")).reason == failed.sentence
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
    assert {one.commit for one in world.prober.asked} == {sha}


async def test_a_failed_check_ends_the_run_if_so_configured() -> None:
    """The release is rejected; the next one is asked about on its own."""
    gate = ChecksGate(("ci/test",), on_failure=Otherwise.REFUSE)
    world = make_world(guarded(gate))
    world.prober.answer("ci/test", ProbeAnswer(Finding.FAILED, "ci/test is failure on it"), OPEN)
    async with started(world):
        await world.push("one", deployment(ONE))
        run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.ABORTED)
        assert run.failure is not None
        assert run.failure.message == "checks: ci/test is failure on it"
        await world.push("two", deployment("registry.example/api:2"))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_a_release_waits_for_a_figure() -> None:
    """Bad, unknown, then good; each sentence is there while it holds."""
    gate = PrometheusGate("errors", Condition(Comparison.LESS, 0.05))
    world = make_world(guarded(gate))
    bad = ProbeAnswer(Finding.FAILED, "0.0731 is not < 0.05", "0.0731")
    empty = ProbeAnswer(Finding.INCONCLUSIVE, "the query finds nothing")
    world.prober.answer("errors", bad, empty, ProbeAnswer(Finding.MET, "0.01 is < 0.05", "0.01"))
    async with started(world):
        await world.push("one", deployment(ONE))
        run = await at_gate(world)
        assert (await why(world, run, "prometheus")).reason == bad.sentence
        (seen,) = await observed(world, run)
        assert seen.figure == "0.0731"
        await world.clock.sleep(30 * SECOND)
        assert (await why(world, run, "prometheus")).reason == empty.sentence
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        gates = await world.store.read(lambda tx: load_gates(tx, run))
        assert [one.answer for one in gates if one.name == "prometheus"] == [Open("0.01 is < 0.05")]


async def test_an_unknown_figure_ends_the_run_if_so_configured() -> None:
    """One answer that tells nothing is enough then."""
    gate = PrometheusGate(
        "errors", Condition(Comparison.LESS, 0.05), on_inconclusive=Otherwise.REFUSE
    )
    world = make_world(guarded(gate))
    world.prober.answer("errors", ProbeAnswer(Finding.INCONCLUSIVE, "the query finds nothing"))
    async with started(world):
        await world.push("one", deployment(ONE))
        run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.ABORTED)
        assert run.failure is not None
        assert run.failure.message == "prometheus: the query finds nothing"
