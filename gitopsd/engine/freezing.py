"""The stop button: freezes, and their end."""

from __future__ import annotations

import secrets
from datetime import datetime

from gitopsd.domain.config import Configuration
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.stages import Freeze
from gitopsd.domain.work import Notification
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, Actor, do_audited
from gitopsd.engine.admission import settle
from gitopsd.engine.notifications import publish
from gitopsd.engine.services import Services
from gitopsd.pipeline.commands import Trigger
from gitopsd.store_ports import Transaction

EVERYTHING = "*"
SCOPES = "*, application:NAME, stage:APPLICATION/STAGE, project:NAME or cluster:NAME"


async def freeze(
    services: Services, actor: Actor, scope: str, reason: str, until: datetime | None
) -> ActionResult:
    """Stop Prepare and Apply in a scope; rollbacks still run.

    Args:
        services: The ports.
        actor: Who freezes.
        scope: ``*``, ``application:NAME``, ``stage:APPLICATION/STAGE``, ``project:NAME`` or
            ``cluster:NAME``.
        reason: In their words.
        until: When it ends by itself; None when a person ends it.
    """
    config = services.configuration()
    problem = find_scope_problem(scope, config)

    def work(tx: Transaction) -> ActionResult:
        if problem is not None:
            return problem
        if until is not None and until <= tx.now:
            return ActionRefused(422, "the freeze would end in the past; give a later time")
        made = Freeze(f"f-{secrets.token_hex(6)}", scope, actor.subject, reason, tx.now, until)
        tx.records.add_freeze(made)
        _announce(tx, made, config)
        settle(tx, [stage.key for stage in tx.stages.page()], config)
        return ActionDone(f"{scope} is frozen; end it: gitopsd thaw {made.id}", made=made.id)

    def about(tx: Transaction) -> str:
        ids = [one.id for one in tx.records.freezes(in_force=True) if one.scope == scope]
        return f"frozen by {', '.join(ids)}" if ids else "not frozen"

    ends = until.isoformat() if until is not None else ""
    details: JsonObject = {"reason": reason, "until": ends}
    return await do_audited(services, actor, "freeze", scope, work, details, about)


async def thaw(
    services: Services, actor: Actor, freeze_id: str, *, reason: str = ""
) -> ActionResult:
    """End a freeze."""
    config = services.configuration()

    def about(tx: Transaction) -> str:
        found = find_freeze(tx, freeze_id)
        if found is None:
            return ""
        over = _say_end(found, tx.now)
        return f"{found.scope}: {over or 'in force'}"

    def work(tx: Transaction) -> ActionResult:
        found = find_freeze(tx, freeze_id)
        if found is None:
            where = "list them with: gitopsd get freezes"
            return ActionRefused(404, f"there is no freeze {freeze_id}; {where}")
        over = _say_end(found, tx.now)
        if over:
            return ActionRefused(409, f"freeze {freeze_id} {over}; see: gitopsd get freezes")
        tx.records.thaw(freeze_id, tx.now)
        settle(tx, [stage.key for stage in tx.stages.page()], config)
        return ActionDone(f"freeze {freeze_id} ended", made=freeze_id)

    details: JsonObject = {"reason": reason}
    return await do_audited(services, actor, "thaw", freeze_id, work, details, about)


def _say_end(found: Freeze, now: datetime) -> str:
    """Say when a freeze ended; empty while it is in force."""
    ended = found.thawed_at
    if ended is None and found.until is not None and found.until <= now:
        ended = found.until
    return f"ended at {ended:%Y-%m-%d %H:%M} UTC" if ended is not None else ""


def find_freeze(tx: Transaction, freeze_id: str) -> Freeze | None:
    """Read one freeze, ended ones too."""
    return next((one for one in tx.records.freezes(in_force=False) if one.id == freeze_id), None)


def find_scope_problem(scope: str, config: Configuration) -> ActionRefused | None:
    """Say what is wrong with a freeze's scope; None when it names something that is there."""
    if scope == EVERYTHING:
        return None
    kind, _, name = scope.partition(":")
    names: dict[str, list[str]] = {
        "application": [str(application) for application in config.applications],
        "stage": [
            f"{application.name}/{stage.name}"
            for application in config.applications.values()
            for stage in application.stages
        ],
        "project": [project.name for project in config.projects],
        "cluster": list(config.clusters),
    }
    known = names.get(kind)
    if known is None or not name:
        message = f"{scope!r} is no scope; write {SCOPES}"
        return ActionRefused(422, message)
    if name not in known:
        listed = ", ".join(sorted(known)) or "none"
        return ActionRefused(422, f"there is no {kind} {name} to freeze; configured: {listed}")
    return None


def _announce(tx: Transaction, made: Freeze, config: Configuration) -> None:
    kind, _, name = made.scope.partition(":")
    application = name.partition("/")[0] if kind in ("application", "stage") else ""
    why = f": {made.reason}" if made.reason else ""
    publish(
        tx,
        Notification(
            id=f"{made.id}.{Trigger.FROZEN.value}",
            trigger=Trigger.FROZEN.value,
            application=application,
            stage=name.partition("/")[2] if kind == "stage" else "",
            message=f"{made.by} froze {made.scope}{why}",
            at=tx.now,
            details={"freeze": made.id, "scope": made.scope},
        ),
        config,
    )
