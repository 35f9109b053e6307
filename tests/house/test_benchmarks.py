"""The benchmarks' own parts: figures, audit log, process trees, floods."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from benchmarks.audit import find_first_writes, find_last_write, parse_audit
from benchmarks.bare_receiver import build_app
from benchmarks.figures import (
    Measured,
    Requirement,
    compute_p50,
    compute_p95,
    compute_ratio,
    summarise,
)
from benchmarks.flood import BODY_BYTES, make_body, make_request, send_flood
from benchmarks.many_objects import OBJECTS as MANY
from benchmarks.many_objects import ManyObjects
from benchmarks.memory import name_command, parse_pss, select_tree
from benchmarks.monorepo import OBJECTS, Monorepo
from benchmarks.patch_loop import LoopFailedError, PatchLoop, path_of
from benchmarks.records import save_result
from gitopsd.adapters.cluster.connections import Connection
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.sources import GitPush, ReceiverType
from gitopsd.webhooks.receivers import parse_delivery

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
USER = "system:serviceaccount:gitopsd:gitopsd"


@pytest.mark.parametrize(
    "values, p50, p95",
    [
        ([7.0], 7.0, 7.0),
        ([1.0, 3.0], 2.0, 2.9),
        ([5.0, 1.0, 3.0], 3.0, 4.8),
        ([float(number) for number in range(1, 31)], 15.5, 28.55),
        ([float(number) for number in range(101)], 50.0, 95.0),
    ],
)
def test_percentiles(values: list[float], p50: float, p95: float) -> None:
    """The median is the middle; the 95th percentile lies between its neighbours."""
    assert compute_p50(values) == pytest.approx(p50)
    assert compute_p95(values) == pytest.approx(p95)


def test_a_ratio_above_one_is_better_than_the_reference() -> None:
    """Half the time of the reference is a ratio of two, by medians."""
    assert compute_ratio([4.0, 100.0, 3.0], [2.0, 1.0, 50.0]) == 2.0


@pytest.mark.parametrize("ours", [[], [0.0]])
def test_nothing_is_no_figure(ours: list[float]) -> None:
    """Without measurements, or with a median of zero, there is no ratio."""
    with pytest.raises(ValueError, match=r"measured|compared"):
        compute_ratio([1.0], ours)


@pytest.mark.parametrize("ours, ok", [(9.0, True), (10.0, True), (11.0, False)])
def test_a_summary_says_whether_the_requirement_is_met(ours: float, *, ok: bool) -> None:
    """Against a limit of ten, up to ten passes."""
    result = summarise("it", Measured("s", [ours], [10.0], "the limit"))

    assert (result["ok"], result["p50"], result["reference_p50"]) == (ok, ours, 10.0)
    assert result["rounds"] == 1


@pytest.mark.parametrize(
    "further, ok",
    [
        (Requirement("speed", 2.0, 2.0), True),
        (Requirement("speed", 1.9, 2.0), False),
        (Requirement("writes", 0.0, 0.0, at_most=True), True),
        (Requirement("writes", 1.0, 0.0, at_most=True), False),
    ],
)
def test_every_requirement_counts(further: Requirement, *, ok: bool) -> None:
    """A ratio that is good enough does not make up for another figure that is not."""
    result = summarise("it", Measured("s", [1.0], [10.0], "it", further=(further,)))
    requirements = result["requirements"]

    assert result["ok"] is ok
    assert isinstance(requirements, dict)
    limit = "at_most" if further.at_most else "at_least"
    assert requirements[further.name] == {"value": further.value, limit: further.limit, "ok": ok}


def test_a_result_is_kept_as_json(tmp_path: Path) -> None:
    """The file holds what was printed."""
    path = save_result("it", {"benchmark": "it", "p50": 1.0}, tmp_path / "results")

    assert json.loads(path.read_text()) == {"benchmark": "it", "p50": 1.0}
    assert path.name == "it.json"


def event(seconds: float, **changes: object) -> dict[str, Any]:
    """Make an audit event whose request took a tenth of a second."""
    at = NOON + timedelta(seconds=seconds)
    found: dict[str, Any] = {
        "stage": "ResponseComplete",
        "requestReceivedTimestamp": at.isoformat().replace("+00:00", "Z"),
        "stageTimestamp": (at + timedelta(seconds=0.1)).isoformat().replace("+00:00", "Z"),
        "verb": "patch",
        "requestURI": "/api/v1/namespaces/shop/configmaps/a?fieldManager=gitopsd&force=true",
        "objectRef": {"resource": "configmaps", "namespace": "shop", "name": "a"},
        "user": {"username": USER},
        "responseStatus": {"code": 200},
    }
    return found | changes


def test_the_last_write_is_the_last_that_changed_something() -> None:
    """Reads, dry-runs, refusals, others' writes, other namespaces and earlier ones do not count."""
    events = [
        event(-1),
        event(1),
        event(2, objectRef={"resource": "deployments", "namespace": "shop", "name": "last"}),
        event(3, verb="get"),
        event(4, requestURI="/api/v1/namespaces/shop/configmaps/a?dryRun=All"),
        event(5, responseStatus={"code": 409}),
        event(6, user={"username": "system:kube-scheduler"}),
        event(7, objectRef={"resource": "configmaps", "namespace": "gitopsd", "name": "a"}),
        event(8, stage="RequestReceived"),
    ]

    last = find_last_write(parse_audit(events), namespace="shop", user=USER, since=NOON)

    assert last is not None
    assert last.name == "last"
    assert last.answered_at == NOON + timedelta(seconds=2.1)


