"""Who pushed which commit, whichever store holds it."""

from __future__ import annotations

from datetime import timedelta

from gitopsd.domain.contributions import Push
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.store_ports import Store
from tests.support.store_steps import each
from tests.support.store_values import MINUTE, NOON

SHOP, OTHER = RepoURL("https://git.example/shop.git"), RepoURL("https://git.example/other.git")


def sha(number: int) -> CommitSha:
    """Make a commit id."""
    return CommitSha(f"{number:040x}")


def push(number: int, pusher: str = "ana", repo: RepoURL = SHOP, at: timedelta = MINUTE) -> Push:
    """Make a push."""
    return Push(repo, sha(number), pusher, NOON + at)


async def test_the_pushers_of_commits_are_found(store: Store) -> None:
    """In the order they were told, of one repository alone; commits nobody pushed are left out."""
    told = (push(1), push(2, "ben"), push(1, "ben"), push(1, "kim", OTHER), push(3))
    await each(store, told, lambda tx, one: tx.pushes.add(one))

    found = await store.read(lambda tx: tx.pushes.pushers(SHOP, [sha(1), sha(2), sha(9)]))
    assert found == {sha(1): ("ana", "ben"), sha(2): ("ben",)}
    assert await store.read(lambda tx: tx.pushes.pushers(SHOP, [])) == {}


async def test_a_push_told_twice_is_kept_once(store: Store) -> None:
    """Webhooks are sent again."""
    await each(store, (push(1), push(1)), lambda tx, one: tx.pushes.add(one))

    assert await store.read(lambda tx: tx.pushes.pushers(SHOP, [sha(1)])) == {sha(1): ("ana",)}


async def test_any_number_of_commits_is_asked_for(store: Store) -> None:
    """More than one statement takes values for."""
    await each(store, (push(1), push(1500)), lambda tx, one: tx.pushes.add(one))

    wanted = [sha(number) for number in range(2000)]
    found = await store.read(lambda tx: tx.pushes.pushers(SHOP, wanted))
    assert sorted(found) == [sha(1), sha(1500)]


async def test_old_pushes_go(store: Store) -> None:
    """Oldest first, at most so many at once; a later one stays."""
    told = [push(number, at=number * MINUTE) for number in range(4)]
    await each(store, told, lambda tx, one: tx.pushes.add(one))
    gone = [await store.transact(lambda tx: tx.pushes.drop(NOON + 3 * MINUTE, 2)) for _ in range(3)]

    assert gone == [2, 1, 0]
    wanted = [sha(number) for number in range(4)]
    assert list(await store.read(lambda tx: tx.pushes.pushers(SHOP, wanted))) == [sha(3)]
