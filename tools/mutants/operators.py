"""The small changes: given a syntax node, what could be written there instead.

Only changes that a test can notice are made. Left alone: docstrings, annotations, decorators,
sentences for people (texts with a space), and everything inside a ``raise``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import TypeAlias

Change: TypeAlias = tuple[str, ast.AST]
"""The name of the operator and the node that stands there instead."""

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}

_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


def _compare(node: ast.Compare) -> Iterator[Change]:
    for position, operator in enumerate(node.ops):
        for other in _COMPARISONS[type(operator)]:
            operators = [*node.ops]
            operators[position] = other()
            yield "comparison", ast.Compare(node.left, operators, node.comparators)


def _boolean(node: ast.BoolOp) -> Iterator[Change]:
    other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield "and-or", ast.BoolOp(other, node.values)
    for dropped in range(len(node.values)):
        rest = [value for position, value in enumerate(node.values) if position != dropped]
        yield "condition dropped", rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _unary(node: ast.UnaryOp) -> Iterator[Change]:
    if isinstance(node.op, ast.Not | ast.USub):
        yield "sign dropped", node.operand


def _binary(node: ast.BinOp) -> Iterator[Change]:
    other = _ARITHMETIC.get(type(node.op))
    if other is not None:
        yield "arithmetic", ast.BinOp(node.left, other(), node.right)


def _augmented(node: ast.AugAssign) -> Iterator[Change]:
    other = _ARITHMETIC.get(type(node.op))
    if other is not None:
        yield "arithmetic", ast.AugAssign(node.target, other(), node.value)


def _constant(node: ast.Constant) -> Iterator[Change]:
    match node.value:
        case bool(value):
            yield "constant", ast.Constant(not value)
        case int(value):
            yield "constant", ast.Constant(value + 1)
        case float(value):
            yield "constant", ast.Constant(value + 1.0)
        case str(value) if " " not in value:
            yield "constant", ast.Constant("XX" + value)
        case bytes(value):
            yield "constant", ast.Constant(b"XX" + value)
        case _:
            return


def _statement(node: ast.Expr) -> Iterator[Change]:
    if isinstance(node.value, ast.Call | ast.Await):
        yield "call dropped", ast.Pass()


def _return(node: ast.Return) -> Iterator[Change]:
    empty = isinstance(node.value, ast.Constant) and not node.value.value
    if node.value is not None and not empty:
        yield "returns None", ast.Return(ast.Constant(None))


def _continue(_node: ast.Continue) -> Iterator[Change]:
    yield "loop control", ast.Break()


def _break(_node: ast.Break) -> Iterator[Change]:
    yield "loop control", ast.Continue()


def _negated(test: ast.expr) -> Iterator[ast.expr]:
    # Comparisons and the like have their own operators, which include the negation.
    if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
        yield ast.UnaryOp(ast.Not(), test)


def _if(node: ast.If) -> Iterator[Change]:
    for test in _negated(node.test):
        yield "condition negated", ast.If(test, node.body, node.orelse)


def _while(node: ast.While) -> Iterator[Change]:
    for test in _negated(node.test):
        yield "condition negated", ast.While(test, node.body, node.orelse)


def _if_expression(node: ast.IfExp) -> Iterator[Change]:
    for test in _negated(node.test):
        yield "condition negated", ast.IfExp(test, node.body, node.orelse)


def _comprehension(node: ast.comprehension) -> Iterator[Change]:
    for dropped in range(len(node.ifs)):
        rest = [test for position, test in enumerate(node.ifs) if position != dropped]
        yield (
            "condition dropped",
            ast.comprehension(node.target, node.iter, rest, node.is_async),
        )


def _call(node: ast.Call) -> Iterator[Change]:
    for dropped in range(len(node.keywords)):
        if node.keywords[dropped].arg is not None:
            rest = [word for position, word in enumerate(node.keywords) if position != dropped]
            yield "argument dropped", ast.Call(node.func, node.args, rest)


def _dict(node: ast.Dict) -> Iterator[Change]:
    for dropped in range(len(node.keys)):
        keys = [key for position, key in enumerate(node.keys) if position != dropped]
        values = [value for position, value in enumerate(node.values) if position != dropped]
        yield "entry dropped", ast.Dict(keys, values)


def _set(node: ast.Set) -> Iterator[Change]:
    for dropped in range(len(node.elts) if len(node.elts) > 1 else 0):
        rest = [value for position, value in enumerate(node.elts) if position != dropped]
        yield "entry dropped", ast.Set(rest)


def _list(node: ast.List) -> Iterator[Change]:
    if isinstance(node.ctx, ast.Load):
        for dropped in range(len(node.elts)):
            rest = [value for position, value in enumerate(node.elts) if position != dropped]
            yield "entry dropped", ast.List(rest, node.ctx)


def _case(node: ast.match_case) -> Iterator[Change]:
    if node.guard is not None:
        yield "guard dropped", ast.match_case(node.pattern, None, node.body)


_OPERATORS: dict[type[ast.AST], Callable[..., Iterator[Change]]] = {
    ast.AugAssign: _augmented,
    ast.BinOp: _binary,
    ast.BoolOp: _boolean,
    ast.Break: _break,
    ast.Call: _call,
    ast.Compare: _compare,
    ast.Constant: _constant,
    ast.Continue: _continue,
    ast.Dict: _dict,
    ast.Expr: _statement,
    ast.If: _if,
    ast.IfExp: _if_expression,
    ast.List: _list,
    ast.Return: _return,
    ast.Set: _set,
    ast.UnaryOp: _unary,
    ast.While: _while,
    ast.comprehension: _comprehension,
    ast.match_case: _case,
}


def select_changes(node: ast.AST) -> Iterator[Change]:
    """Yields what could stand in a node's place; nothing for a node that is left alone."""
    operator = _OPERATORS.get(type(node))
    if operator is not None:
        yield from operator(node)
