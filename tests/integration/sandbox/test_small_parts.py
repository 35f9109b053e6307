"""Records, quantities, addresses, command lines and log lines of the node agent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network

import pytest

from gitopsd.domain.manifests import JsonObject
from gitopsd.errors import TemporaryError
from gitopsd.sandbox.addresses import AddressPool
from gitopsd.sandbox.container import ContainerLog, LogLine
from gitopsd.sandbox.environment import PodAddress, command_line, pod_field
from gitopsd.sandbox.fields import (
    field_at,
    flag_at,
    number_at,
    object_at,
    objects_at,
    text_at,
    text_map_at,
    texts_at,
)
from gitopsd.sandbox.front import private_address
from gitopsd.sandbox.logs_server import LogQuery, parse_query, select_lines, select_log
from gitopsd.sandbox.records import first_records
from gitopsd.sandbox.restarts import Role
from gitopsd.sandbox.status import ContainerRecord, Terminated, Waiting

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LINES = [LogLine(NOW + timedelta(seconds=number), f"line {number}") for number in range(3)]
POD: JsonObject = {
    "metadata": {
        "name": "web-1",
        "namespace": "shop",
        "labels": {"app": "web", "tier": "front"},
        "annotations": {"acme.io/note": "x"},
    },
    "spec": {"nodeName": "node-0"},
}
ADDRESS = PodAddress(pod_ip="10.0.1.2", host_ip="10.0.0.1")


@pytest.mark.parametrize("document", [None, 1, "x", [], {"a": None}, {"a": 7}, {"a": {"b": []}}])
def test_absent_and_odd_fields_read_as_empty(document: object) -> None:
    """No shape of a document that others wrote breaks a reader."""
    value = document
    assert field_at(value, "a", "b", "c") is None  # type: ignore[arg-type]  # odd on purpose
    assert text_at(value, "a", "b", "c", default="d") == "d"  # type: ignore[arg-type]  # see above
    assert number_at(value, "a", "b") == 0  # type: ignore[arg-type]  # see above
    assert not flag_at(value, "a", "b")  # type: ignore[arg-type]  # see above
    assert object_at(value, "a", "b") == {}  # type: ignore[arg-type]  # see above
    assert objects_at(value, "a", "b") == ()  # type: ignore[arg-type]  # see above
    assert texts_at(value, "a", "b") == ()  # type: ignore[arg-type]  # see above
    assert text_map_at(value, "a", "b") == {}  # type: ignore[arg-type]  # see above


def test_true_is_no_number() -> None:
    """JSON's true is not read as one."""
    assert number_at({"a": True}, "a") == 0


def test_addresses_are_given_once_and_reused_late() -> None:
    """Two pods never share an address; the network's own and the node's are never given."""
    pool = AddressPool(IPv4Network("10.0.0.0/29"))
    given = [pool.take() for _ in range(5)]

    assert given == ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    with pytest.raises(TemporaryError, match="--pod-cidr"):
        pool.take()
    pool.give_back("10.0.0.4")
    assert pool.take() == "10.0.0.4"


@pytest.mark.parametrize(
    "wanted, given",
    [
        ("10.0.0.5", "10.0.0.5"),
        ("10.0.0.2", "10.0.0.3"),
        ("10.9.9.9", "10.0.0.3"),
        ("", "10.0.0.3"),
    ],
)
def test_a_wanted_address_is_given_if_it_can_be(wanted: str, given: str) -> None:
    """A pod keeps its address over a restart of the agent, unless it is taken or foreign."""
    pool = AddressPool(IPv4Network("10.0.0.0/29"))
    pool.take()

    assert pool.take(wanted) == given


@pytest.mark.parametrize(
    "pod_ip, private",
    [("10.101.94.7", "127.229.94.7"), ("127.20.0.5", "127.148.0.5"), ("10.148.0.5", "127.20.0.5")],
)
def test_each_pod_has_a_private_loopback_address(pod_ip: str, private: str) -> None:
    """It differs from the pod's own, also where pods live on loopback."""
    assert private_address(pod_ip) == private
    assert private != pod_ip


@pytest.mark.parametrize(
    "container, words",
    [
        ({}, ["python3", "/app.py", "--serve"]),
        ({"args": ["--job"]}, ["python3", "/app.py", "--job"]),
        ({"command": ["sh"]}, ["sh"]),
        ({"command": ["sh"], "args": ["-c", "$(CODE)"]}, ["sh", "-c", "exit 1"]),
    ],
)
def test_command_and_args_replace_the_images(container: JsonObject, words: list[str]) -> None:
    """A pod's command replaces the image's program and arguments, its args the latter alone."""
    found = command_line(container, ("python3", "/app.py"), ("--serve",), {"CODE": "exit 1"})

    assert found == words


