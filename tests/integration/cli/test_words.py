"""What the command line reads and prints, without any server."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout

import pytest

from gitopsd.cli.client import path_of
from gitopsd.cli.printing import (
    Column,
    Form,
    clean,
    show_fields,
    show_rows,
    show_time,
    write_yaml,
)
from gitopsd.cli.spans import parse_seconds
from gitopsd.errors import PermanentError


@pytest.mark.parametrize(
    "text,seconds",
    [("30", 30), ("30s", 30), ("1.5m", 90), ("2h", 7200), ("7d", 604_800), (" 5s ", 5)],
)
def test_spans_of_time(text: str, seconds: float) -> None:
    """A number with its unit; seconds without."""
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "5 m", "5w", "1e3", "5ms"])
def test_what_is_no_span_of_time(text: str) -> None:
    """Anything else says what to write."""
    with pytest.raises(PermanentError, match="write 30s, 10m, 2h or 7d"):
        parse_seconds(text)


def test_paths_hold_anything() -> None:
    """Parts are quoted, slashes and spaces too."""
    assert path_of("commits", "v1/x y", "#") == "/commits/v1%2Fx%20y/%23"


def test_terminals_get_one_clean_line() -> None:
    """No control characters, no line breaks, nothing for nothing."""
    assert clean("a\x1b[31mb\nc\u202ed\x07") == "a[31mb cd"
    assert clean(None) == ""
    assert clean(7) == "7"


def test_times_are_to_the_second_in_utc() -> None:
    """As the API writes them, shortened."""
    assert show_time("2030-06-01T12:00:00.123456Z") == "2030-06-01 12:00:00Z"
    assert show_time(None) == ""


COLUMNS = (
    Column("name", lambda row: row["name"]),
    Column("colour", lambda row: row["colour"]),
    Column("weight", lambda row: row["weight"], wide=True),
)
ROWS = [
    {"name": "apple", "colour": "red", "weight": 1},
    {"name": "pineapple", "colour": "", "weight": 22},
]


def printed(form: Form) -> str:
    """What a pipe gets."""
    out = io.StringIO()
    with redirect_stdout(out):
        show_rows(ROWS, COLUMNS, form)
    return out.getvalue()


def test_tables_in_a_pipe_are_plain_columns() -> None:
    """Aligned, no borders, no trailing blanks, nothing folded; more of it when wide."""
    assert printed(Form.TABLE) == "NAME       COLOUR\napple      red\npineapple\n"
    assert (
        printed(Form.WIDE)
        == "NAME       COLOUR  WEIGHT\napple      red     1\npineapple          22\n"
    )


def test_documents_hold_everything() -> None:
    """JSON and YAML have all columns, wide ones too."""
    assert json.loads(printed(Form.JSON)) == {"items": ROWS}
    assert "name: apple" in printed(Form.YAML)
    assert write_yaml({"a": [1, None]}) == "a:\n- 1\n- null\n"


def test_fields_are_aligned_and_empty_ones_left_out() -> None:
    """Names and values, one a line."""
    out = io.StringIO()
    with redirect_stdout(out):
        show_fields({"run": "r-1", "why": "", "asked for by": "alex", "none": None})

    assert out.getvalue() == "run:          r-1\nasked for by: alex\n"
