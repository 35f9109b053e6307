"""The import contracts cover what there is: each driver has a home, and nothing is excused."""

from __future__ import annotations

import tomllib

from tests.support.projects import REPOSITORY

_DRIVERS = {
    "aiohttp",
    "alembic",
    "arq",
    "dns",
    "h2",
    "kubernetes_asyncio",
    "pygit2",
    "redis",
    "rich",
    "sentry_sdk",
    "sqlalchemy",
    "typer",
}


def test_every_driver_has_one_home() -> None:
    """Each driver is protected by exactly one contract, and so is the machine.

    import-linter refuses a name that nothing imports, so a driver's line in pyproject.toml is a
    comment until the first import: take the comment sign away then.
    """
    configuration = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    contracts = configuration["tool"]["importlinter"]["contracts"]

    protected = [
        module
        for contract in contracts
        if contract["type"] == "protected"
        for module in contract["protected_modules"]
    ]

    assert sorted(protected) == sorted({*_DRIVERS, "gitopsd.pipeline.machine"})


def test_no_import_is_excused() -> None:
    """No contract ignores an import."""
    configuration = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())

    assert all(
        "ignore_imports" not in contract
        for contract in configuration["tool"]["importlinter"]["contracts"]
    )