@pytest.mark.parametrize(
    "path, value",
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "shop"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['acme.io/note']", "x"),
        ("metadata.labels", 'app="web"\ntier="front"'),
        ("spec.nodeName", "node-0"),
        ("status.podIP", "10.0.1.2"),
        ("status.hostIP", "10.0.0.1"),
    ],
)
def test_a_pod_learns_about_itself(path: str, value: str) -> None:
    """The fields of the downward API."""
    assert pod_field(POD, path, ADDRESS) == value


def test_log_queries_choose_lines() -> None:
    """The last ones, those since a moment, cut at a size, with their times."""
    assert select_lines(LINES, LogQuery()) == b"line 0\nline 1\nline 2\n"
    assert select_lines(LINES, LogQuery(tail_lines=1)) == b"line 2\n"
    assert select_lines(LINES, LogQuery(tail_lines=0)) == b""
    assert select_lines(LINES, LogQuery(tail_lines=9)) == select_lines(LINES, LogQuery())
    since = NOW + timedelta(seconds=2)
    assert select_lines(LINES, LogQuery(since=since)) == b"line 2\n"
    assert select_lines(LINES, LogQuery(limit_bytes=8)) == b"line 0\nl"
    stamped = select_lines(LINES, LogQuery(timestamps=True, tail_lines=1))
    assert stamped == b"2026-03-01T12:00:02.000000000Z line 2\n"


def test_log_queries_are_read() -> None:
    """What the API server asks for is understood; rubbish counts as not said."""
    query = parse_query(
        {"previous": "true", "tailLines": "5", "sinceSeconds": "60", "limitBytes": "x"}, now=NOW
    )

    assert query == LogQuery(previous=True, tail_lines=5, since=NOW - timedelta(minutes=1))
    assert parse_query({"sinceTime": "2026-03-01T12:00:00Z", "follow": "true"}, now=NOW) == (
        LogQuery(follow=True, since=NOW)
    )


def test_a_new_pod_waits() -> None:
    """Init containers come first; what follows waits for them."""
    pod: JsonObject = {
        "spec": {
            "initContainers": [
                {"name": "first", "image": "a"},
                {"name": "proxy", "image": "b", "restartPolicy": "Always"},
            ],
            "containers": [{"name": "web", "image": "c"}],
        }
    }
    records = [record for _, record in first_records(pod, now=NOW)]

    assert [(record.name, record.role) for record in records] == [
        ("first", Role.Init),
        ("proxy", Role.Sidecar),
        ("web", Role.App),
    ]
    assert all(record.state == Waiting("PodInitializing") for record in records)


def test_what_ran_under_an_earlier_agent_has_ended_with_it() -> None:
    """A running container is taken over as one that ended, with its count of restarts."""
    pod: JsonObject = {
        "spec": {"containers": [{"name": "web", "image": "c"}, {"name": "job", "image": "d"}]},
        "status": {
            "containerStatuses": [
                {
                    "name": "web",
                    "restartCount": 2,
                    "containerID": "gitopsd://9",
                    "state": {"running": {"startedAt": "2026-03-01T11:00:00Z"}},
                },
                {
                    "name": "job",
                    "state": {
                        "terminated": {
                            "exitCode": 1,
                            "reason": "Error",
                            "finishedAt": "2026-03-01T11:30:00Z",
                        }
                    },
                },
            ]
        },
    }
    web, job = (record for _, record in first_records(pod, now=NOW))

    began = NOW - timedelta(hours=1)
    assert web.state == Waiting("ContainerCreating")
    assert web.last == Terminated(255, "Unknown", began, NOW, "gitopsd://9")
    assert web.restart_count == 2
    assert isinstance(job.state, Terminated)
    assert job.state.exit_code == 1


@dataclass(frozen=True)
class _Instances:
    """Two instances of a container: one that ended, and the one after it."""

    record: ContainerRecord
    log: ContainerLog
    previous_log: ContainerLog


@pytest.mark.parametrize("begun", [True, False], ids=["next one begun", "waiting"])
def test_the_previous_log_is_of_an_instance_that_ended(*, begun: bool) -> None:
    """A restart that has begun, and is not told yet, does not hide what the last one said."""
    ended = Terminated(1, "Error", NOW, NOW, "gitopsd://1")
    record = ContainerRecord("web", Role.App, "web:1", Waiting("CrashLoopBackOff"), last=ended)
    instances = _Instances(record, ContainerLog(), ContainerLog())
    instances.previous_log.close()
    if not begun:
        instances.log.close()

    found = select_log(instances, "web-1", previous=True)

    assert found is (instances.previous_log if begun else instances.log)
