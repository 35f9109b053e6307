"""What is said of checks wherever they are configured."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gitopsd.domain.checks import (
    Check,
    CommandCheck,
    DnsCheck,
    Endpoint,
    GrpcCheck,
    HttpCheck,
    HttpListCheck,
    JobCheck,
    TcpCheck,
    TlsCheck,
    compute_longest,
    find_object,
)

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    "check, asked",
    [
        (HttpCheck("a", service="api", port="http"), "Service shop/api"),
        (HttpCheck("a", service="api", namespace="other"), "Service other/api"),
        (HttpCheck("a", url="https://api.example/"), ""),
        (HttpListCheck("a", (HttpCheck("/", service="api"),)), "Service shop/api"),
        (TcpCheck("a", Endpoint(5432, service="db")), "Service shop/db"),
        (TlsCheck("a", Endpoint(443, service="web", namespace="edge")), "Service edge/web"),
        (GrpcCheck("a", Endpoint(443, host="api.example")), ""),
        (DnsCheck("a", "api.example"), ""),
        (JobCheck("a", "smoke"), "Job shop/smoke"),
        (CommandCheck("a", ("true",), workload="Deployment/api"), "Deployment shop/api"),
        (CommandCheck("a", ("true",), selector={"app": "api"}), ""),
    ],
)
def test_a_check_names_what_it_asks(check: Check, asked: str) -> None:
    """Objects of the cluster are named with their namespace, the stage's where none is given."""
    assert find_object(check, "shop") == asked


def test_a_service_is_found_by_its_name_in_the_cluster() -> None:
    """A host is taken as it is written."""
    assert Endpoint(80, service="api").find_host("shop") == "api.shop.svc"
    assert Endpoint(80, service="api", namespace="other").find_host("shop") == "api.other.svc"
    assert Endpoint(80, host="api.example").find_host("shop") == "api.example"


@pytest.mark.parametrize(
    "endpoint, said",
    [
        (Endpoint(80, service="api"), "api:80"),
        (Endpoint(443, host="api.example"), "api.example:443"),
        (Endpoint(443, host="2001:db8::1"), "[2001:db8::1]:443"),
    ],
)
def test_an_endpoint_is_said_in_a_word(endpoint: Endpoint, said: str) -> None:
    """Addresses with colons get brackets."""
    assert endpoint.say() == said


def test_the_time_of_a_job_is_added_to_the_time_for_trying_again() -> None:
    """Other checks end within theirs."""
    assert compute_longest(HttpCheck("a", within=2 * MINUTE, timeout=MINUTE)) == 2 * MINUTE
    assert compute_longest(JobCheck("a", "smoke", timeout=3 * MINUTE)) == 3 * MINUTE
    job = JobCheck("a", "smoke", within=MINUTE, timeout=3 * MINUTE, successes=2)
    assert compute_longest(job) == 7 * MINUTE
