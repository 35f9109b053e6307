"""Removals of configuration files that a person confirms, for every process of the installation.

Each process follows a folder of its own and holds what vanished there at once. A confirmation is
stored with its audit entry, and whoever holds one of its files believes it for a while: folders
are not changed everywhere at the same moment.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from gitopsd.domain.config import HeldRemoval
from gitopsd.domain.work import Page
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, Actor, do_audited
from gitopsd.engine.services import Services
from gitopsd.errors import GitopsdError
from gitopsd.store_ports import Transaction

ACTION = "confirm-removals"

BELIEVED_FOR = timedelta(minutes=5)
"""How long a confirmation counts for a folder in which the files vanish later."""

_ENTRIES = 200


async def confirm_removals(
    services: Services, actor: Actor, held: Sequence[HeldRemoval], files: Collection[str]
) -> ActionResult:
    """Say that files which vanished at once are meant to be gone.

    Args:
        services: The ports.
        actor: Who says so.
        held: What this process holds now.
        files: What the person saw; it must be that.
    """
    waiting = [one.file for one in held]

    def work(_: Transaction) -> ActionResult:
        if not waiting:
            return ActionRefused(409, "no removal of files waits to be confirmed")
        if set(files) != set(waiting):
            message = (
                f"other files are gone now ({', '.join(waiting)}); look at them again: "
                "gitopsd confirm-removals"
            )
            return ActionRefused(409, message)
        stages = sum(len(one.stages) for one in held)
        gone = "1 file is" if len(waiting) == 1 else f"{len(waiting)} files are"
        retired = "1 stage is" if stages == 1 else f"{stages} stages are"
        return ActionDone(f"{gone} gone for good, {retired} retired; nothing is deleted")

    target = f"{len(waiting)} files"
    return await do_audited(services, actor, ACTION, target, work, {"files": [*waiting]})


async def fetch_confirmed(services: Services) -> frozenset[str]:
    """Read the files whose removal was confirmed a moment ago, here or elsewhere.

    Without an answer of the database nothing is believed.
    """

    def read(tx: Transaction) -> frozenset[str]:
        files: set[str] = set()
        for entry in tx.records.audit(Page(_ENTRIES)):
            if tx.now - entry.at > BELIEVED_FOR:
                break
            named = entry.details.get("files")
            if entry.action == ACTION and entry.outcome == "done" and isinstance(named, list):
                files |= {str(one) for one in named}
        return frozenset(files)

    try:
        return await services.store.read(read)
    except GitopsdError:
        return frozenset()
