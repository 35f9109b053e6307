"""What every registry promises: the fake, and a real one over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gitopsd.domain.manifests import Digest
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.registry_ports import ImageDetails
from tests.contracts.registry.conftest import Shelf

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
NOWHERE = Digest("sha256:" + "0" * 64)


async def test_an_image_that_nobody_pushed_is_not_there(shelf: Shelf) -> None:
    """It has no tags, no digest and nothing to say; that is an answer, not trouble."""
    assert await shelf.registry.fetch_tags(shelf.image) == ()
    assert await shelf.registry.fetch_digest(shelf.image, "1") is None
    assert await shelf.registry.fetch_digest(shelf.image, NOWHERE) is None
    assert await shelf.registry.fetch_details(shelf.image, NOWHERE) is None


async def test_a_tag_points_to_what_was_pushed_last(shelf: Shelf) -> None:
    """A tag that moves is seen to move at the next question."""
    first = await shelf.push("main", content="one")
    one = await shelf.registry.fetch_digest(shelf.image, "main")
    second = await shelf.push("main", content="two")
    two = await shelf.registry.fetch_digest(shelf.image, "main")

    assert (one, two) == (first, second)
    assert first != second
    assert await shelf.registry.fetch_digest(shelf.image, "other") is None


async def test_a_digest_is_there_or_not(shelf: Shelf) -> None:
    """What a tag no longer points to is still there, by digest, until it is deleted."""
    first = await shelf.push("main", content="one")
    await shelf.push("main", content="two")

    assert await shelf.registry.fetch_digest(shelf.image, first) == first
    await shelf.delete(first)
    assert await shelf.registry.fetch_digest(shelf.image, first) is None


async def test_every_tag_is_listed(shelf: Shelf) -> None:
    """Tags are listed once each; an image that was pushed by digest alone has none."""
    await shelf.push("1.0.0", "1.1.0", "latest", content="one")
    second = await shelf.push("2.0.0", content="two")
    await shelf.push(content="three")

    assert sorted(await shelf.registry.fetch_tags(shelf.image)) == [
        "1.0.0",
        "1.1.0",
        "2.0.0",
        "latest",
    ]
    await shelf.delete(second)
    assert "2.0.0" not in await shelf.registry.fetch_tags(shelf.image)


async def test_an_image_says_where_and_when_it_was_built(shelf: Shelf) -> None:
    """Revision label and time of creation are read; what is not said is empty."""
    full = await shelf.push("1", content="one", revision="a" * 40, created=NOON)
    empty = await shelf.push("2", content="two")

    assert await shelf.registry.fetch_details(shelf.image, full) == ImageDetails("a" * 40, NOON)
    assert await shelf.registry.fetch_details(shelf.image, empty) == ImageDetails()
    assert await shelf.registry.fetch_details(shelf.image, full) == ImageDetails("a" * 40, NOON)


async def test_an_index_is_an_image(shelf: Shelf) -> None:
    """A tag over several platforms has the index's digest, and one of its images speaks for it."""
    index = await shelf.push_index("1", content="one", revision="b" * 40)

    assert await shelf.registry.fetch_digest(shelf.image, "1") == index
    details = await shelf.registry.fetch_details(shelf.image, index)
    assert details is not None
    assert details.revision == "b" * 40


async def test_a_registry_that_does_not_answer_is_trouble(shelf: Shelf) -> None:
    """That nobody answers is never taken for an image that is not there."""
    await shelf.push("1", content="one")
    await shelf.break_down()

    with pytest.raises(TemporaryError):
        await shelf.registry.fetch_digest(shelf.image, "1")
    with pytest.raises(TemporaryError):
        await shelf.registry.fetch_tags(shelf.image)
    with pytest.raises(TemporaryError):
        await shelf.registry.fetch_details(shelf.image, NOWHERE)


async def test_what_is_no_image_is_refused(shelf: Shelf) -> None:
    """A name that no registry can have is said before anybody is asked."""
    with pytest.raises(PermanentError):
        await shelf.registry.fetch_digest("Not/An/Image", "1")
    with pytest.raises(PermanentError):
        await shelf.registry.fetch_tags("a b")
