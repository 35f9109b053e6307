"""Fault switches: which requests they concern, and what is said of those that make no sense."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gitopsd.sandbox.api.fault_forms import FaultError, parse_fault
from gitopsd.sandbox.api.faults import Facts, Faults

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer

LIST = Facts("list", "/api/v1/pods", "agent", "somebody")
HEARTBEAT = Facts("patch", "/apis/coordination.k8s.io/leases/x", "node", "system:node:x", own=True)


def switched_on(*wanted: dict[str, Any]) -> Faults:
    """Some switches."""
    faults = Faults()
    for item in wanted:
        faults.add(parse_fault(item))
    return faults


def test_the_first_fault_that_concerns_a_request_decides() -> None:
    """A counted one steps aside when it is used up."""
    faults = switched_on(
        {"match": {"path": "pods"}, "code": 500, "count": 1},
        {"match": {"verb": "list, watch"}, "code": 503},
    )

    codes = [getattr(faults.claim(LIST), "code", None) for _ in range(3)]

    assert codes == [500, 503, 503]
    assert faults.claim(Facts("get", "/api/v1/pods", "agent", "somebody")) is None


def test_the_clusters_own_node_is_let_alone_unless_it_is_named() -> None:
    """A switch with a count is not used up by a heartbeat, and an outage loses no node."""
    assert switched_on({"code": 503, "count": 1}).claim(HEARTBEAT) is None
    assert switched_on({"match": {"verb": "patch"}, "hang": True}).claim(HEARTBEAT) is None
    named = switched_on({"match": {"user": "^system:node:"}, "code": 503})
    assert named.claim(HEARTBEAT) is not None


def test_a_switch_is_shown_as_it_was_written(quiet_server: SandboxServer) -> None:
    """Number, match and all parts of the answer."""
    wanted = {
        "match": {"path": "^/none", "verb": ["patch"]},
        "code": 429,
        "reason": "Slow",
        "message": "come back",
        "retryAfter": 1.5,
        "delay": 0.5,
        "count": 2,
    }
    number = quiet_server.add_fault(wanted)

    assert quiet_server.faults() == [{"id": number, **wanted}]


@pytest.mark.parametrize(
    "wanted, said",
    [
        ([], "a fault is a JSON object"),
        ({}, "this does nothing: give code, delay, drop or hang"),
        ({"match": {"path": "/api"}}, "this does nothing"),
        ({"cod": 1}, "unknown fields: cod. Known are: match, code"),
        ({"match": {"verbs": 1}}, "unknown fields: match.verbs"),
        ({"match": "patch", "code": 500}, "match is an object with verb, path"),
        ({"match": {"verb": ["nix"]}, "code": 500}, "match.verb: nix: known verbs are get, list"),
        ({"match": {"verb": 1}, "code": 500}, "match.verb is a verb or a list of verbs"),
        ({"match": {"path": 7}, "code": 500}, "match.path is a text"),
        ({"match": {"path": "("}, "code": 500}, "match.path is no regular expression"),
        ({"code": "503"}, "code is a whole number from 400 to 599"),
        ({"code": True}, "code is a whole number from 400 to 599"),
        ({"code": 200}, "code is a whole number from 400 to 599"),
        ({"code": 503.5}, "code is a whole number from 400 to 599"),
        ({"code": 503, "count": 0}, "count is a whole number from 1"),
        ({"code": 503, "count": 1.5}, "count is a whole number from 1"),
        ({"delay": "1s"}, "delay is a number of seconds from 0 to 86400"),
        ({"delay": -1}, "delay is a number of seconds from 0 to 86400"),
        ({"delay": 1e300}, "delay is a number of seconds from 0 to 86400"),
        ({"code": 503, "retryAfter": -3}, "retryAfter is a number of seconds"),
        ({"drop": "yes"}, "drop is true or false"),
        ({"drop": True, "code": 503}, "code, drop and hang exclude each other"),
        ({"hang": True, "drop": True}, "code, drop and hang exclude each other"),
        ({"delay": 1, "message": "x"}, "reason, message and retryAfter are parts of an answer"),
        ({"code": 503, "message": 1}, "message is a text"),
    ],
)
def test_a_switch_that_makes_no_sense_is_refused(wanted: Any, said: str) -> None:  # noqa: ANN401 - any JSON
    """A switch that would do nothing, or something else than was meant, is not switched on."""
    with pytest.raises(FaultError) as caught:
        parse_fault(wanted)

    assert said in caught.value.message
