"""Watched refs, whichever store holds them."""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.sources import RefName, RefState, RepoURL
from gitopsd.store_ports import Store
from tests.support.store_steps import each
from tests.support.store_values import MINUTE, NOON, commit_of

REPO = RepoURL("https://git.example/shop.git")
MAIN = RefName("refs/heads/main")


async def test_a_hint_makes_the_row(store: Store) -> None:
    """The first hint creates what is known of a ref: that it is to be looked at now."""
    head = commit_of("a")

    state = await store.transact(lambda tx: tx.refs.want(REPO, MAIN, expected=head, at=NOON))

    assert state == RefState(REPO, MAIN, wanted=1, expected=head, next_look_at=NOON)
    assert await store.read(lambda tx: tx.refs.get(REPO, MAIN)) == state


async def test_each_hint_is_counted_and_ends_the_backoff(store: Store) -> None:
    """A further hint raises the counter, names what is expected now, and starts the tries anew."""
    looked = RefState(REPO, MAIN, head=commit_of("a"), looked_at=NOON, tries=4, problem="refused")
    await store.transact(lambda tx: tx.refs.save(looked))
    second = commit_of("b")

    await store.transact(lambda tx: tx.refs.want(REPO, MAIN, expected=second, at=NOON))
    state = await store.transact(lambda tx: tx.refs.want(REPO, MAIN, expected=None, at=NOON))

    assert state == replace(looked, wanted=2, expected=None, tries=0)
    assert await store.read(lambda tx: tx.refs.get(REPO, MAIN)) == state


async def test_saving_leaves_the_hints_alone(store: Store) -> None:
    """A hint that came during a look is not lost when the look is saved."""
    await store.transact(lambda tx: tx.refs.want(REPO, MAIN, expected=None, at=NOON))
    during = commit_of("b")
    await store.transact(lambda tx: tx.refs.want(REPO, MAIN, expected=during, at=NOON))
    looked = RefState(
        REPO,
        MAIN,
        head=commit_of("a"),
        wanted=1,
        done=1,
        looked_at=NOON,
        next_look_at=NOON + MINUTE,
        tries=1,
        tag="v1.2.0",
        problem="late",
    )

    await store.transact(lambda tx: tx.refs.save(looked))

    expected = replace(looked, wanted=2, expected=during)
    assert await store.read(lambda tx: tx.refs.get(REPO, MAIN)) == expected


async def test_all_refs_are_read_in_order(store: Store) -> None:
    """Refs come by repository and name; one that was never seen is not there."""
    other = RepoURL("https://git.example/another.git")
    states = [
        RefState(other, MAIN),
        RefState(REPO, MAIN),
        RefState(REPO, RefName("refs/tags/v1")),
    ]
    await each(store, [*reversed(states)], lambda tx, state: tx.refs.save(state))

    assert await store.read(lambda tx: tx.refs.page()) == states
    assert await store.read(lambda tx: tx.refs.get(other, RefName("refs/heads/x"))) is None
