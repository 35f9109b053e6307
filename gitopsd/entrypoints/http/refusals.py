"""Keeps in the audit log what somebody known wanted to do and was not let in for.

What an action itself refuses is in its own entry, written with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.domain.work import AuditEntry
from gitopsd.entrypoints.http.service import Service
from gitopsd.store_ports import Transaction

if TYPE_CHECKING:
    from aiohttp import web

_PREFIX = "/api/v1/"
_RUNS = "runs/"
_LONGEST = 300


async def record_refusal(request: web.Request, service: Service, subject: str, why: str) -> None:
    """Append who was refused what, and why.

    Safe to repeat: each request that is refused is an entry.

    Raises:
        TemporaryError: The database does not answer.
    """
    target, _, action = request.path.removeprefix(_PREFIX).rpartition("/")
    named = target.removeprefix(_RUNS)[:_LONGEST] or request.path[:_LONGEST]

    def work(tx: Transaction) -> None:
        outcome = f"refused: {why}"
        tx.records.append_audit(AuditEntry(0, tx.now, subject, action[:_LONGEST], named, outcome))

    await service.services.store.transact(work)
