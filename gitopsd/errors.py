"""The exceptions gitopsd raises itself.

Verdicts about a release are values, never exceptions. An exception says that gitopsd could not
find something out (`TemporaryError`), was asked for something that cannot be (`PermanentError`),
or received a delivery it cannot use (`DeliveryError`). Adapters translate third-party exceptions
into these, chained with ``from``; nothing above the adapters sees a driver's exception.
"""

from __future__ import annotations

from datetime import timedelta


class GitopsdError(Exception):
    """Base of every error that gitopsd raises on purpose.

    Args:
        message: One sentence: what happened, where, and what to do next. Never holds a secret.
        reason: PascalCase word for machines, as in Kubernetes conditions.
    """

    reason: str = "Error"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason


class TemporaryError(GitopsdError):
    """Something outside did not answer or asked for patience; the same attempt may succeed later.

    Args:
        message: What was tried and what the other side said.
        retry_after: How long the other side asked to be left alone; None when it did not say.
        reason: PascalCase word for machines.
    """

    reason = "Unavailable"

    def __init__(
        self, message: str, *, retry_after: timedelta | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class PermanentError(GitopsdError):
    """Asking again cannot help until a person or a new commit changes something."""

    reason = "Invalid"


class LostError(PermanentError):
    """Something that was stored cannot be read any more, and no retry brings it back.

    A definite fact, such as a missing row or a key that is not among those configured; a database
    that does not answer is none.
    """

    reason = "Lost"


class DeliveryError(GitopsdError):
    """A webhook delivery cannot be used.

    Args:
        message: Why, for the person who reads the dead letters.
        status: HTTP status the sender gets when the refusal happens while it waits.
        reason: PascalCase word for machines.
    """

    reason = "Unusable"

    def __init__(self, message: str, *, status: int = 400, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.status = status


class SignatureError(DeliveryError):
    """The signature is missing or wrong; nothing of the body was read beyond its bytes."""

    reason = "BadSignature"

    def __init__(self, message: str) -> None:
        super().__init__(message, status=401)


class ConfigError(PermanentError):
    """A configuration file cannot be used.

    Args:
        file: Path of the file as the person knows it.
        path: Dotted path inside the document, e.g. ``spec.stages[0].cluster``; empty for the file.
        problem: What is wrong.
        remedy: What to write instead.
    """

    reason = "InvalidConfiguration"

    def __init__(self, *, file: str, path: str, problem: str, remedy: str) -> None:
        where = f"{file}: {path}" if path else file
        super().__init__(f"{where}: {problem}. {remedy}")
        self.file = file
        self.path = path
        self.problem = problem
        self.remedy = remedy


class ConflictError(GitopsdError):
    """A conditional write lost: someone else changed the row first. Read again and decide anew."""

    reason = "Conflict"


class LeaseLostError(GitopsdError):
    """This process may not write to the stage any more; another owner may already be writing."""

    reason = "LeaseLost"
