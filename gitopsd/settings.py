"""How the process runs: ``GITOPSD_*`` variables, read once, never changed.

What to deploy is configuration, not settings: it lives in the configuration folder and is read
again whenever it changes. Secrets are file names, never values.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from gitopsd.errors import PermanentError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PREFIX = "GITOPSD_"


def _parse_duration(value: object) -> object:
    """Read ``500ms``, ``60s``, ``5m``, ``2h``; everything else is pydantic's matter."""
    if isinstance(value, str):
        for unit in sorted(_UNITS, key=len, reverse=True):
            number = value.removesuffix(unit)
            if number != value and number.replace(".", "", 1).isdigit():
                return timedelta(seconds=float(number) * _UNITS[unit])
    return value


Duration = Annotated[timedelta, BeforeValidator(_parse_duration)]


class Address(BaseModel):
    """A base URL of an outside service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = ""
    """Base URL; empty for the service's public one."""


class SentrySettings(BaseModel):
    """Where bugs are reported."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dsn: SecretStr = SecretStr("")
    """Sentry DSN; empty reports nothing."""


class VerifySettings(BaseModel):
    """What checks may reach."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_loopback: bool = False
    """Whether direct checks may reach loopback addresses; for trying things on one machine."""


class GitSettings(BaseModel):
    """How Git is spoken to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_local: bool = False
    """Whether plain paths and ``file://`` addresses are repositories; for trying things out."""

    deadline: Duration = timedelta(seconds=60)
    """Longest time of one fetch; its child process is killed then."""


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
    )

    config_dir: Path = Path("config")
    """The configuration folder."""

    data_dir: Path = Path("data")
    """Where this process keeps its database, Git mirrors and first token; one process at a time."""

    listen: str = "127.0.0.1:8080"
    """``HOST:PORT`` of webhooks and API; port 0 takes a free one."""

    metrics_listen: str = "127.0.0.1:9090"
    """``HOST:PORT`` of ``/metrics``; port 0 takes a free one."""

    database_url: SecretStr = SecretStr("")
    """``postgresql://...``; empty for SQLite in the data directory."""

    redis_url: SecretStr = SecretStr("")
    """``redis://...`` or ``unix://...`` of the doorbell; empty rings within the process only."""

    poll_interval: Duration = timedelta(seconds=60)
    """How often watched refs are read without any webhook."""

    sweep_interval: Duration = timedelta(seconds=1)
    """How often due work is looked for without any ring."""

    encryption_key_file: Path | None = None
    """File with one or two keys for rendered Secrets; without it they are refused."""

    renderer: str = ""
    """Path of kustomize or kubectl; empty takes the one beside the interpreter, then PATH."""

    log_format: str = "json"
    """``json`` or ``text``."""

    github: Address = Address()
    """GitHub's API."""

    slack: Address = Address()
    """Slack's API."""

    sentry: SentrySettings = SentrySettings()
    """Sentry."""

    verify: VerifySettings = VerifySettings()
    """Checks."""

    git: GitSettings = GitSettings()
    """Git."""


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings; a variable of ours that means nothing stops the start.

    Args:
        environment: The process's environment, to find misspelt variables.

    Raises:
        PermanentError: A variable is unknown or its value cannot be used; says which and what to
            write instead.
    """
    _refuse_unknown(environment)
    try:
        return Settings()
    except ValidationError as error:
        problem = error.errors()[0]
        name = PREFIX + "__".join(str(part) for part in problem["loc"]).upper()
        raise PermanentError(f"setting {name}: {problem['msg']}. See docs/settings.md") from None


def names() -> tuple[str, ...]:
    """List every variable that is read, nested ones spelt out."""
    found = []
    for name, info in Settings.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += [f"{PREFIX}{name}__{inner}".upper() for inner in kind.model_fields]
        else:
            found.append(f"{PREFIX}{name}".upper())
    return tuple(found)


CLIENT_NAMES = ("GITOPSD_SERVER", "GITOPSD_TOKEN", "GITOPSD_TOKEN_FILE")
"""Variables of the CLI as a client; the daemon ignores them."""


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = (*names(), *CLIENT_NAMES)
    for name in environment:
        if name.startswith(PREFIX) and name.upper() not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "see docs/settings.md"
            raise PermanentError(f"there is no setting {name}; {hint}")
