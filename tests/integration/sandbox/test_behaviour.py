"""What an image does is read from its label."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from gitopsd.domain.manifests import JsonObject
from gitopsd.errors import PermanentError
from gitopsd.sandbox.behaviour import Exit, Route, expand, expand_json, parse_behaviour


def test_an_empty_label_serves_nothing_and_never_ends() -> None:
    """Every key may be left out."""
    behaviour = parse_behaviour("{}")

    assert behaviour.ports == ()
    assert behaviour.exit_for({}) is None
    assert behaviour.route_for("/", {}) is None


@pytest.mark.parametrize("label", ["", "[]", "{", '"text"'])
def test_a_label_that_is_no_object_is_refused(label: str) -> None:
    """The image cannot be run, and why is said."""
    with pytest.raises(PermanentError, match=r"gitopsd\.io/serve"):
        parse_behaviour(label)


def test_every_key_is_read() -> None:
    """A full label gives a full behaviour."""
    label = {
        "log": ["starting"],
        "requireEnv": ["A"],
        "append": {"path": "/x", "line": "y"},
        "exits": [{"code": 2, "afterSeconds": 1.5, "log": ["bye"], "oomKilled": True}],
        "memoryMebibytes": 300,
        "listenAfterSeconds": 0.5,
        "ports": [8080, 9090],
        "onTerm": {"code": 3, "afterSeconds": 2, "ignore": True},
        "exec": {"cat /tmp/ready": 1},
        "routes": [
            {
                "path": "/a",
                "statuses": [500, 200],
                "json": {"x": 1},
                "headers": {"H": "v"},
                "delaySeconds": 0.25,
            }
        ],
    }
    behaviour = parse_behaviour(json.dumps(label))

    assert behaviour.log == ("starting",)
    assert behaviour.append is not None
    assert (behaviour.append.path, behaviour.append.line) == ("/x", "y")
    assert behaviour.exits == (
        Exit(code=2, after=timedelta(seconds=1.5), log=("bye",), oom_killed=True),
    )
    assert behaviour.memory_mebibytes == 300
    assert behaviour.listen_after == timedelta(seconds=0.5)
    assert behaviour.ports == (8080, 9090)
    assert behaviour.on_term.ignore
    assert (behaviour.on_term.code, behaviour.on_term.after) == (3, timedelta(seconds=2))
    assert behaviour.exec == {"cat /tmp/ready": 1}
    assert behaviour.route_for("/a", {}) == Route(
        path="/a",
        statuses=(500, 200),
        json={"x": 1},
        headers={"H": "v"},
        delay=timedelta(seconds=0.25),
    )


def test_a_needed_variable_that_is_missing_ends_the_container() -> None:
    """It exits 1 and says which one."""
    behaviour = parse_behaviour('{"requireEnv": ["DATABASE_URL"]}')

    assert behaviour.exit_for({}) == Exit(code=1, log=("fatal: DATABASE_URL is not set",))
    assert behaviour.exit_for({"DATABASE_URL": "x"}) is None


def test_rules_apply_by_the_environment() -> None:
    """The first rule whose variables have their values applies."""
    behaviour = parse_behaviour(
        json.dumps(
            {
                "exits": [{"code": 7, "whenEnv": {"MODE": "crash"}}],
                "routes": [
                    {"path": "/", "statuses": [500], "whenEnv": {"MODE": "bad"}},
                    {"path": "/", "statuses": [200]},
                ],
            }
        )
    )
    crash, bad = behaviour.exit_for({"MODE": "crash"}), behaviour.route_for("/", {"MODE": "bad"})
    good = behaviour.route_for("/", {})

    assert crash is not None
    assert crash.code == 7
    assert behaviour.exit_for({"MODE": "bad"}) is None
    assert bad is not None
    assert bad.statuses == (500,)
    assert good is not None
    assert good.statuses == (200,)


@pytest.mark.parametrize(
    "text, said",
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$(NONE)", "$(NONE)"),
        ("$$(A)", "$(A)"),
        ("$A", "$A"),
    ],
)
def test_variables_are_replaced_as_kubernetes_does(text: str, said: str) -> None:
    """Unknown names stay, a doubled dollar sign is one."""
    assert expand(text, {"A": "1", "B": "2"}) == said


def test_variables_are_replaced_everywhere_in_a_json_value() -> None:
    """Objects, lists and strings are followed; other values stay."""
    value: JsonObject = {"a": ["$(A)", 1, None, True], "b": {"c": "$(A)"}}

    assert expand_json(value, {"A": "x"}) == {"a": ["x", 1, None, True], "b": {"c": "x"}}
