"""Follows the recipes of CONTRIBUTING.md to the letter, in a copy of the code.

A recipe is a heading ``### ...`` under ``## Recipes``. Of its blocks, a ``diff`` changes the file
that its first line names, and any other block whose first line is a comment with a path is a new
file of that path.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from dataclasses import dataclass
from pathlib import Path

from tests.support.projects import REPOSITORY

_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_NEW_FILE = re.compile(r"# ((?:gitopsd|tests)/\S+)\n")


class RecipeError(Exception):
    """A recipe cannot be followed; the message says where it stopped."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe.

    Attributes:
        name: Its heading.
        changes: (path, unified diff without line numbers), in order.
        files: Path -> text of new files.
    """

    name: str
    changes: tuple[tuple[str, str], ...]
    files: dict[str, str]

    @property
    def tests(self) -> list[str]:
        """The new files that are tests."""
        return [path for path in self.files if path.startswith("tests/")]


def read_recipes(document: str) -> dict[str, Recipe]:
    """Read all recipes of the document, by heading."""
    _, _, recipes = document.partition("\n## Recipes\n")
    found = {}
    for part in re.split(r"^### ", recipes, flags=re.MULTILINE)[1:]:
        name, _, text = part.partition("\n")
        found[name] = _read(name, text)
    return found


def _read(name: str, text: str) -> Recipe:
    changes: list[tuple[str, str]] = []
    files: dict[str, str] = {}
    for match in _BLOCK.finditer(text):
        body = textwrap.dedent(match[3])
        if match[2] == "diff":
            first, _, hunks = body.partition("\n")
            changes.append((first.removeprefix("--- "), hunks))
        elif new := _NEW_FILE.match(body):
            files[new[1]] = body[new.end() :]
    return Recipe(name, tuple(changes), files)


def copy_code(folder: Path) -> None:
    """Copy what a recipe may change: the code, the tests' support and the tools' settings."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "gitopsd", folder / "gitopsd", ignore=ignored)
    shutil.copytree(REPOSITORY / "tests" / "support", folder / "tests" / "support", ignore=ignored)
    for name in ("pyproject.toml", "tests/__init__.py"):
        shutil.copy(REPOSITORY / name, folder / name)


def follow(recipe: Recipe, folder: Path) -> list[str]:
    """Do what a recipe says; returns the paths that were changed or made.

    Raises:
        RecipeError: A diff does not fit the code.
    """
    for path, hunks in recipe.changes:
        target = folder / path
        target.write_text(apply_hunks(target.read_text("utf-8"), hunks, path), "utf-8")
    for path, text in recipe.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
    return [*dict.fromkeys(path for path, _ in recipe.changes), *recipe.files]


def apply_hunks(text: str, hunks: str, path: str) -> str:
    """Apply the hunks of a diff without line numbers, in order.

    A hunk's kept and removed lines must stand in the text exactly once. Lines that are only added
    go to the text's end.

    Raises:
        RecipeError: They stand there never, or more than once.
    """
    for hunk in re.split(r"^@@.*\n", hunks, flags=re.MULTILINE)[1:]:
        lines = [(line[:1] or " ", line[1:]) for line in hunk.splitlines()]
        old = "".join(f"{line}\n" for sign, line in lines if sign in " -")
        new = "".join(f"{line}\n" for sign, line in lines if sign in " +")
        if not old:
            text = f"{text}{new}"
            continue
        places = [match.start() for match in re.finditer(rf"^{re.escape(old)}", text, re.MULTILINE)]
        if len(places) != 1:
            message = f"{path} holds these lines {len(places)} times, expected once:\n{old}"
            raise RecipeError(message)
        text = text[: places[0]] + new + text[places[0] + len(old) :]
    return text
