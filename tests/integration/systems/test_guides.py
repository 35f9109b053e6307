"""What the guides of the five systems say stands in manifests and in gitopsd's configuration."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gitopsd.adapters.config_files.live import load_configuration
from gitopsd.domain.releases import ApplicationName
from gitopsd.domain.work import Notification
from gitopsd.engine.notifications import concerns
from tests.support.guide_facts import (
    EXAMPLES,
    MANIFESTS,
    Fact,
    FactError,
    Guide,
    Setting,
    find_value,
    list_systems,
    load_guide,
    read_application,
    render,
)

SYSTEMS = ("agents-framework", "ai-companion", "ai-core", "eterna-rules", "jewelry-invoice-bot")
FEWEST_ROWS = 40
FEWEST_SETTINGS = 8
SHORTEST_REASON_WORDS = 4
GROUP_EXAMPLE = "storefront"
"""An example of stages in a group, without a guide."""


def test_all_five_systems_have_all_that_belongs_to_them() -> None:
    """Manifests with overlays, an application file and facts; nobody else has more than a file."""
    with_overlays = {path.parents[2].name for path in MANIFESTS.glob("*/overlays/*/kustom*.yaml")}
    with_application = {path.stem for path in (EXAMPLES / "applications").glob("*.yaml")}
    assert set(list_systems()) == set(SYSTEMS)
    assert with_overlays == set(SYSTEMS)
    assert with_application - {GROUP_EXAMPLE} == set(SYSTEMS)


@pytest.fixture(params=list_systems())
def guide(request: pytest.FixtureRequest) -> Guide:
    """The facts of each system in turn."""
    return load_guide(request.param)


def test_every_fact_of_a_guide_stands_in_what_is_rendered(guide: Guide) -> None:
    """Objects, figures, probes, limits and what differs between overlays are as the guide says."""
    wrong = [fact.check(render(guide.system, fact.overlay)) for fact in guide.facts]
    assert [problem for problem in wrong if problem] == []


def test_what_a_guide_says_about_releases_stands_in_the_application_file(guide: Guide) -> None:
    """Stages, sources, deadlines, checks, gates and the watch are as the guide says."""
    application = read_application(guide.system)
    wrong = [setting.check(application) for setting in guide.settings]
    assert [problem for problem in wrong if problem] == []


def test_people_are_told_as_their_guide_wants(guide: Guide) -> None:
    """The example channels hear of it, as gitopsd itself decides who hears of what."""
    found = load_configuration(EXAMPLES, check_secrets=False).configuration
    application = found.applications[ApplicationName(guide.system)]
    unheard = [
        call
        for call in guide.calls
        if not any(
            channel.type.value == call.channel
            and concerns(channel, _about(guide.system, call.trigger), dict(application.labels))
            for channel in found.channels.values()
        )
    ]
    assert guide.calls
    assert unheard == []


def _about(system: str, trigger: str) -> Notification:
    """A notification about a system, as far as subscriptions read it."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Notification("one", trigger, system, "", "", at)


def test_enough_of_a_guide_is_written_down(guide: Guide) -> None:
    """At least forty facts, none twice; whatever stands nowhere has a reason."""
    assert guide.rows >= FEWEST_ROWS
    assert len(guide.settings) >= FEWEST_SETTINGS
    places = [setting.path for setting in guide.settings]
    assert sorted({one for one in places if places.count(one) > 1}) == []
    said = [
        (fact.overlay, fact.target, fact.path, str(fact.wanted) if fact.saying != "value" else "")
        for fact in guide.facts
    ]
    assert sorted({one for one in said if said.count(one) > 1}) == []
    assert [one for one in guide.left_out if len(one.reason.split()) < SHORTEST_REASON_WORDS] == []


def test_every_overlay_of_a_system_has_facts(guide: Guide) -> None:
    """No overlay is left unread."""
    overlays = MANIFESTS / guide.system / "overlays"
    there = {path.parent.name for path in overlays.glob("*/kustomization.yaml")}
    assert there == {fact.overlay for fact in guide.facts}


OBJECT = {
    "kind": "Deployment",
    "metadata": {"name": "api", "namespace": "shop", "labels": {"a.b/c": "1"}},
    "spec": {
        "replicas": 3,
        "containers": [{"name": "api", "image": "one"}, {"name": "side", "image": "two"}],
        "metrics": [{"resource": {"name": "cpu", "target": 70}}],
    },
}


@pytest.mark.parametrize(
    "path, value",
    [
        ("spec.replicas", 3),
        ("metadata.labels[a.b/c]", "1"),
        ("spec.containers[1].image", "two"),
        ("spec.containers[name=side].image", "two"),
        ("spec.metrics[resource.name=cpu].resource.target", 70),
    ],
)
def test_a_path_finds_its_value(path: str, value: object) -> None:
    """By key, key with dots, index, and by what an item of a list holds."""
    assert find_value(OBJECT, path) == value


@pytest.mark.parametrize(
    "path, saying, wanted",
    [
        ("spec.replicas", "value", 4),
        ("spec.replicas", "value", "3"),
        ("spec.replicas", "contains", "3"),
        ("spec.replicas", "absent", True),
        ("spec.strategy", "value", None),
        ("spec.containers[name=other].image", "value", "one"),
        ("spec.containers[9].image", "value", "one"),
        ("", "absent", True),
    ],
)
def test_a_fact_that_does_not_hold_is_told(path: str, saying: str, wanted: object) -> None:
    """A wrong figure, a figure as text, something that is missing, something that is there."""
    fact = Fact("production", ("Deployment", "", "api"), path, saying, wanted, 1)
    assert "line 1 of the guide" in fact.check([OBJECT])


@pytest.mark.parametrize(
    "path, wanted",
    [
        ("stages[name=production].certify", "60s"),
        ("stages[name=production].rollback.deadline", "180s"),
        ("stages[name=canary].certify", "30s"),
    ],
)
def test_a_setting_that_does_not_hold_is_told(path: str, wanted: str) -> None:
    """Another duration, none at all, and a stage that is not there."""
    application = {"spec": {"stages": [{"name": "production", "certify": "30s"}]}}
    assert "line 1 of the guide" in Setting(path, "value", wanted, 1).check(application)


def test_a_fact_about_another_object_is_told() -> None:
    """An object that is not rendered, and a name that two objects have."""
    assert "no such object" in Fact("p", ("Deployment", "", "web"), "", "", None, 1).check([OBJECT])
    elsewhere = Fact("p", ("Deployment", "other", "api"), "", "", None, 1)
    assert "no such object" in elsewhere.check([OBJECT])
    with pytest.raises(FactError, match="KIND/NAMESPACE"):
        Fact("p", ("Deployment", "", "api"), "", "", None, 1).check([OBJECT, OBJECT])


def test_a_path_that_is_none_is_refused() -> None:
    """So that a misspelt row is no fact that holds."""
    with pytest.raises(FactError, match="no path"):
        find_value(OBJECT, "spec.[")
