"""``external:`` and ``prometheus:`` in application files, and ``metrics:`` of clusters."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.config_files.live import ConfigurationFiles
from gitopsd.domain.asked_gates import (
    ChecksGate,
    CommitOf,
    ExternalGate,
    Otherwise,
    PrometheusGate,
)
from gitopsd.domain.checks import PrometheusCheck
from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.gate_specs import GateSpec
from gitopsd.domain.metrics import (
    Better,
    Comparison,
    Condition,
    MetricsServer,
    OnEmpty,
    Worsening,
)
from gitopsd.domain.releases import ApplicationName

CLUSTER = """\
apiVersion: gitopsd.io/v1
kind: Cluster
metadata: {{name: one}}
spec: {{inCluster: true{more}}}
"""
APPLICATION = """\
apiVersion: gitopsd.io/v1
kind: Application
metadata: {{name: shop}}
spec:
  source: {{repoURL: https://git.example/shop.git, branch: main}}
  stages:
    - {{name: staging, cluster: one, path: overlays/staging, namespace: shop, gates: [{gate}]}}
"""
METRICS = ", metrics: {url: 'http://prometheus.monitoring:9090'}"


def load(folder: Path, gate: str, cluster: str = METRICS) -> tuple[GateSpec | None, list[str]]:
    """Read a folder with one gate; what it becomes, and what is wrong."""
    (folder / "applications").mkdir()
    (folder / "clusters").mkdir()
    (folder / "secret").write_text("made for this test")
    (folder / "clusters/one.yaml").write_text(CLUSTER.format(more=cluster))
    (folder / "applications/shop.yaml").write_text(APPLICATION.format(gate=gate))
    loaded = ConfigurationFiles(folder).load()
    problems = [f"{one.path}: {one.problem}. {one.remedy}" for one in loaded.errors]
    found = loaded.configuration.applications.get(ApplicationName("shop"))
    return (found.stages[0].gates[0] if found is not None else None), problems


def test_an_external_gate_is_read(tmp_path: Path) -> None:
    """Its secret's file begins at the configuration folder."""
    gate, problems = load(
        tmp_path,
        "{external: {url: 'https://decide.example/x', secretFile: secret, every: 1m, timeout: 3s}}",
    )
    assert not problems
    assert gate == ExternalGate(
        "https://decide.example/x",
        str(tmp_path / "secret"),
        timedelta(minutes=1),
        timedelta(seconds=3),
    )


def test_a_prometheus_gate_is_read(tmp_path: Path) -> None:
    """All that it may say."""
    gate, problems = load(
        tmp_path,
        "{prometheus: {query: 'sum(up{namespace=\"{{ namespace }}\"})', condition: '>= 1',"
        " cluster: one, for: 5m, onEmpty: zero, onFailure: refuse, onInconclusive: refuse,"
        " freshness: 2m, every: 15s, timeout: 5s}}",
    )
    assert not problems
    assert gate == PrometheusGate(
        query='sum(up{namespace="{{ namespace }}"})',
        condition=Condition(Comparison.AT_LEAST, 1.0),
        cluster="one",
        duration=timedelta(minutes=5),
        on_empty=OnEmpty.ZERO,
        on_failure=Otherwise.REFUSE,
        on_inconclusive=Otherwise.REFUSE,
        freshness=timedelta(minutes=2),
        every=timedelta(seconds=15),
        timeout=timedelta(seconds=5),
    )


def test_a_prometheus_gate_says_little_by_default(tmp_path: Path) -> None:
    """The stage's own cluster, now, and waiting for whatever does not open it."""
    gate, problems = load(tmp_path, "{prometheus: {query: up, condition: '< 5e-2'}}")
    assert not problems
    assert gate == PrometheusGate("up", Condition(Comparison.LESS, 0.05))


def test_a_metric_server_is_read(tmp_path: Path) -> None:
    """Files begin at the configuration folder."""
    (tmp_path / "clusters").mkdir()
    for name in ("token", "ca"):
        (tmp_path / name).write_text("made for this test")
    more = ", metrics: {url: 'https://m.example/prom', tokenFile: token, caFile: ca}"
    (tmp_path / "clusters/one.yaml").write_text(CLUSTER.format(more=more))
    loaded = ConfigurationFiles(tmp_path).load()
    assert not loaded.errors
    assert loaded.configuration.clusters["one"].metrics == MetricsServer(
        "https://m.example/prom", str(tmp_path / "token"), "", "", str(tmp_path / "ca")
    )


EXTERNAL = "spec.stages[0].gates[0].external"
PROMETHEUS = "spec.stages[0].gates[0].prometheus"


@pytest.mark.parametrize(
    "gate, problem",
    [
        ("{external: {url: 'https://a.example'}}", f"{EXTERNAL}.secretFile: it is missing"),
        (
            "{external: {url: 'https://me:pw@a.example', secretFile: secret}}",
            f"{EXTERNAL}.url: the address holds credentials",
        ),
        (
            "{external: {url: 'ftp://a.example', secretFile: secret}}",
            f"{EXTERNAL}.url: this is no http or https address",
        ),
        (
            "{external: {url: 'https://a.example', secretFile: gone}}",
            f"{EXTERNAL}.secretFile: secret file",
        ),
        (
            "{external: {url: 'https://a.example', secretFile: secret, every: 1s}}",
            f"{EXTERNAL}.every: a gate is asked each 5 seconds at most",
        ),
        (
            "{external: {url: 'https://a.example', secretFile: secret, timeout: 31s}}",
            f"{EXTERNAL}.timeout: an answer is waited for at most 30 seconds",
        ),
        ("{prometheus: {query: up}}", f"{PROMETHEUS}.condition: it is missing"),
        (
            "{prometheus: {query: up, condition: '0.05'}}",
            f"{PROMETHEUS}.condition: '0.05' is no condition. Write one of < <= > >= == != and",
        ),
        (
            "{prometheus: {query: up, condition: '< 1e999'}}",
            f"{PROMETHEUS}.condition: '< 1e999' is no condition",
        ),
        (
            "{prometheus: {query: up, condition: '=< 1'}}",
            f"{PROMETHEUS}.condition: '=< 1' is no condition",
        ),
        (
            "{prometheus: {query: 'up{a=\"{{ pod }}\"}', condition: '< 1'}}",
            f"{PROMETHEUS}.query: there is no placeholder 'pod'. There are `{{{{ application }}}}`",
        ),
        (
            "{prometheus: {query: '', condition: '< 1'}}",
            f"{PROMETHEUS}.query: the query is empty",
        ),
        (
            "{prometheus: {query: up, condition: '< 1', for: 25h}}",
            f"{PROMETHEUS}.for: a range is a day at most",
        ),
        (
            "{prometheus: {query: up, condition: '< 1', onEmpty: fine}}",
            f"{PROMETHEUS}.onEmpty:",
        ),
        (
            "{prometheus: {query: up, condition: '< 1', cluster: two}}",
            (
                f"{PROMETHEUS}.cluster: cluster two has no `metrics`. "
                "Write `metrics: {url: ...}` in "
                "clusters/two.yaml, or write `cluster:` with one of one"
            ),
        ),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, gate: str, problem: str) -> None:
    """Each names its place and what to write instead; the file is not used."""
    found, problems = load(tmp_path, gate)
    assert found is None
    assert problems[0].startswith(problem), problems


def test_a_cluster_without_metrics_cannot_be_asked(tmp_path: Path) -> None:
    """The remedy is in the cluster's file."""
    found, problems = load(tmp_path, "{prometheus: {query: up, condition: '< 1'}}", cluster="")
    assert found is None
    assert problems == [
        (
            f"{PROMETHEUS}: cluster one has no `metrics`. Write `metrics: {{url: ...}}` in "
            "clusters/one.yaml"
        )
    ]


@pytest.mark.parametrize(
    "metrics, problem",
    [
        ("{url: 'http://m', username: a}", "`username` and `passwordFile` go together"),
        ("{url: 'http://m', passwordFile: a}", "`username` and `passwordFile` go together"),
        (
            "{url: 'http://m', username: a, passwordFile: b, tokenFile: c}",
            "there are two ways to sign in",
        ),
        ("{url: 'http://m', username: 'a:b', passwordFile: b}", "a user name holds no colon"),
        ("{url: m}", "this is no http or https address"),
    ],
)
def test_there_is_one_way_to_sign_in(tmp_path: Path, metrics: str, problem: str) -> None:
    """A bearer token, or a user with a password, or none."""
    (tmp_path / "clusters").mkdir()
    text = CLUSTER.format(more=f", metrics: {metrics}")
    (tmp_path / "clusters/one.yaml").write_text(text)
    (error,) = ConfigurationFiles(tmp_path).load().errors
    assert error.problem == problem


CHANNEL = """\
apiVersion: gitopsd.io/v1
kind: Channel
metadata: {{name: {name}}}
spec: {{type: github, tokenFile: secret, subscriptions: [{{}}]}}
"""
CHECKS = "spec.stages[0].gates[0].checks"


def load_checks(folder: Path, checks: str, *channels: str) -> tuple[GateSpec | None, list[str]]:
    """Read a folder with one gate on checks, and channels of type `github`."""
    (folder / "channels").mkdir()
    for name in channels:
        (folder / f"channels/{name}.yaml").write_text(CHANNEL.format(name=name))
    return load(folder, f"{{checks: {{{checks}}}}}")


def test_a_gate_on_checks_is_read(tmp_path: Path) -> None:
    """All that it may say; a check that is named twice is needed once."""
    gate, problems = load_checks(
        tmp_path,
        "commit: [ci/test, lint, lint], of: application, channel: commits, repository: acme/shop, "
        "accept: [neutral, skipped], onFailure: refuse, every: 1m",
        "commits",
        "others",
    )
    assert not problems
    assert gate == ChecksGate(
        names=("ci/test", "lint"),
        of=CommitOf.APPLICATION,
        channel="commits",
        repository="acme/shop",
        accept=("neutral", "skipped"),
        on_failure=Otherwise.REFUSE,
        every=timedelta(minutes=1),
    )


@pytest.mark.parametrize(
    "checks, channels, problem",
    [
        ("commit: [ci]", [], f"{CHECKS}: there is no channel of type `github` that could sign in"),
        (
            "commit: [ci]",
            ["a", "b"],
            f"{CHECKS}: there are several channels of type `github`. Write `channel:` with one",
        ),
        ("commit: [ci], channel: c", ["a"], f"{CHECKS}.channel: there is no channel 'c' of type"),
        ("commit: []", ["a"], f"{CHECKS}.commit: "),
        ("commit: [' ']", ["a"], f"{CHECKS}.commit[0]: ' ' is no name of a check"),
        (
            "commit: [gitopsd/staging/shop]",
            ["a"],
            f"{CHECKS}.commit[0]: 'gitopsd/staging/shop' is gitopsd's own status, which waits for",
        ),
        (
            "commit: [ci], of: application",
            ["a"],
            f"{CHECKS}: `of: application` needs `repository`",
        ),
        ("commit: [ci], of: image", ["a"], f"{CHECKS}.of: "),
        ("commit: [ci], accept: [failure]", ["a"], f"{CHECKS}.accept[0]: "),
        ("commit: [ci], repository: shop", ["a"], f"{CHECKS}.repository: 'shop' is no repository"),
    ],
)
def test_mistakes_in_checks_are_explained(
    tmp_path: Path, checks: str, channels: list[str], problem: str
) -> None:
    """Also what is missing in other files."""
    found, problems = load_checks(tmp_path, checks, *channels)
    assert found is None
    assert problems[0].startswith(problem), problems


def load_check(folder: Path, check: str) -> tuple[ApplicationSpec | None, list[str]]:
    """Read a folder with one check on metrics."""
    (folder / "applications").mkdir()
    (folder / "clusters").mkdir()
    (folder / "clusters/one.yaml").write_text(CLUSTER.format(more=METRICS))
    text = APPLICATION.format(gate="").replace("gates: []", f"verify: [{{prometheus: {check}}}]")
    (folder / "applications/shop.yaml").write_text(text)
    loaded = ConfigurationFiles(folder).load()
    problems = [f"{one.path}: {one.problem}. {one.remedy}" for one in loaded.errors]
    return loaded.configuration.applications.get(ApplicationName("shop")), problems


def test_a_check_on_metrics_is_read(tmp_path: Path) -> None:
    """All that it may say."""
    found, problems = load_check(
        tmp_path,
        "{name: errors, query: 'up{a=\"{{ release }}\"}', condition: '< 0.05', cluster: one, "
        "compare: {worseThan: 12.5%, better: higher, least: 0.5}, onEmpty: zero, interval: 5s, "
        "count: 12, failureLimit: 2, inconclusiveLimit: 4, timeout: 3s}",
    )
    assert not problems
    assert found is not None
    assert found.stages[0].verify == (
        PrometheusCheck(
            name="errors",
            query='up{a="{{ release }}"}',
            condition=Condition(Comparison.LESS, 0.05),
            worsening=Worsening(0.125, Better.HIGHER, 0.5),
            cluster="one",
            on_empty=OnEmpty.ZERO,
            interval=timedelta(seconds=5),
            count=12,
            failure_limit=2,
            inconclusive_limit=4,
            timeout=timedelta(seconds=3),
        ),
    )


def test_a_check_on_metrics_is_called_by_its_query(tmp_path: Path) -> None:
    """Unless it has a name."""
    found, _ = load_check(tmp_path, "{query: 'sum( up )', compare: {worseThan: 10%}}")
    assert found is not None
    assert found.stages[0].verify[0].name == "sum( up )"


CHECK = "spec.stages[0].verify[0].prometheus"


@pytest.mark.parametrize(
    "check, problem",
    [
        ("{query: up}", f"{CHECK}: nothing is asked of the figure. Write `condition:"),
        (
            "{query: up, condition: '< 1', count: 2, failureLimit: 2}",
            f"{CHECK}: every measurement may be bad. Let `failureLimit` be below `count`",
        ),
        (
            "{query: up, condition: '< 1', interval: 10m, count: 20}",
            f"{CHECK}: the analysis takes longer than two hours",
        ),
        (
            "{query: up, condition: '< 1', interval: 100ms}",
            f"{CHECK}.interval: measurements are 1 second to 10 minutes apart",
        ),
        (
            "{query: 'up{a=\"{{ run }}\"}', compare: {worseThan: 10%}}",
            f"{CHECK}: `{{{{ run }}}}` has no value for what ran before",
        ),
        (
            "{query: up, compare: {worseThan: 0.1}}",
            f"{CHECK}.compare.worseThan: '0.1' is no share. Write per cent, such as `10%`",
        ),
        ("{query: up, compare: {worseThan: 10%, better: best}}", f"{CHECK}.compare.better: "),
        (
            "{query: up, condition: '< 1', cluster: two}",
            f"{CHECK}.cluster: cluster two has no `metrics`",
        ),
        ("{query: up, condition: '< 1', within: 60s}", f"{CHECK}.within: unknown key `within`"),
    ],
)
def test_mistakes_in_a_check_on_metrics_are_explained(
    tmp_path: Path, check: str, problem: str
) -> None:
    """Each names its place and what to write instead."""
    found, problems = load_check(tmp_path, check)
    assert found is None
    assert problems[0].startswith(problem), problems
