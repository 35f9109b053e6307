"""Configuration files that vanished at once, and the person who says that they are meant to.

Real: in the first half the engine's part, in virtual time; in the second the whole product, as
child processes on one folder.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.domain.config import HeldRemoval
from gitopsd.domain.releases import StageName
from gitopsd.domain.work import AuditEntry, Page
from gitopsd.engine.actors import ActionDone, ActionRefused
from gitopsd.engine.removals import BELIEVED_FOR, confirm_removals, fetch_confirmed
from tests.support.engine_world import APPROVER, make_world
from tests.support.processes import wait_until
from tests.support.service_process import APPLICATION, Site

HELD = (
    HeldRemoval("applications/a.yaml", "Application", "a", (StageName("x"), StageName("y"))),
    HeldRemoval("clusters/b.yaml", "Cluster", "b"),
)
FILES = [one.file for one in HELD]


@pytest.mark.looptime
async def test_a_confirmation_is_believed_for_a_while_and_kept_with_who_gave_it() -> None:
    """Other folders may change minutes later; after that the same names are held again."""
    world = make_world()
    done = await confirm_removals(world.services, APPROVER, HELD, FILES)
    assert done == ActionDone("2 files are gone for good, 2 stages are retired; nothing is deleted")
    assert await fetch_confirmed(world.services) == set(FILES)
    (entry,) = await world.store.read(lambda tx: tx.records.audit(Page(5)))
    assert (entry.subject, entry.action, entry.details) == (
        "alex",
        "confirm-removals",
        {"files": FILES},
    )

    await world.clock.sleep(BELIEVED_FOR)
    assert await fetch_confirmed(world.services) == set(FILES)
    await world.clock.sleep(timedelta(seconds=1))
    assert await fetch_confirmed(world.services) == frozenset()


@pytest.mark.looptime
async def test_only_what_was_shown_can_be_confirmed() -> None:
    """When other files are gone by now, or none is, nothing is believed."""
    world = make_world()
    for held, files, said in (
        (HELD, FILES[:1], "other files are gone now"),
        (HELD, [*FILES, "people.yaml"], "other files are gone now"),
        ((), FILES, "no removal of files waits"),
    ):
        refused = await confirm_removals(world.services, APPROVER, held, files)
        assert isinstance(refused, ActionRefused)
        assert refused.status == 409
        assert said in refused.message
    assert await fetch_confirmed(world.services) == frozenset()


@pytest.mark.looptime
async def test_nothing_is_believed_that_was_not_said() -> None:
    """Other entries of the audit log, and a database that does not answer, confirm nothing."""
    world = make_world()
    odd = AuditEntry(0, world.clock.now(), "alex", "approve", "x", details={"files": FILES})
    await world.store.transact(lambda tx: tx.records.append_audit(odd))
    assert await fetch_confirmed(world.services) == frozenset()
    await confirm_removals(world.services, APPROVER, HELD, FILES)
    world.memory.unavailable = True
    assert await fetch_confirmed(world.services) == frozenset()


# --------------------------------------------------------------------------- the whole product

NAMES = ("one", "two", "three")


@pytest.fixture(name="site")
def make_site(tmp_path: Path) -> Iterator[Site]:
    """An installation with four applications, taken down at the end."""
    site = Site.make(tmp_path)
    for name in NAMES:
        text = APPLICATION.format(repository=site.repository.path)
        file = site.directory / "config" / "applications" / f"{name}.yaml"
        file.write_text(text.replace("name: shop", f"name: {name}"))
    yield site
    site.stop_all()


def removals_of(site: Site) -> list[dict[str, object]]:
    """What waits to be confirmed, as a program sees it."""
    listed = site.run("confirm-removals", "-o", "json")
    items: list[dict[str, object]] = json.loads(listed.stdout)["items"]
    return items


def applications_of(site: Site) -> set[str]:
    """The applications whose stages are not retired."""
    listed = site.run("get", "stages", "-o", "json")
    rows = json.loads(listed.stdout)["items"]
    return {row["application"] for row in rows if row["retiredAt"] is None}


async def test_a_person_confirms_what_vanished(site: Site) -> None:
    """Held, told in log and health, shown, confirmed by hand, and retired within seconds."""
    await asyncio.to_thread(_confirm_by_hand, site)


def _confirm_by_hand(site: Site) -> None:
    site.start("serve")
    assert removals_of(site) == []
    for name in NAMES:
        (site.directory / "config" / "applications" / f"{name}.yaml").unlink()
    wait_until(
        lambda: bool(removals_of(site)), what="the files are held", within=timedelta(seconds=15)
    )
    shown = site.run("confirm-removals")
    assert applications_of(site) == {"shop", *NAMES}
    log = site.log().read_text()
    assert "3 of 6 files vanished at once" in log
    assert "gitopsd confirm-removals" in log

    assert "applications/one.yaml" in shown.stdout
    assert "gitopsd confirm-removals --yes" in shown.stdout
    done = site.run("confirm-removals", "--yes")
    assert done.returncode == 0, done.stderr
    assert "3 files are gone for good, 3 stages are retired" in done.stdout
    wait_until(
        lambda: applications_of(site) == {"shop"},
        what="the applications are retired",
        within=timedelta(seconds=15),
    )
    assert removals_of(site) == []
