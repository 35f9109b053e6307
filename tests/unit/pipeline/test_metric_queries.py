"""What a metric server is sent: placeholders of a closed list, and a mark."""

from __future__ import annotations

import pytest

from gitopsd.pipeline.metric_queries import (
    PLACEHOLDERS,
    fill_query,
    find_query_problem,
    mark_query,
)

QUERY = 'sum(rate(errors_total{namespace="{{ namespace }}",job="{{stage}}"}[5m]))'


def test_placeholders_are_filled_in() -> None:
    """With or without blanks, as often as they stand there."""
    filled = fill_query(f"{QUERY} / {QUERY}", {"namespace": "shop-prod", "stage": "production"})
    once = 'sum(rate(errors_total{namespace="shop-prod",job="production"}[5m]))'
    assert filled == f"{once} / {once}"


@pytest.mark.parametrize("query", ["up", QUERY, 'up{a="{}"}'])
def test_a_query_may_have_none(query: str) -> None:
    """Braces of PromQL are no placeholders."""
    assert not find_query_problem(query)


def test_each_placeholder_has_a_value() -> None:
    """The list is closed, and each of it may be used."""
    query = " + ".join(f"{{{{ {name} }}}}" for name in PLACEHOLDERS)
    assert not find_query_problem(f"up + {query}")
    values = {name: name.upper() for name in PLACEHOLDERS}
    assert fill_query(query, values) == " + ".join(name.upper() for name in PLACEHOLDERS)


@pytest.mark.parametrize(
    "query, problem",
    [
        ("up{a='{{ pod }}'}", "there is no placeholder 'pod'"),
        ("up{a='{{ }}'}", "there is no placeholder ''"),
        ("up{a='{{ namespace.name }}'}", "there is no placeholder 'namespace.name'"),
        ("up{a='{{ namespace'}", "a placeholder does not end, or does not begin"),
        ("up{a='namespace }}'}", "a placeholder does not end, or does not begin"),
        ("  {{ stage }} ", "the query is empty"),
        ("", "the query is empty"),
    ],
)
def test_others_are_found_out(query: str, problem: str) -> None:
    """When the file is read, not when a release waits."""
    assert find_query_problem(query) == problem


@pytest.mark.parametrize("value", ["", 'a"} or vector(0)', "a.b", "a|b", "a\\", "a\n", "é", "a b"])
def test_a_value_cannot_change_the_query(value: str) -> None:
    """What could end a string, or mean something in a pattern, is not written at all."""
    with pytest.raises(ValueError, match="cannot be written into a query"):
        fill_query("up{a='{{ namespace }}'}", {"namespace": value})
    with pytest.raises(ValueError, match="the namespace ''"):
        fill_query("up{a='{{ namespace }}'}", {})


def test_the_mark_surrounds_the_query() -> None:
    """On lines of its own: a comment at the query's end does not swallow it."""
    marked = mark_query("up # all of them", "0011")
    assert marked == (
        'label_replace(\nup # all of them\n, "gitopsd_question", "0011", "gitopsd_question", ".*")'
    )
