"""What handlers share: rows to pages, and action results to answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.engine.actors import ActionRefused, ActionResult
from gitopsd.entrypoints.http.models import Done, PageQuery
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.problems import ProblemError
from gitopsd.entrypoints.http.routes import Call

R = TypeVar("R")
B = TypeVar("B")


def cut_page(
    rows: Sequence[R], query: PageQuery, cursor: Callable[[R], str]
) -> tuple[Sequence[R], str | None]:
    """Cut rows that were asked for with one too many; returns them and the next page's cursor."""
    if len(rows) <= query.limit:
        return rows, None
    kept = rows[: query.limit]
    return kept, cursor(kept[-1])


def slice_page(
    rows: Sequence[R], query: PageQuery, cursor: Callable[[R], str]
) -> tuple[Sequence[R], str | None]:
    """Cut a page out of all rows, as `cut_page` does; a cursor that names no row ends the list."""
    names = [cursor(row) for row in rows]
    if query.before:
        start = names.index(query.before) + 1 if query.before in names else len(rows)
        rows = rows[start:]
    return cut_page(rows[: query.limit + 1], query, cursor)


def answer_result(result: ActionResult) -> Done:
    """Turn what came of an action into the answer.

    Raises:
        ProblemError: The action was refused.
    """
    if isinstance(result, ActionRefused):
        raise ProblemError(result.status, _say(result.message))
    return Done(message=result.message, run=result.run, id=result.made or None)


def _say(message: str) -> str:
    """Make a sentence of a clause; a name that it begins with stays as it is."""
    first = message.partition(" ")[0]
    said = message[:1].upper() + message[1:] if first.isalpha() else message
    return said if said.endswith(".") else f"{said}."


def expect(model: type[B], value: object) -> B:
    """Read the query or body of a call as the model that its route declares."""
    if not isinstance(value, model):
        message = f"the route declares {type(value).__name__}, its handler reads {model.__name__}"
        raise TypeError(message)
    return value


def stage_key(call: Call) -> StageKey:
    """Read the stage from the path."""
    return StageKey(ApplicationName(call.path["app"]), StageName(call.path["stage"]))


def visible_application(call: Call) -> ApplicationName:
    """Read the application from the path.

    Raises:
        ProblemError: 404 when the caller may not read it: what may not be seen is not there.
    """
    name = ApplicationName(call.path["app"])
    if not call.principal.may(Access.READ, name):
        raise not_found("application", name)
    return name


def not_found(what: str, name: str) -> ProblemError:
    """Make the answer for something that is not there, or may not be seen."""
    return ProblemError(404, f"There is no {what} {name}.")
