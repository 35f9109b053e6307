"""What the databases' errors mean to the rest of gitopsd."""

from __future__ import annotations

import sqlalchemy as sa

from gitopsd.errors import ConflictError, GitopsdError, PermanentError, TemporaryError

_UNIQUE_VIOLATION = "23505"
_READ_ONLY = "25006"
_SERIALIZATION_FAILURE = "40001"
_DEADLOCK = "40P01"
_TRIED_AGAIN = frozenset({_SERIALIZATION_FAILURE, _DEADLOCK, _UNIQUE_VIOLATION})
_NO_TABLE = frozenset({"42P01", "42703"})
_DAMAGED = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB"})
_NO_ROOM = ("SQLITE_FULL", "SQLITE_IOERR", "53100")
"""53100 is PostgreSQL's ``disk_full``; SQLite says IOERR where its shared memory cannot grow."""


def code_of(error: sa.exc.DBAPIError) -> str:
    """Find the SQLSTATE of a PostgreSQL error, or SQLite's name of its own."""
    original = error.orig
    code = getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None)
    return str(code or "")


def is_worth_another_try(error: sa.exc.DBAPIError) -> bool:
    """Tell whether the same transaction may succeed at once; it was rolled back for certain.

    A unique key counts: two transactions that append to one list take the same number, and the
    second finds the next one when it runs again. Locks do not: they were waited for already.
    """
    return code_of(error) in _TRIED_AGAIN


def is_refusal(error: sa.exc.DBAPIError) -> bool:
    """Tell whether a failed COMMIT was answered: the server rolled back, and said why."""
    return code_of(error).startswith(("23", "40"))  # integrity, transaction rollback


def translate(error: sa.exc.SQLAlchemyError, place: str, *, reading: bool) -> GitopsdError:
    """Choose the error of ours that says what this one means.

    Args:
        error: The driver's error in SQLAlchemy's wrapping.
        place: Which database, without credentials.
        reading: Whether the transaction was one that must not write.
    """
    if not isinstance(error, sa.exc.DBAPIError):
        return PermanentError(
            f"The database {place} was given what it cannot store: {_line(error)}."
        )
    code, said = code_of(error), _line(error.orig or error)
    if reading and (code == _READ_ONLY or code.startswith("SQLITE_READONLY")):
        return PermanentError(
            "A function run by Store.read tried to write; run it by Store.transact instead.",
            reason="ReadOnly",
        )
    if isinstance(error, sa.exc.IntegrityError):
        return ConflictError(f"The database {place} refused a write: {said}. Read again.")
    if code in _NO_TABLE or "no such table" in said or "no such column" in said:
        return PermanentError(
            f"The database {place} has not the tables of this version ({said}). Run "
            "`gitopsd migrate`.",
            reason="NotMigrated",
        )
    if code in _DAMAGED:
        return PermanentError(
            f"The database {place} is damaged ({said}). Restore it from a backup.",
            reason="DamagedDatabase",
        )
    if isinstance(error, sa.exc.DataError | sa.exc.ProgrammingError | sa.exc.NotSupportedError):
        return PermanentError(f"The database {place} refused a value: {said}.")
    if code.startswith(_NO_ROOM):
        return TemporaryError(
            f"The database {place} cannot be written: {said}. Make room on its disk."
        )
    return TemporaryError(
        f"The database {place} does not answer: {said}. Check that it runs and can be reached."
    )


def outcome_unknown(error: sa.exc.DBAPIError, place: str) -> TemporaryError:
    """Say that the answer to a COMMIT was lost: it may have been done or not.

    Whoever gets this reads again by key before writing again. Conditional saves, unique keys and
    commands that may run twice make the second write harmless.
    """
    return TemporaryError(
        f"The database {place} did not say whether a transaction was committed: "
        f"{_line(error.orig or error)}. "
        "What it wrote is read again before anything is written again.",
        reason="OutcomeUnknown",
    )


def _line(error: BaseException) -> str:
    """Take the first line: further ones may quote values, statements and parameters."""
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__
