"""``docs/helm.md`` as a script: its blocks in order, with the names of a test for those of people.

Every block is run by ``tests/cluster/test_helm_document.py``.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.documents import read_document

DOCUMENT = "docs/helm.md"
_BLOCK = re.compile(r"(?:^ {4}\S.*\n(?: {4}.*\n)*)", re.MULTILINE)
_NAMED = re.compile(r"^```yaml\n# (\w+\.yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^```.*?^```\n", re.MULTILINE | re.DOTALL)


def list_blocks() -> list[str]:
    """List the blocks of commands, without their indentation."""
    text = _FENCE.sub("", read_document(DOCUMENT))
    return [re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in _BLOCK.findall(text)]


def read_values() -> dict[str, str]:
    """Read the files of values: name -> content."""
    return dict(_NAMED.findall(read_document(DOCUMENT)))


@dataclass(frozen=True)
class Typist:
    """Types the blocks into a shell.

    Attributes:
        directory: Where it stands; files of values lie there.
        environment: Its whole environment.
        words: What is written in the document -> what is meant in this test.
        typed: The blocks that were typed.
    """

    directory: Path
    environment: Mapping[str, str]
    words: dict[str, str]
    typed: list[str]

    def translate(self, text: str) -> str:
        """Put the test's own names in."""
        for word, own in self.words.items():
            text = text.replace(word, own)
        return text

    def write_values(self) -> None:
        """Write the document's files of values."""
        for name, text in read_values().items():
            (self.directory / name).write_text(self.translate(text))

    def type(self, beginning: str) -> str:
        """Type the next block that has a line that begins so; returns what was said.

        Raises:
            AssertionError: A command of it failed.
        """
        untyped = [one for one in list_blocks() if one not in self.typed]
        block = next(one for one in untyped if f"\n{beginning}" in f"\n{one}")
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.translate(block)],
            cwd=self.directory,
            env={"PATH": os.defpath, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{block}\n{ran.stdout}\n{ran.stderr}"
        self.typed.append(block)
        return ran.stdout
