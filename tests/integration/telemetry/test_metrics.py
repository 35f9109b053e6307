"""Metrics as Prometheus reads them."""

from __future__ import annotations

import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gitopsd.adapters.telemetry.metrics import MAX_SERIES, SHAPES, PrometheusTelemetry

RUN = {"application": "shop", "stage": "staging", "kind": "Rollout", "phase": "Failed"}


def _samples(telemetry: PrometheusTelemetry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(telemetry.render().decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def _value(telemetry: PrometheusTelemetry, name: str, **labels: str) -> float:
    return _samples(telemetry)[name, frozenset(labels.items())]


def test_counts_add_up() -> None:
    """Each count is one more, by its labels."""
    telemetry = PrometheusTelemetry()
    for _ in range(3):
        telemetry.count("gitopsd_run_total", **RUN)
    telemetry.count("gitopsd_run_total", **{**RUN, "phase": "Succeeded"})
    assert _value(telemetry, "gitopsd_run_total", **RUN) == 3


def test_durations_have_buckets_that_fit() -> None:
    """Steps take minutes, waits take milliseconds."""
    telemetry = PrometheusTelemetry()
    telemetry.observe("gitopsd_step_duration_seconds", 45.0, step="Apply")
    telemetry.observe("gitopsd_queue_wait_seconds", 0.004)
    assert _value(telemetry, "gitopsd_step_duration_seconds_bucket", step="Apply", le="60.0") == 1
    assert _value(telemetry, "gitopsd_step_duration_seconds_bucket", step="Apply", le="30.0") == 0
    assert _value(telemetry, "gitopsd_queue_wait_seconds_bucket", le="0.005") == 1
    assert _value(telemetry, "gitopsd_queue_wait_seconds_sum") == 0.004


def test_promised_metrics_are_there_from_the_start() -> None:
    """Dashboards find every name before anything happened; the process is measured too."""
    text = PrometheusTelemetry().render().decode()
    for name in (*SHAPES, "gitopsd_app_info", "process_resident_memory_bytes"):
        assert f"# TYPE {name.removesuffix('_total')}" in text


def test_applications_are_as_last_said() -> None:
    """A stage that is gone, or was another release, leaves no series behind."""
    telemetry = PrometheusTelemetry()
    row = {"application": "shop", "stage": "staging", "sync": "Synced", "health": "Healthy"}
    telemetry.set_applications([{**row, "release": "r-1"}])
    telemetry.set_applications([{**row, "release": "r-2"}, {"application": "new"}])
    assert _value(telemetry, "gitopsd_app_info", **row, release="r-2") == 1
    infos = [labels for name, labels in _samples(telemetry) if name == "gitopsd_app_info"]
    assert len(infos) == 2
    telemetry.set_applications([])
    assert not [name for name, _ in _samples(telemetry) if name == "gitopsd_app_info"]


def test_unknown_names_are_made() -> None:
    """A metric that no dashboard was promised counts all the same."""
    telemetry = PrometheusTelemetry()
    telemetry.count("gitopsd_sweeps_failed")
    telemetry.observe("gitopsd_new_seconds", 1.0, part="a")
    assert _value(telemetry, "gitopsd_sweeps_failed_total") == 1
    assert _value(telemetry, "gitopsd_new_seconds_count", part="a") == 1


def test_wrong_use_is_said_once_and_never_raised(caplog: pytest.LogCaptureFixture) -> None:
    """Losing a metric loses nothing else."""
    telemetry = PrometheusTelemetry()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            telemetry.count("gitopsd_run_total", application="shop")
            telemetry.count("gitopsd_queue_wait_seconds")
            telemetry.observe("gitopsd_rollbacks_total", 1, application="a", stage="b", reason="c")
            telemetry.count("not a name")
            telemetry.count("gitopsd_odd", **{"not a label": "x"})
    said = sorted(one.getMessage() for one in caplog.records if one.name.startswith("gitopsd"))
    assert len(said) == 5
    assert said[0].startswith("metric gitopsd_odd is used wrongly: ")
    assert said[1] == "metric gitopsd_queue_wait_seconds is used wrongly: it is no counter"
    assert said[2] == "metric gitopsd_rollbacks_total is used wrongly: it is no histogram"


def test_label_values_cannot_fill_the_memory() -> None:
    """Beyond a bound, new values count together; long and odd ones are cut."""
    telemetry = PrometheusTelemetry()
    for number in range(MAX_SERIES + 50):
        telemetry.count("gitopsd_cluster_requests_total", code=str(number))
    telemetry.count("gitopsd_cluster_requests_total", code="7")
    assert _value(telemetry, "gitopsd_cluster_requests_total", code="other") == 50
    assert _value(telemetry, "gitopsd_cluster_requests_total", code="7") == 2
    telemetry.count(
        "gitopsd_rollbacks_total", application="x" * 500, stage='"\n\\', reason="\udcff"
    )
    labels = {"application": "x" * 100, "stage": '"\n\\', "reason": "?"}
    assert _value(telemetry, "gitopsd_rollbacks_total", **labels) == 1


def test_two_services_do_not_share_metrics() -> None:
    """Each has a registry of its own."""
    one, other = PrometheusTelemetry(), PrometheusTelemetry()
    one.count("gitopsd_run_total", **RUN)
    assert ("gitopsd_run_total", frozenset(RUN.items())) not in _samples(other)


def test_a_report_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Without Sentry a bug is in the log, with its context and without secrets in the message."""
    telemetry = PrometheusTelemetry()
    with caplog.at_level(logging.ERROR):
        telemetry.report(ValueError("password=hunter22"), run="run-1")
    [record] = [one for one in caplog.records if one.name.startswith("gitopsd")]
    assert record.getMessage() == "a bug: ValueError('password=***')"
    assert vars(record)["run"] == "run-1"
    assert record.exc_info is not None


def test_a_reserved_context_does_not_break_the_report(caplog: pytest.LogCaptureFixture) -> None:
    """Names that a log record has itself are set aside."""
    with caplog.at_level(logging.ERROR):
        PrometheusTelemetry().report(ValueError("x"), name="a", message="b", args="c")
    [record] = [one for one in caplog.records if one.name.startswith("gitopsd")]
    assert vars(record)["name_"] == "a"
