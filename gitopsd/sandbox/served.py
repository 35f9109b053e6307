"""Runs an image inside the agent: a local HTTP server that does what the image's label says."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from gitopsd.sandbox.behaviour import Behaviour, Exit, Route, expand, expand_json
from gitopsd.sandbox.container import KILLED, SERVED_BY, CommandResult, Launch, LogLine, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from gitopsd.sandbox.clock import Clock

DRAIN_SECONDS = 1.0
NO_SUCH_COMMAND = 127


class ServedContainer:
    """A container without a process of its own; see `gitopsd.sandbox.container.Container`.

    Args:
        behaviour: What the image says.
        launch: What it is started with.
        clock: For delays and the time of lines.
    """

    def __init__(self, behaviour: Behaviour, launch: Launch, clock: Clock) -> None:
        self._behaviour = behaviour
        self._launch = launch
        self._env = launch.env
        self._clock = clock
        self._ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._server = web.Server(self._answer, access_log=None)
        self._listeners: list[asyncio.Server] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._listening: asyncio.Task[None] | None = None
        self._asked: dict[int, int] = {}

    @property
    def probe_host(self) -> str:
        """The pod's address: nothing stands between it and the server."""
        return self._launch.address

    async def start(self) -> None:
        """Do what comes first: lines, file, an exit at once; then listen."""
        behaviour = self._behaviour
        for line in behaviour.log:
            self._say(line)
        if behaviour.append is not None:
            path = self._mapped(expand(behaviour.append.path, self._env))
            line = expand(behaviour.append.line, self._env)
            try:
                await asyncio.to_thread(_append_line, path, line)
            except OSError as error:
                self._say(f"fatal: {error}")
                self._end(Outcome(1))
        if 0 < self._launch.memory_limit_mebibytes < behaviour.memory_mebibytes:
            self._end(Outcome(KILLED, oom_killed=True))
        rule = behaviour.exit_for(self._env)
        if rule is not None:
            self._later(rule.after, rule)
        if self._ended.done():
            return
        if behaviour.listen_after:
            self._listening = asyncio.create_task(self._listen_later(behaviour.listen_after))
        else:
            await self._listen()

    async def settle(self) -> None:
        """Return at once: an end at the start has already happened."""

    async def wait(self) -> Outcome:
        """Wait for its end."""
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        """Do what the image does on SIGTERM."""
        on_term = self._behaviour.on_term
        if not on_term.ignore:
            self._later(on_term.after, Exit(code=on_term.code))

    def kill(self) -> None:
        """End with 137."""
        self._end(Outcome(KILLED))

    async def close(self) -> None:
        """Stop listening and let answers in flight go out."""
        for timer in self._timers:
            timer.cancel()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        for listener in self._listeners:
            listener.close()
        await self._server.shutdown(DRAIN_SECONDS)
        self._launch.log.close()

    async def run_command(self, words: Sequence[str], *, limit: timedelta) -> CommandResult:  # noqa: ARG002 - part of the protocol
        """Look up what the image says about this command."""
        command = " ".join(words)
        code = self._behaviour.exec.get(command)
        if code is None:
            said = f'exec: "{next(iter(words), "")}": executable file not found in $PATH'
            return CommandResult(NO_SUCH_COMMAND, problem=said)
        stdout, stderr = self._behaviour.exec_output.get(command, ("", ""))
        return CommandResult(code, expand(stdout, self._env), expand(stderr, self._env))

    async def _listen_later(self, delay: timedelta) -> None:
        await self._clock.sleep(delay)
        await self._listen()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for port in self._behaviour.ports:
            try:
                listener = await loop.create_server(self._server, self._launch.address, port)
            except OSError as error:
                self._say(f"fatal: listen tcp {self._launch.address}:{port}: {error.strerror}")
                self._end(Outcome(1))
                return
            self._listeners.append(listener)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        route = self._behaviour.route_for(request.path, self._env)
        if route is None:
            response = web.Response(
                status=HTTPStatus.NOT_FOUND,
                body=b'{"error": "no such route"}',
                content_type="application/json",
            )
        else:
            response = await self._answer_route(route)
        response.headers[SERVED_BY] = self._launch.served_by
        return response

    async def _answer_route(self, route: Route) -> web.Response:
        number = self._asked.get(id(route), 0)
        self._asked[id(route)] = number + 1
        if route.delay:
            await self._clock.sleep(route.delay)
        status = route.statuses[min(number, len(route.statuses) - 1)]
        if route.json is not None:
            body = orjson.dumps(expand_json(route.json, self._env))
            kind = "application/json"
        else:
            body = expand(route.text, self._env).encode()
            kind = "text/plain"
        return web.Response(
            status=status, body=body, content_type=kind, headers=dict(route.headers)
        )

    def _later(self, delay: timedelta, rule: Exit) -> None:
        if delay:
            loop = asyncio.get_running_loop()
            self._timers.append(loop.call_later(delay.total_seconds(), self._leave, rule))
        else:
            self._leave(rule)

    def _leave(self, rule: Exit) -> None:
        if not self._ended.done():
            for line in rule.log:
                self._say(line)
        self._end(Outcome(rule.code, oom_killed=rule.oom_killed))

    def _end(self, outcome: Outcome) -> None:
        if not self._ended.done():
            self._ended.set_result(outcome)

    def _say(self, line: str) -> None:
        self._launch.log.write(LogLine(self._clock.now(), expand(line, self._env)))

    def _mapped(self, path: str) -> str:
        for mount, directory in self._launch.mounts.items():
            if path == mount or path.startswith(f"{mount.rstrip('/')}/"):
                return f"{directory}{path[len(mount.rstrip('/')) :]}"
        return path


def _append_line(path: str, line: str) -> None:
    with open(path, "a") as file:  # noqa: PTH123 - append has no short form in pathlib
        file.write(f"{line}\n")
