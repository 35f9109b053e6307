"""Takes over a changed configuration: spec revisions, stages, refs to watch, retirement."""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.config import ApplicationSpec, Configuration, StageSpec
from gitopsd.domain.releases import ApplicationName, StageKey
from gitopsd.domain.stages import Stage
from gitopsd.engine.admission import settle
from gitopsd.engine.effects import destination_of
from gitopsd.engine.image_hints import want_image_look
from gitopsd.engine.looks import want_look
from gitopsd.engine.services import Services
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.store_ports import Transaction


async def take_over(services: Services, *, confirmed: bool = True) -> None:
    """Store the configuration in force and let everything follow from it.

    Args:
        services: The ports.
        confirmed: False while so many files vanished at once that nothing may be retired.

    Safe to repeat: equal content keeps its revision, and a look that finds nothing offers nothing.
    """
    configuration = services.configuration()

    def work(tx: Transaction) -> None:
        touched: list[StageKey] = []
        for spec in configuration.applications.values():
            touched += _take_application(tx, spec)
        if confirmed:
            touched += _retire_removed(tx, configuration)
        settle(tx, touched, configuration)

    await retry_conflicts(services.store, work)
    await services.doorbell.ring()


def _take_application(tx: Transaction, spec: ApplicationSpec) -> list[StageKey]:
    before = tx.specs.current(spec.name)
    stored = tx.specs.add(spec, tx.now)
    changed = before is None or before.revision != stored.revision
    touched = []
    for stage in stored.stages:
        key = StageKey(stored.name, stage.name)
        if _take_stage(tx, key, stored, stage):
            touched.append(key)
    for existing in tx.stages.page(stored.name):
        if stored.stage(existing.key.stage) is None and existing.retired_at is None:
            tx.stages.save(replace(existing, retired_at=tx.now))
            touched.append(existing.key)
    for ref in {stored.ref_of(stage) for stage in stored.stages}:
        if changed or tx.refs.get(stored.source.repo, ref) is None:
            want_look(tx, stored.source.repo, ref)
    for image in stored.images:
        if changed or tx.images.get(image.name) is None:
            want_image_look(tx, image.name)
    return touched


def _take_stage(
    tx: Transaction, key: StageKey, application: ApplicationSpec, spec: StageSpec
) -> bool:
    """Create or update a stage's row; returns whether it changed."""
    found = tx.stages.get(key)
    wanted = destination_of(spec)
    if found is None:
        tx.stages.add(Stage(key, spec=application.revision, destination=wanted))
        return True
    updated = replace(found, spec=application.revision, destination=wanted, retired_at=None)
    if found.destination != wanted:
        updated = replace(updated, applied=None, verified=None, observation=None, soaks=())
    if updated == found:
        return False
    tx.stages.save(updated)
    return True


def _retire_removed(tx: Transaction, configuration: Configuration) -> list[StageKey]:
    """Retire the stages of files that are gone: shown, not touched, nothing deleted."""
    touched = []
    for spec in tx.specs.currents():
        if spec.name in configuration.applications:
            continue
        tx.specs.remove(spec.name, tx.now)
        for stage in tx.stages.page(ApplicationName(spec.name)):
            if stage.retired_at is None:
                tx.stages.save(replace(stage, retired_at=tx.now))
                touched.append(stage.key)
    return touched
