"""The program inside test images that run as a child process.

It lies in the image's only layer beside ``behaviour.json`` and does what that file says; the
format is the one that `gitopsd.sandbox.behaviour` documents. It uses nothing but the standard
library and knows nothing of the tests: what it does, it does because of its image, its
environment and its files.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
ENVIRONMENT = dict(os.environ)  # noqa: TID251 - a container reads its environment
NEVER = threading.Event()


def expanded(value: Any) -> Any:  # noqa: ANN401 - any JSON value goes in and comes out
    """The JSON value with ``$(NAME)`` in its strings replaced from the environment."""
    if isinstance(value, str):
        return REFERENCE.sub(lambda found: ENVIRONMENT.get(found[1], found[0]), value)
    if isinstance(value, list):
        return [expanded(item) for item in value]
    if isinstance(value, dict):
        return {key: expanded(item) for key, item in value.items()}
    return value


def applies(rule: dict[str, Any]) -> bool:
    """Whether the environment is the one the rule asks for; without ``whenEnv`` it always is."""
    return all(ENVIRONMENT.get(name) == value for name, value in rule.get("whenEnv", {}).items())


def say(line: str) -> None:
    """Write one line to the container's log, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def leave(rule: dict[str, Any]) -> None:
    """End the whole process as the rule says, from whichever thread."""
    for line in rule.get("log", []):
        say(expanded(line))
    os._exit(int(rule.get("code", 0)))


def leave_later(rule: dict[str, Any]) -> None:
    """End the process as the rule says, while the main thread goes on serving."""
    seconds = float(rule.get("afterSeconds", 0))
    if not seconds:
        leave(rule)
    timer = threading.Timer(seconds, leave, [rule])
    timer.daemon = True
    timer.start()


class Handler(BaseHTTPRequestHandler):
    """Answers the routes of the image, the first that matches path and environment."""

    protocol_version = "HTTP/1.1"
    behaviour: dict[str, Any]
    asked: dict[int, int]

    def answer(self) -> None:
        """Answer one request of any method."""
        length = int(self.headers.get("Content-Length") or 0)
        if length:
            self.rfile.read(length)
        path = self.path.partition("?")[0]
        for number, route in enumerate(self.behaviour.get("routes", [])):
            if route["path"] == path and applies(route):
                self.answer_route(number, route)
                return
        self.send(404, b'{"error": "no such route"}', {"Content-Type": "application/json"})

    def answer_route(self, number: int, route: dict[str, Any]) -> None:
        """Answer what a route says at its n-th request."""
        NEVER.wait(float(route.get("delaySeconds", 0)))
        statuses = route.get("statuses", [200])
        status = statuses[min(self.asked.get(number, 0), len(statuses) - 1)]
        self.asked[number] = self.asked.get(number, 0) + 1
        if "json" in route:
            body, kind = json.dumps(expanded(route["json"])).encode(), "application/json"
        else:
            body, kind = expanded(route.get("text", "")).encode(), "text/plain; charset=utf-8"
        self.send(status, body, {"Content-Type": kind, **route.get("headers", {})})

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Send one complete answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the base's names

    def log_message(self, *_args: object) -> None:
        """Say nothing: access lines would drown the lines that tests look for."""


def serve(port: int) -> None:
    """Answer HTTP on the address the node gave us until the process ends."""
    ThreadingHTTPServer.daemon_threads = True
    with ThreadingHTTPServer(
        (ENVIRONMENT.get("BIND_ADDRESS", "127.0.0.1"), port), Handler
    ) as server:
        say(f"listening on port {port}")
        server.serve_forever()


def heed_signals(on_term: dict[str, Any]) -> None:
    """Arrange what SIGTERM does."""
    if on_term.get("ignore"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: leave_later(on_term))


def begin(behaviour: dict[str, Any]) -> None:
    """Do everything that comes before listening; may end the process."""
    for line in behaviour.get("log", []):
        say(expanded(line))
    for name in behaviour.get("requireEnv", []):
        if name not in ENVIRONMENT:
            leave({"code": 1, "log": [f"fatal: {name} is not set"]})
    append = behaviour.get("append")
    if append:
        with Path(expanded(append["path"])).open("a") as file:
            file.write(expanded(append["line"]) + "\n")
    for rule in behaviour.get("exits", []):
        if applies(rule):
            leave_later(rule)
            break
    NEVER.wait(float(behaviour.get("listenAfterSeconds", 0)))


def main() -> None:
    """Do what ``behaviour.json`` says."""
    behaviour = json.loads((HERE / "behaviour.json").read_text())
    Handler.behaviour, Handler.asked = behaviour, {}
    heed_signals(behaviour.get("onTerm", {}))
    begin(behaviour)
    ports = behaviour.get("ports", [])
    for port in ports[1:]:
        threading.Thread(target=serve, args=(port,), daemon=True).start()
    if ports:
        serve(ports[0])
    NEVER.wait()


if __name__ == "__main__":
    main()
