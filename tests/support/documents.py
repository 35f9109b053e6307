"""Reads the project's documents: links, blocks, tables, and the words of the code."""

from __future__ import annotations

import ast
import re
import shlex
import textwrap
from collections.abc import Iterator
from typing import Any

import typer

from gitopsd.cli.app import app
from tests.support.projects import REPOSITORY

_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_NAMED_YAML = re.compile(r"^```yaml\n# (config/\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SHELL_FENCE = re.compile(r"^```(?:sh|bash|shell|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?<=\n\n)((?: {4}\S.*\n|(?<=\n) {4} +\S.*\n)+)")
_PICTURES = ("push -> signed webhook", "cli > entrypoints")
"""How the indented blocks begin that are no commands."""

_CODE = re.compile(r"`([^`\n]+)`")


def list_documents() -> list[str]:
    """List every Markdown file that people read, by its path in the repository."""
    found = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    return sorted(str(path.relative_to(REPOSITORY)) for path in found)


def read_document(name: str) -> str:
    """Read a document by its path in the repository."""
    return (REPOSITORY / name).read_text("utf-8")


def list_links(text: str) -> list[str]:
    """List the targets of all links outside of code blocks."""
    return _LINK.findall(_FENCE.sub("", text))


def list_anchors(text: str) -> set[str]:
    """List the anchors of all headings, as Git hosts make them."""
    found = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
        found.add(plain.replace(" ", "-"))
    return found


def list_code(text: str) -> list[str]:
    """List all pieces of inline code outside of code blocks."""
    return _CODE.findall(_FENCE.sub("", text))


def list_commands(text: str, program: str) -> list[str]:
    """List the commands of one program: inline code and indented lines that begin with it."""
    prose = _FENCE.sub("", text)
    lines = re.findall(r"^ {4}(\S.*)$", prose, re.MULTILINE)
    commands = [*list_code(text), *(line.partition("  # ")[0] for line in lines)]
    return [command for command in commands if command.startswith(f"{program} ")]


def list_command_blocks(text: str) -> list[str]:
    """List the blocks of shell commands in order: fenced as a shell's, or indented."""
    fenced = [(match.start(), match[1]) for match in _SHELL_FENCE.finditer(text)]
    # Same length, so that both kinds of blocks stay in order; recipes hold no commands.
    blank = _FENCE.sub(lambda match: "-" * len(match[0]), text)
    indented = [
        (match.start(), textwrap.dedent(match[1]))
        for match in _INDENTED.finditer(blank)
        if not match[1].strip().startswith(_PICTURES)
    ]
    return [block for _, block in sorted([*fenced, *indented])]


def parse_command(command: str) -> None:
    """Parse a command of gitopsd's command line, as a shell would hand it over; nothing runs.

    A verb alone is a mention of it and needs no arguments.

    Raises:
        Exception: The command line would refuse it; which class is typer's matter.
    """
    context = None
    parser: Any = typer.main.get_command(app)
    name, *words = shlex.split(command)
    while True:
        context = parser.make_context(name, words, parent=context)
        if not hasattr(parser, "resolve_command"):
            return
        rest = [*context._protected_args, *context.args]
        name, parser, words = parser.resolve_command(context, rest)
        if not words:
            return


def read_configuration_blocks(text: str) -> dict[str, str]:
    """Read the YAML blocks that name a configuration file: path below ``config/`` -> content."""
    return {path.removeprefix("config/"): body for path, body in _NAMED_YAML.findall(text)}


def list_table_rows(text: str, heading: str) -> list[list[str]]:
    """List the rows of the first table after a heading, without its head, as cells."""
    _, _, after = text.partition(f"{heading}\n")
    rows = []
    for line in after.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]


def list_code_words() -> Iterator[tuple[str, str]]:
    """List what the code says to people: (place, text) of docstrings and of the CLI's help."""
    for path in sorted((REPOSITORY / "gitopsd").rglob("*.py")):
        place = str(path.relative_to(REPOSITORY))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Expr) and _is_text(node.value):
                yield f"{place}:{node.lineno}", ast.literal_eval(node.value)
            elif isinstance(node, ast.keyword) and node.arg == "help" and _is_text(node.value):
                yield f"{place}:{node.value.lineno}", ast.literal_eval(node.value)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
