"""Commands that sentences name exist, and take the words that are named with them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import parse_command
from tests.support.projects import REPOSITORY

_TEXTS = REPOSITORY / "tests" / "fixtures" / "explanations"
_SAID = ("pipeline", "engine", "domain", "kube")
_VERB = re.compile(r"(?:[:`] ?|and |or )gitopsd ([a-z][a-z-]+)")
_COMMAND = re.compile(r"gitopsd (?!has )([a-z][a-z-]*(?: (?!and |or |by )[^\s,;:()]+)*)")


def commands_in(text: str) -> Iterator[str]:
    """The commands that a text names, without ``gitopsd``."""
    for line in text.splitlines():
        yield from (found[1].rstrip(".") for found in _COMMAND.finditer(line))


def literals(path: Path) -> Iterator[str]:
    """The texts in a module that are no docstrings."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    documentation = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from [] if id(node) in documentation else [node.value]


@pytest.mark.parametrize("path", sorted(_TEXTS.iterdir()), ids=lambda path: path.stem)
def test_a_person_can_type_what_an_explanation_names(path: Path) -> None:
    """Each command in the texts of ``explain`` is one that the command line takes."""
    for command in commands_in(path.read_text()):
        parse_command(f"gitopsd {command}")


def test_the_texts_name_commands() -> None:
    """There is something to hold against the command line."""
    named = {
        command.split()[0] for path in _TEXTS.iterdir() for command in commands_in(path.read_text())
    }
    assert {"approve", "promote", "resume", "thaw", "skip", "quarantine", "abort"} <= named


def test_nothing_that_is_not_there_is_taken() -> None:
    """What reads the commands refuses what a person could not type."""
    for wrong in (
        "launch shop",
        "promote shop production",
        "thaw f-1 --loudly",
        "quarantine find q",
    ):
        with pytest.raises(Exception, match=r".+"):
            parse_command(f"gitopsd {wrong}")


def test_no_sentence_of_the_code_names_a_verb_that_is_not_there() -> None:
    """Every literal that names a command names one of the command line."""
    named: dict[str, str] = {}
    for folder in _SAID:
        for path in sorted((REPOSITORY / "gitopsd" / folder).rglob("*.py")):
            for text in literals(path):
                for found in _VERB.finditer(text):
                    named.setdefault(found[1], f"{path.name}: {text[:80]}")

    missing = {}
    for verb, where in named.items():
        try:
            parse_command(f"gitopsd {verb}")
        except Exception:  # noqa: BLE001 - which class is the command line's matter
            missing[verb] = where

    assert missing == {}
