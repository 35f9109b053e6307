"""Each recipe of CONTRIBUTING.md is followed to the letter, in a copy of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.projects import REPOSITORY, run_python
from tests.support.recipes import RecipeError, apply_hunks, copy_code, follow, read_recipes

RECIPES = read_recipes((REPOSITORY / "CONTRIBUTING.md").read_text("utf-8"))


def test_the_recipes_that_are_promised_are_there() -> None:
    """There is a recipe for each thing that is added most often, and each has a test."""
    promised = ["check", "gate", "notifier", "provider", "step"]
    assert sorted(RECIPES) == [f"Add a {thing}" for thing in promised]
    assert all(recipe.tests for recipe in RECIPES.values())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_works(name: str, tmp_path: Path) -> None:
    """What the recipe says passes its own test, the style checks and the import contracts."""
    copy_code(tmp_path)
    recipe = RECIPES[name]
    touched = follow(recipe, tmp_path)

    for arguments in (
        ["-m", "pytest", "-q", "--noconftest", "-p", "tests.support.no_loop", *recipe.tests],
        ["-m", "ruff", "check", "--no-cache", *touched],
        ["-m", "ruff", "format", "--no-cache", "--check", *touched],
        ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
    ):
        result = run_python(tmp_path, *arguments)
        assert result.returncode == 0, result.stdout + result.stderr


def test_a_diff_that_does_not_fit_is_refused() -> None:
    """A hunk whose lines are not there, or are there twice, stops the recipe."""
    with pytest.raises(RecipeError, match="0 times"):
        apply_hunks("one\n", "@@\n two\n+three\n", "x.py")
    with pytest.raises(RecipeError, match="2 times"):
        apply_hunks("one\none\n", "@@\n one\n+two\n", "x.py")


def test_a_diff_changes_what_it_names() -> None:
    """Kept lines stay, removed lines go, added lines come; alone they go to the end."""
    changed = apply_hunks("a\nb\nc\n", "@@\n a\n-b\n+B\n@@\n+d\n", "x.py")

    assert changed == "a\nB\nc\nd\n"
