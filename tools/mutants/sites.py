"""Where a file can be changed: a walk over its syntax tree that numbers every possible mutant."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from tools.mutants.operators import Change, select_changes

Put: TypeAlias = Callable[[ast.AST], None]
"""Writes another node into the place of a node."""

_LONGEST_TEXT = 70


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method that is not inside another one; its code can be swapped in place.

    Attributes:
        qualname: ``function`` or ``Class.method``.
        line: Its first line, decorators included, as the code object counts.
    """

    qualname: str
    line: int


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change in one file.

    Attributes:
        path: The file, relative to the project.
        number: Its place in the file's walk; with the path it names the mutant.
        line: First line of the changed node.
        statement: First line of the statement it is a part of.
        operator: What kind of change.
        change: The old and the new text.
        function: Where it lies; None for what runs at import time.
    """

    path: str
    number: int
    line: int
    statement: int
    operator: str
    change: str
    function: Function | None


@dataclass(frozen=True, slots=True)
class _Site:
    node: ast.AST
    put: Put
    change: Change
    line: int
    statement: int
    function: Function | None


@dataclass(frozen=True, slots=True)
class _Where:
    function: Function | None = None
    classes: tuple[str, ...] = ()
    line: int = 1
    statement: int = 1


def _describe(node: ast.AST) -> str:
    if isinstance(node, ast.comprehension):
        text = " ".join(f"if {ast.unparse(test)}" for test in node.ifs) or "no condition"
    elif isinstance(node, ast.match_case):
        text = f"case {ast.unparse(node.pattern)}"
        text += f" if {ast.unparse(node.guard)}" if node.guard else ""
    elif isinstance(node, ast.If | ast.While):
        text = f"if {ast.unparse(node.test)}"
    else:
        text = " ".join(ast.unparse(node).split())
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _replace_field(parent: ast.AST, field: str) -> Put:
    return lambda new: setattr(parent, field, new)


def _replace_entry(entries: list[ast.AST], position: int) -> Put:
    return lambda new: entries.__setitem__(position, new)


def _children(node: ast.AST, skipped: tuple[str, ...] = ()) -> Iterator[tuple[ast.AST, Put]]:
    for field, value in ast.iter_fields(node):
        if field in skipped:
            continue
        if isinstance(value, ast.AST):
            yield value, _replace_field(node, field)
        elif isinstance(value, list):
            for position, entry in enumerate(value):
                if isinstance(entry, ast.AST):
                    yield entry, _replace_entry(value, position)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_declaration(node: ast.AST) -> bool:
    """Types and names for the type checker, and the list of exports: no test can notice them."""
    match node:
        case ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.Call(func=ast.Name(id="NewType" | "TypeVar" | "cast")):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__" | "__slots__")]):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case _:
            return False


_LEFT_ALONE = (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)


def _is_left_alone(node: ast.AST) -> bool:
    return isinstance(node, _LEFT_ALONE) or _is_docstring(node) or _is_declaration(node)


def _enter(node: ast.AST, where: _Where) -> tuple[_Where, tuple[str, ...]]:
    """Returns where a node's children are, and which of its fields hold nothing to change."""
    line = getattr(node, "lineno", where.line)
    where = replace(
        where, line=line, statement=line if isinstance(node, ast.stmt) else where.statement
    )
    match node:
        case ast.ClassDef():
            return replace(where, classes=(*where.classes, node.name)), ("decorator_list",)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            qualname = ".".join((*where.classes, node.name))
            function = where.function or Function(qualname, first)
            # Defaults run when the function is defined; `_walk` visits them outside.
            return replace(where, function=function), ("decorator_list", "returns", "args")
        case ast.AnnAssign():
            return where, ("annotation",)
        case _:
            return where, ()


def _walk(node: ast.AST, put: Put, where: _Where) -> Iterator[_Site]:
    if _is_left_alone(node):
        return
    inside, skipped = _enter(node, where)
    for change in select_changes(node):
        yield _Site(node, put, change, inside.line, inside.statement, where.function)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for default, put_default in _children(node.args, ("posonlyargs", "args", "kwonlyargs")):
            if isinstance(default, ast.expr):
                yield from _walk(default, put_default, where)
    for child, put_child in _children(node, skipped):
        yield from _walk(child, put_child, inside)


def _sites(tree: ast.Module) -> Iterator[_Site]:
    for child, put in _children(tree):
        yield from _walk(child, put, _Where())


def select_mutants(path: str, source: str) -> list[Mutant]:
    """Lists every mutant of a file, in the order that :func:`build_mutant` counts."""
    return [
        Mutant(
            path=path,
            number=number,
            line=site.line,
            statement=site.statement,
            operator=site.change[0],
            change=f"{_describe(site.node)}  ->  {_describe(site.change[1])}",
            function=site.function,
        )
        for number, site in enumerate(_sites(ast.parse(source)))
    ]


def build_mutant(source: str, number: int) -> ast.Module:
    """Returns the file's syntax tree with one change made.

    Raises:
        IndexError: When the file has no mutant of that number.
    """
    tree = ast.parse(source)
    for position, site in enumerate(_sites(tree)):
        if position == number:
            new = site.change[1]
            if isinstance(site.node, ast.expr | ast.stmt):
                ast.copy_location(new, site.node)
            site.put(new)
            return ast.fix_missing_locations(tree)
    raise IndexError(number)
