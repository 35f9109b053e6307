"""Reports of bugs to Sentry, with nothing secret in them.

Left out: local variables, source lines, request bodies, arguments of the process, breadcrumbs of
HTTP requests and child processes, whatever identifies people. Every string of what remains passes
the one redaction. A Sentry that is away costs nothing: it is spoken to by a thread of its own, and
the process waits two seconds for it at its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gitopsd.kube.redaction import is_sensitive_name, redact_text

if TYPE_CHECKING:
    from sentry_sdk.transport import Transport

SHUTDOWN = timedelta(seconds=2)
"""How long the end of the process waits for reports that are still to be sent."""

_MASK = "***"
_MAX_DEPTH = 20
_MAX_TEXT = 8000
_state: dict[str, bool] = {"started": False}


def start_sentry(dsn: str, *, release: str, transport: Transport | None = None) -> None:
    """Begin to report; does nothing without a DSN.

    Args:
        dsn: Where to; a secret.
        release: Version of gitopsd.
        transport: Sends the reports; the SDK's own unless given.
    """
    if not dsn:
        return
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    from sentry_sdk.integrations.threading import ThreadingIntegration

    sentry_sdk.init(
        dsn=dsn,
        release=f"gitopsd@{release}",
        transport=transport,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            AtexitIntegration(callback=lambda _pending, _timeout: None),
            DedupeIntegration(),
            ExcepthookIntegration(),
            ThreadingIntegration(propagate_scope=False),
        ],
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        # send_default_pii is off unless it is set, and setting it warns in newer versions.
        send_client_reports=False,
        auto_session_tracking=False,
        traces_sample_rate=None,
        max_breadcrumbs=20,
        shutdown_timeout=SHUTDOWN.total_seconds(),
        before_send=redact_event,
        before_send_transaction=redact_event,
        before_breadcrumb=redact_event,
    )
    _state["started"] = True


def report_error(error: BaseException, context: Mapping[str, str]) -> None:
    """Report one error, if reporting was begun.

    Args:
        error: What was raised.
        context: Ids that say where: tags of the report.
    """
    if not _state["started"]:
        return
    import sentry_sdk

    with sentry_sdk.new_scope() as scope:
        for name, value in context.items():
            scope.set_tag(name, redact_text(str(value))[:200])
        scope.capture_exception(error)


def stop_sentry() -> None:
    """Send what is waiting, within two seconds, and stop reporting. Safe to repeat."""
    if not _state["started"]:
        return
    import sentry_sdk

    _state["started"] = False
    sentry_sdk.get_client().close(timeout=SHUTDOWN.total_seconds())
    sentry_sdk.get_global_scope().set_client(None)


def redact_event(event: Any, _hint: object = None) -> Any:
    """Redact every string of a report or a breadcrumb, and drop what never belongs in one."""
    for name in ("request", "user", "extra", "modules"):
        event.pop(name, None)
    return _redact(event, 0)


def _redact(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redact_text(value[:_MAX_TEXT])
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if depth > _MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {
            _redact(key, depth + 1): _MASK
            if isinstance(key, str) and isinstance(inner, str) and is_sensitive_name(key)
            else _redact(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact(inner, depth + 1) for inner in value]
    return value
