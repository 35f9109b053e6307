"""The first admin token of an installation: given in a file, or made in the data directory."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

from gitopsd.engine.services import Services
from gitopsd.entrypoints.tokens import adopt_given_token, make_first_token, parse_given_token
from gitopsd.errors import GitopsdError
from gitopsd.settings import Settings

_LOG = logging.getLogger(__name__)

LOOK_AGAIN = timedelta(seconds=10)
"""How often the file is read again, so that a token that was replaced counts without a restart."""


class FirstToken:
    """Sees to it that somebody can do something.

    Args:
        services: The store, the clock, and how a secret is read.
        settings: Where the file is, if any, and the data directory.
    """

    def __init__(self, services: Services, settings: Settings) -> None:
        self._services = services
        self._file = settings.first_token_file
        self._data_dir = settings.data_dir
        self._known = ""
        self._problem = ""

    async def settle(self) -> str:
        """Take the token of the file, or make one when there is none yet.

        Safe to repeat: what is known is left as it is.

        Returns:
            What to tell the person at the terminal, never the token; empty for nothing new.

        Raises:
            PermanentError: The file cannot be read, or holds what cannot be used.
            TemporaryError: The database does not answer.
        """
        if self._file is None:
            made = await make_first_token(self._services.store, self._data_dir)
            return "" if made is None else f"A first admin token is in {made.absolute()}"
        return await self._adopt(self._file)

    async def follow(self) -> None:
        """Take each new token of the file, until cancelled; trouble leaves the last in force."""
        while self._file is not None:
            await self._services.clock.sleep(LOOK_AGAIN)
            try:
                told = await self._adopt(self._file)
            except GitopsdError as error:
                if str(error) != self._problem:
                    _LOG.error("the last first admin token stays in force: %s", error)
                self._problem = str(error)
            except Exception as error:  # noqa: BLE001 - a bug here must not end the looking
                self._services.telemetry.report(error, part="first token")
            else:
                self._problem = ""
                if told:
                    _LOG.warning("the first admin token was replaced; the old one is revoked")

    async def _adopt(self, file: Path) -> str:
        hashed = parse_given_token(self._services.read_secret(str(file)), str(file))
        if hashed == self._known:
            return ""
        new = await adopt_given_token(self._services.store, hashed)
        self._known = hashed
        return f"The first admin token is the one in {file}" if new else ""