def test_no_write_is_none() -> None:
    """When nothing was written there is no last write."""
    requests = parse_audit([event(1, verb="list")])

    assert find_last_write(requests, namespace="shop", user=USER, since=NOON) is None


def test_a_tree_has_children_of_children_and_no_strangers() -> None:
    """A process, what it started, and what that started."""
    parents = [(10, 1), (11, 10), (12, 11), (20, 1), (21, 20)]

    assert select_tree(10, parents) == {10, 11, 12}


def test_the_proportional_size_is_read() -> None:
    """``Pss`` is read, and not ``Pss_Anon`` or ``Rss``."""
    text = "Rss:   9000 kB\nPss:       1234 kB\nPss_Anon:  1000 kB\n"

    assert parse_pss(text) == 1234
    with pytest.raises(ValueError, match="no line Pss"):
        parse_pss("Rss: 1 kB\n")


def test_the_monorepo_has_what_it_says() -> None:
    """500 overlays of four objects; a change is one literal of one overlay."""
    repo = Monorepo("registry.example/api@sha256:1")
    files = repo.files()
    overlays = [path for path in files if path.endswith("overlays/production/kustomization.yaml")]
    before, after = files[f"{repo.overlay(3)}/kustomization.yaml"], repo.change(3, "7")

    assert len(overlays) == 500
    assert (
        sum("kind:" in text for path, text in files.items() if path.startswith("apps/app-003/base"))
        == OBJECTS - 1
    )
    assert list(after) == [f"{repo.overlay(3)}/kustomization.yaml"]
    assert [
        pair
        for pair in zip(before.split(), next(iter(after.values())).split(), strict=True)
        if pair[0] != pair[1]
    ] == [("LITERAL=0]", "LITERAL=7]")]


def test_the_large_overlay_has_what_it_says() -> None:
    """2,000 objects, of which another release changes 100 and a touched file none."""
    what = ManyObjects("registry.example/api@sha256:1")
    files, change, touched = what.files(), what.change(), what.touch()
    kinds = [line for text in files.values() for line in text.splitlines() if "kind:" in line]
    changed = [
        old != new
        for path, text in change.items()
        for old, new in zip(files[path].split("---"), text.split("---"), strict=True)
    ]

    assert len(kinds) == MANY
    assert (len(changed), all(changed)) == (what.changing, True)
    assert what.changing == MANY // 20
    assert [(path, text.partition("\n")[2]) for path, text in touched.items()] == [
        next(iter(change.items()))
    ]


