"""``dependency:`` in application files: what it means, and what can never open."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitopsd.adapters.config_files.gates_model import GateSection
from gitopsd.adapters.config_files.live import ConfigurationFiles, LoadResult, load_configuration
from gitopsd.domain.dependencies import DependencyGate
from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from tests.support.configuration import APPLICATION, applications, write_files

STAGE = "after: [staging]"


def _gate(application: str, stage: str) -> str:
    return f"gates: [{{dependency: {{application: {application}, stage: {stage}}}}}]"


def _load(folder: Path, **asking: str) -> LoadResult:
    """Load applications whose production has these gates, by name."""
    files = applications(*asking)
    for name, gate in asking.items():
        text = APPLICATION.replace("NAME", name)
        files[f"applications/{name}.yaml"] = text.replace(
            STAGE, f"{STAGE}, {gate}" if gate else STAGE
        )
    return load_configuration(write_files(folder, files))


def _said(result: LoadResult) -> list[tuple[str, str, str]]:
    return [(error.file, error.path, error.problem) for error in result.errors]


def test_it_is_read() -> None:
    """Health is asked for unless it is said not to be; a commit only when it is said."""
    key = StageKey(ApplicationName("api"), StageName("production"))
    short = {"application": "api", "stage": "production"}
    gate = GateSection.model_validate({"dependency": short}).to_domain()
    assert gate == DependencyGate(key)
    asked = {**short, "healthy": False, "commit": "same"}
    gate = GateSection.model_validate({"dependency": asked}).to_domain()
    assert gate == DependencyGate(key, healthy=False, same_commit=True)


def test_one_application_may_wait_for_another(tmp_path: Path) -> None:
    """And both ways for different stages, as long as nothing waits for itself."""
    result = _load(tmp_path, api=_gate("web", "staging"), web=_gate("api", "staging"))
    assert _said(result) == []
    gates = result.configuration.applications[ApplicationName("web")].stages[1].gates
    assert gates == (DependencyGate(StageKey(ApplicationName("api"), StageName("staging"))),)


@pytest.mark.parametrize(
    "gate,path,problem",
    [
        (_gate("apo", "production"), "application", "there is no application 'apo'"),
        (_gate("api", "prod"), "stage", "api has no stage 'prod'"),
        (_gate("web", "staging"), "application", "a dependency is on another application"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, gate: str, path: str, problem: str) -> None:
    """The stages of the application itself have other words."""
    place = f"spec.stages[1].gates[0].dependency.{path}"
    assert _said(_load(tmp_path, api="", web=gate)) == [("applications/web.yaml", place, problem)]


def test_a_circle_of_two_is_refused(tmp_path: Path) -> None:
    """One file of it is taken back, the other counts; it says who waits for whom."""
    result = _load(tmp_path, api=_gate("web", "production"), web=_gate("api", "production"))
    assert _said(result) == [
        (
            "applications/api.yaml",
            "spec.stages[1].gates[0].dependency",
            (
                "api/production waits for itself: api/production waits for web/production, "
                "web/production waits for api/production"
            ),
        )
    ]
    assert list(result.configuration.applications) == ["web"]


def test_whoever_closes_a_circle_is_taken_back(tmp_path: Path) -> None:
    """What was valid before counts on, the former version of the changed file too."""
    files = ConfigurationFiles(write_files(tmp_path, applications("api", "web")))
    files.load()
    for name, other in (("api", "web"), ("web", "api")):
        path = tmp_path / "applications" / f"{name}.yaml"
        path.write_text(path.read_text().replace(STAGE, f"{STAGE}, {_gate(other, 'production')}"))
        files.load()
    result = files.load()
    assert "applications/web.yaml" in {file for file, _, _ in _said(result)}
    gates = {
        name: len(spec.stages[1].gates) for name, spec in result.configuration.applications.items()
    }
    assert gates == {"api": 1, "web": 0}


def test_a_removed_application_leaves_those_that_ask_for_it(tmp_path: Path) -> None:
    """It is told; their files count on, and their gates are closed."""
    files = ConfigurationFiles(write_files(tmp_path, applications("api", "web", "docs")))
    files.load()
    path = tmp_path / "applications" / "web.yaml"
    path.write_text(path.read_text().replace(STAGE, f"{STAGE}, {_gate('api', 'production')}"))
    files.load()
    (tmp_path / "applications" / "api.yaml").unlink()
    result = files.load()
    place = "spec.stages[1].gates[0].dependency.application"
    assert _said(result) == [("applications/web.yaml", place, "there is no application 'api'")]
    assert sorted(result.configuration.applications) == ["docs", "web"]


def test_a_circle_over_the_stages_before_is_refused(tmp_path: Path) -> None:
    """Staging waits for a production that waits for this staging."""
    files = applications("api", "web")
    files["applications/api.yaml"] = files["applications/api.yaml"].replace(
        "namespace: api-staging", f"namespace: api-staging, {_gate('web', 'production')}"
    )
    files["applications/web.yaml"] = files["applications/web.yaml"].replace(
        STAGE, f"{STAGE}, {_gate('api', 'production')}"
    )
    assert _said(load_configuration(write_files(tmp_path, files))) == [
        (
            "applications/api.yaml",
            "spec.stages[0].gates[0].dependency",
            (
                "api/staging waits for itself: api/staging waits for web/production, "
                "web/production waits for api/production, api/production waits for api/staging"
            ),
        )
    ]


def test_a_file_that_cannot_be_read_is_not_missed_twice(tmp_path: Path) -> None:
    """What it would define is nobody else's fault."""
    files = applications("api", "web")
    files["applications/api.yaml"] = "nonsense"
    files["applications/web.yaml"] = files["applications/web.yaml"].replace(
        STAGE, f"{STAGE}, {_gate('api', 'production')}"
    )
    said = _said(load_configuration(write_files(tmp_path, files)))
    assert {file for file, _, _ in said} == {"applications/api.yaml"}
