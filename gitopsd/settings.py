"""How the process runs: ``GITOPSD_*`` variables, read once, never changed.

What to deploy is configuration, not settings: it lives in the configuration folder and is read
again whenever it changes. Secrets are file names, never values.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SecretStr,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gitopsd.errors import PermanentError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
PREFIX = "GITOPSD_"
_SHORTEST_RETENTION = timedelta(days=7)


def _parse_duration(value: object) -> object:
    """Read ``500ms``, ``60s``, ``5m``, ``2h``, ``1d``.

    Raises:
        ValueError: It is text, but none of these.
    """
    if not isinstance(value, str):
        return value
    for unit in sorted(_UNITS, key=len, reverse=True):
        number = value.removesuffix(unit)
        if number != value and number.replace(".", "", 1).isdecimal():
            read = timedelta(seconds=float(number) * _UNITS[unit])
            if not read:
                raise ValueError("it must be longer than nothing")
            return read
    message = f"{value!r} is no span of time; write 500ms, 60s, 5m, 2h or 1d"
    raise ValueError(message)


def _check_url(value: str) -> str:
    """Take an address of HTTP, or nothing.

    Raises:
        ValueError: It is something else.
    """
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
        parts = urlsplit("")
    if value and not usable:
        raise ValueError("it is no http or https address; write for example https://host/path")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("write the address alone, without a user, password, ? or #")
    return value.rstrip("/")


def _check_retention(value: timedelta) -> timedelta:
    """Take a span that is longer than anything that waits.

    Raises:
        ValueError: It is shorter than a week.
    """
    if value < _SHORTEST_RETENTION:
        raise ValueError("keep at least 7d: gates, approvals and retries look back as far")
    return value


Duration = Annotated[timedelta, BeforeValidator(_parse_duration)]

_SECTION = ConfigDict(frozen=True, extra="forbid")


class Address(BaseModel):
    """A base URL of an outside service."""

    model_config = _SECTION

    base_url: Annotated[str, AfterValidator(_check_url)] = ""
    """Base URL; empty for the service's public one."""


class SentrySettings(BaseModel):
    """Where bugs are reported."""

    model_config = _SECTION

    dsn: SecretStr = SecretStr("")
    """Sentry DSN; empty reports nothing."""


class VerifySettings(BaseModel):
    """What checks may reach."""

    model_config = _SECTION

    allow_loopback: bool = False
    """Whether checks by URL may reach loopback addresses; for trying things on one machine."""


class GitSettings(BaseModel):
    """How Git is spoken to."""

    model_config = _SECTION

    allow_local: bool = False
    """Whether plain paths and `file://` addresses are repositories; for trying things out."""

    deadline: Duration = timedelta(seconds=60)
    """Longest time of one fetch; it is ended then."""


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        # What a variable holds may be a secret; messages name the variable alone.
        hide_input_in_errors=True,
    )

    config_dir: Path = Path("config")
    """The configuration folder."""

    data_dir: Path = Path("data")
    """Database, Git mirrors, first token; one process at a time, on a local disk."""

    listen: str = "127.0.0.1:8080"
    """`HOST:PORT` of webhooks and API; port 0 takes a free one."""

    metrics_listen: str = "127.0.0.1:9090"
    """`HOST:PORT` of `/metrics`; port 0 takes a free one."""

    database_url: SecretStr = SecretStr("")
    """`postgresql://...`; empty for SQLite in the data directory."""

    redis_url: SecretStr = SecretStr("")
    """`redis://...` or `unix://...` of the doorbell; empty rings within the process only."""

    poll_interval: Duration = timedelta(seconds=60)
    """How often watched refs are read without any webhook."""

    sweep_interval: Duration = timedelta(seconds=1)
    """How often due work is looked for without any ring."""

    retention: Annotated[Duration, AfterValidator(_check_retention)] = timedelta(days=90)
    """How long deliveries, ended runs, audit and messages are kept that nothing needs."""

    first_token_file: Path | None = None
    """File with the first admin token, or its hash; without it one is made in `data_dir`."""

    encryption_key_file: Path | None = None
    """File with one or two keys for rendered Secrets; without it they are refused."""

    renderer: str = ""
    """Path of kustomize or kubectl; empty takes the one in PATH or beside the interpreter."""

    public_url: Annotated[str, AfterValidator(_check_url)] = ""
    """Address under which people reach the API; links in messages begin with it."""

    log_format: Literal["json", "text"] = "json"
    """`json` or `text`."""

    github: Address = Address()
    """GitHub's REST API."""

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
        environment: The process's environment.

    Raises:
        PermanentError: A variable is unknown or its value cannot be used; says which and what to
            write instead, and never what it holds.
    """
    _refuse_unknown(environment)

    class Read(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic calls it so
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (_Given(settings_cls, environment),)

    try:
        return Read()
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        name = PREFIX + "__".join(str(part) for part in problem["loc"]).upper()
        said = problem["msg"].removeprefix("Value error, ")
        raise PermanentError(f"setting {name}: {said}. See docs/settings.md") from None


class _Given(EnvSettingsSource):
    """Reads the variables that were given, not those of the process.

    Args:
        settings: The model.
        environment: The variables.
    """

    def __init__(self, settings: type[BaseSettings], environment: Mapping[str, str]) -> None:
        self._given = {name.lower(): value for name, value in environment.items()}
        super().__init__(settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name: value for name, value in self._given.items() if value}


CLIENT_NAMES = ("GITOPSD_SERVER", "GITOPSD_TOKEN", "GITOPSD_TOKEN_FILE")
"""Variables of the CLI as a client; the daemon ignores them."""


def names() -> tuple[str, ...]:
    """List every variable that the daemon reads, nested ones spelt out."""
    found: list[str] = []
    for name, info in Settings.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += [f"{PREFIX}{name}__{inner}".upper() for inner in kind.model_fields]
        else:
            found.append(f"{PREFIX}{name}".upper())
    return tuple(found)


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = (*names(), *CLIENT_NAMES)
    for name in environment:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            close = difflib.get_close_matches(name.upper(), known, n=1)
            hint = f"did you mean {close[0]}?" if close else "see docs/settings.md"
            raise PermanentError(f"there is no setting {name}; {hint}")
