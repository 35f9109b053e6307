"""The test registry is a real one: what is pushed can be had by tag and by digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.images import build_image, crashing_image, web_image
from tests.support.registry import RegistryError, RegistryServer, run_registry

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_pushed_image_is_found_by_tag_and_by_digest(tmp_path: Path) -> None:
    """The digest that `push` returns is the one the registry answers for the tag."""
    image = web_image("1.0.0")
    async with run_registry(tmp_path) as registry:
        pushed = await registry.push(image, "acme/web:1.0.0")

        assert pushed.digest == image.digest
        assert await registry.digest("acme/web:1.0.0") == image.digest
        assert pushed.reference == f"{registry.host}/acme/web:1.0.0"
        assert await registry.manifest(f"acme/web@{image.digest}") == image.manifest.content


def test_a_tag_moves_to_another_image(tmp_path: Path) -> None:
    """Pushing a tag again moves it; a deleted manifest takes its tags with it."""
    with RegistryServer(tmp_path) as registry:
        first = registry.push(web_image("1"), "acme/web:stable")
        second = registry.push(web_image("2"), "acme/web:stable")

        assert first.digest != second.digest
        assert registry.digest("acme/web:stable") == second.digest
        registry.delete("acme/web", second.digest)
        assert registry.tags("acme/web") == []


def test_a_missing_tag_is_told_in_the_registrys_words(tmp_path: Path) -> None:
    """Asking for what nobody pushed raises with ``manifest unknown``."""
    with RegistryServer(tmp_path) as registry:
        assert registry.digest("acme/web:9") is None
        with pytest.raises(RegistryError, match="manifest unknown"):
            registry.manifest("acme/web:9")


async def test_a_restart_keeps_port_and_content(tmp_path: Path) -> None:
    """After an outage the same references work again."""
    async with run_registry(tmp_path) as registry:
        host = registry.host
        await registry.push(web_image("1"), "acme/web:1")
        await registry.stop()
        await registry.start()

        assert registry.host == host
        assert await registry.tags("acme/web") == ["1"]


def test_images_are_reproducible() -> None:
    """The same arguments give the same digest, other behaviour another one."""
    assert web_image("1").digest == web_image("1").digest
    assert web_image("1").digest != crashing_image("1").digest
    assert web_image("1", runtime="process").digest != web_image("1").digest
    assert build_image(version="1", behaviour={}).digest != web_image("1").digest
