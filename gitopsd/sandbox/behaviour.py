"""What an image does when it runs, as its own config says. Pure.

An image whose config has the label ``gitopsd.io/serve`` is run by the node agent inside its own
process, which costs no child. The label holds a JSON object; every key may be left out:

    {"log": ["starting"],                 lines written at the start
     "requireEnv": ["DATABASE_URL"],      exits 1 at the start when one is not set
     "append": {"path": "$(OUT)/runs", "line": "$(HOSTNAME)"},   one line into a file at each start
     "exits": [{"code": 1, "afterSeconds": 0, "log": ["fatal"], "oomKilled": false,
                "whenEnv": {"MODE": "crash"}}],                  the first that applies
     "memoryMebibytes": 300,              what it needs; OOMKilled when its limit is smaller
     "listenAfterSeconds": 0,             refuses connections until then
     "ports": [8080],                     where it listens; none: it serves nothing
     "onTerm": {"code": 0, "afterSeconds": 0, "ignore": false},  what SIGTERM does
     "exec": {"cat /tmp/ready": 0},       exit codes of commands run inside it
     "execOutput": {"cat /tmp/ready": {"stdout": "yes", "stderr": ""}},   what they write
     "routes": [{"path": "/health", "statuses": [200], "json": {"status": "healthy"},
                 "text": "", "headers": {}, "delaySeconds": 0, "whenEnv": {}}]}

The n-th request to a route gets the n-th status, the last one stays. ``$(NAME)`` in strings is
replaced from the container's environment. A path without a route is 404. Without ``ports`` and
``exits`` the container just runs until it is stopped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson

from gitopsd.errors import PermanentError
from gitopsd.sandbox.fields import (
    field_at,
    flag_at,
    number_at,
    object_at,
    objects_at,
    text_at,
    text_map_at,
    texts_at,
)

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject

SERVE_LABEL = "gitopsd.io/serve"
SUCCESS = 200
_REFERENCE = re.compile(r"\$(\$|\(([A-Za-z_][A-Za-z0-9_.-]*)\))")


@dataclass(frozen=True, slots=True)
class Exit:
    """That the container ends by itself."""

    code: int = 0
    after: timedelta = timedelta()
    log: tuple[str, ...] = ()
    oom_killed: bool = False
    when_env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OnTerm:
    """What the container does when it is asked to stop."""

    code: int = 0
    after: timedelta = timedelta()
    ignore: bool = False


@dataclass(frozen=True, slots=True)
class Append:
    """A line written into a file at each start."""

    path: str
    line: str


@dataclass(frozen=True, slots=True)
class Route:
    """One path and its answers."""

    path: str
    statuses: tuple[int, ...] = (SUCCESS,)
    json: Json = None
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: timedelta = timedelta()
    when_env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The whole label."""

    log: tuple[str, ...] = ()
    require_env: tuple[str, ...] = ()
    append: Append | None = None
    exits: tuple[Exit, ...] = ()
    memory_mebibytes: float = 0
    listen_after: timedelta = timedelta()
    ports: tuple[int, ...] = ()
    on_term: OnTerm = OnTerm()
    exec: Mapping[str, int] = field(default_factory=dict)
    exec_output: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()

    def exit_for(self, env: Mapping[str, str]) -> Exit | None:
        """How a container with this environment ends by itself; None: it does not."""
        missing = next((name for name in self.require_env if name not in env), None)
        if missing is not None:
            return Exit(code=1, log=(f"fatal: {missing} is not set",))
        return next((rule for rule in self.exits if _applies(rule.when_env, env)), None)

    def route_for(self, path: str, env: Mapping[str, str]) -> Route | None:
        """The first route that matches; None: 404."""
        return next(
            (
                route
                for route in self.routes
                if route.path == path and _applies(route.when_env, env)
            ),
            None,
        )


def parse_behaviour(label: str) -> Behaviour:
    """Read the label.

    Raises:
        PermanentError: It is no JSON object.
    """
    try:
        document: Json = orjson.loads(label)
    except orjson.JSONDecodeError as error:
        message = f"the image label {SERVE_LABEL} is not JSON: {error}"
        raise PermanentError(message, reason="BadImage") from error
    if not isinstance(document, Mapping):
        message = f"the image label {SERVE_LABEL} must hold a JSON object"
        raise PermanentError(message, reason="BadImage")
    append = object_at(document, "append")
    return Behaviour(
        log=texts_at(document, "log"),
        require_env=texts_at(document, "requireEnv"),
        append=Append(text_at(append, "path"), text_at(append, "line")) if append else None,
        exits=tuple(_parse_exit(item) for item in objects_at(document, "exits")),
        memory_mebibytes=number_at(document, "memoryMebibytes"),
        listen_after=_seconds(document, "listenAfterSeconds"),
        ports=_integers(document, "ports"),
        on_term=OnTerm(
            code=int(number_at(document, "onTerm", "code")),
            after=_seconds(object_at(document, "onTerm"), "afterSeconds"),
            ignore=flag_at(document, "onTerm", "ignore"),
        ),
        exec={name: int(number_at(document, "exec", name)) for name in object_at(document, "exec")},
        exec_output={
            name: (
                text_at(document, "execOutput", name, "stdout"),
                text_at(document, "execOutput", name, "stderr"),
            )
            for name in object_at(document, "execOutput")
        },
        routes=tuple(_parse_route(item) for item in objects_at(document, "routes")),
    )


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` as Kubernetes does: unknown names stay, ``$$`` is a dollar sign."""

    def replacement(found: re.Match[str]) -> str:
        return "$" if found[1] == "$" else env.get(found[2], found[0])

    return _REFERENCE.sub(replacement, text)


def expand_json(value: Json, env: Mapping[str, str]) -> Json:
    """The same in every string of a JSON value."""
    if isinstance(value, str):
        return expand(value, env)
    if isinstance(value, Mapping):
        return {key: expand_json(item, env) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [expand_json(item, env) for item in value]
    return value


def _parse_exit(item: JsonObject) -> Exit:
    return Exit(
        code=int(number_at(item, "code")),
        after=_seconds(item, "afterSeconds"),
        log=texts_at(item, "log"),
        oom_killed=flag_at(item, "oomKilled"),
        when_env=text_map_at(item, "whenEnv"),
    )


def _parse_route(item: JsonObject) -> Route:
    return Route(
        path=text_at(item, "path", default="/"),
        statuses=_integers(item, "statuses") or (SUCCESS,),
        json=field_at(item, "json"),
        text=text_at(item, "text"),
        headers=text_map_at(item, "headers"),
        delay=_seconds(item, "delaySeconds"),
        when_env=text_map_at(item, "whenEnv"),
    )


def _applies(when_env: Mapping[str, str], env: Mapping[str, str]) -> bool:
    return all(env.get(name) == value for name, value in when_env.items())


def _seconds(document: JsonObject, key: str) -> timedelta:
    return timedelta(seconds=number_at(document, key))


def _integers(document: JsonObject, key: str) -> tuple[int, ...]:
    values = document.get(key)
    if not isinstance(values, Sequence) or isinstance(values, str):
        return ()
    return tuple(value for value in values if isinstance(value, int))