async def test_the_loop_applies_each_object_once() -> None:
    """At its own address, with our bytes; a refusal ends it."""
    seen: dict[str, object] = {}

    async def answer(request: web.Request) -> web.Response:
        if request.method == "PATCH":
            assert request.path not in seen
            seen[request.path] = await request.json()
        return web.json_response({}, status=403 if request.path.endswith("/bad") else 200)

    def settings(name: str) -> JsonObject:
        metadata: JsonObject = {"name": name, "namespace": "shop"}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    connection = Connection(f"http://127.0.0.1:{runner.addresses[0][1]}", None)
    objects = [settings(f"settings-{number}") for number in range(50)]
    try:
        async with ClientSession() as session:
            loop = PatchLoop(connection, session)
            seconds = await loop.run(objects)
            sent = dict(seen)
            with pytest.raises(LoopFailedError, match="403"):
                await loop.run([settings("bad")])
    finally:
        await runner.cleanup()

    assert seconds > 0
    assert sent == {path_of(obj): obj for obj in objects}
    assert path_of({**settings("a"), "apiVersion": "apps/v1", "kind": "Deployment"}) == (
        "/apis/apps/v1/namespaces/shop/deployments/a"
    )


def test_a_command_is_named_without_the_places_of_a_machine() -> None:
    """Results are committed: they tell what ran, not where."""
    words = [
        "/some/where/bin/python",
        "-m",
        "gitopsd",
        "serve",
        "--info",
        "/some/where/info.json",
        "",
    ]

    assert name_command(words) == "python -m gitopsd serve --info info.json"


def test_each_restored_object_counts_by_its_first_write() -> None:
    """What is written again later was accepted before; others' writes and earlier ones do not."""
    service = {"resource": "services", "namespace": "shop", "name": "api"}
    events = [
        event(-1, objectRef=service),
        event(1),
        event(2, objectRef=service, responseStatus={"code": 500}),
        event(3, objectRef=service),
        event(4),
        event(5, objectRef={**service, "name": "other"}, user={"username": "someone"}),
    ]

    found = find_first_writes(parse_audit(events), namespace="shop", user=USER, since=NOON)

    assert found == {
        "configmaps/a": NOON + timedelta(seconds=1.1),
        "services/api": NOON + timedelta(seconds=3.1),
    }


def test_deliveries_of_a_flood_are_as_github_sends_them() -> None:
    """Of the size that is told, all unlike, signed over their bytes, and understood."""
    made = [
        make_body("http://git.example", "shop.git", "a" * 40, seed=seed, size=size)
        for seed, size in (("1", BODY_BYTES), ("2", BODY_BYTES), ("1", 30_000))
    ]
    request = make_request("http://127.0.0.1:1/hooks/github", made[0], b"a secret")
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line.decode().partition(": ") for line in head.split(b"\r\n")[1:]]
    headers = {name.lower(): value for name, _, value in lines}

    assert [len(one) for one in made] == [BODY_BYTES, BODY_BYTES, 30_000]
    assert len(set(made)) == len(made)
    assert head.startswith(b"POST /hooks/github HTTP/1.1\r\n")
    assert headers["content-length"] == str(BODY_BYTES)
    received = parse_delivery(ReceiverType.GITHUB, headers, body, [b"a secret"], NOON)
    assert isinstance(received, GitPush)
    assert (received.ref, received.after) == ("refs/heads/main", "a" * 40)


async def test_a_flood_is_answered_request_by_request() -> None:
    """Every request is answered once, whichever connection it went over; time is measured."""
    app = build_app(b"a secret")
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/github"
    good = [make_request(url, b"%d" % number, b"a secret") for number in range(20)]
    bad = [make_request(url, b"%d" % number, b"another") for number in range(3)]
    try:
        flood = await send_flood(url, [*good, *bad], ["127.0.0.1", "127.0.1.1"])
    finally:
        await runner.cleanup()

    assert flood.statuses == {202: 20, 401: 3}
    assert len(flood.answer_seconds) == 23
    assert 0 < max(flood.answer_seconds) <= flood.seconds
