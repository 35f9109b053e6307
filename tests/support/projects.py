"""Small projects in a folder of their own, for tests of the project's tools."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent

REPOSITORY = Path(__file__).parents[2]

_PYTEST = """
[tool.pytest]
strict = true
pythonpath = ["."]
asyncio_mode = "auto"
"""


def write_project(folder: Path, files: Mapping[str, str]) -> None:
    """Writes files, by their path in the folder, beside a pytest configuration."""
    for name, text in {"pyproject.toml": _PYTEST, **files}.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(dedent(text))


def run_module(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m`` in a folder, with the repository's modules at hand."""
    command: Sequence[str] = (sys.executable, "-m", *arguments)
    return subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def run_python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in a folder whose modules come before the repository's."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
