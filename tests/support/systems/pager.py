"""Whoever is called: somebody else's receiver of gitopsd's messages, which takes what is signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
from datetime import timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from tests.support.processes import WaitTimeoutError, wait_until

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path
    from types import TracebackType

CALLED_WITHIN = timedelta(seconds=20)


class Pager:
    """A receiver on this machine.

    Attributes:
        calls: Messages that came, signed as Standard Webhooks says.
    """

    def __init__(self) -> None:
        """Use it as a context: it listens within."""
        self.calls: list[dict[str, Any]] = []
        self._secret = secrets.token_hex(16)
        pager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                signed = pager.is_signed(self.headers, body)
                if signed:
                    pager.calls.append(json.loads(body))
                self.send_response(HTTPStatus.NO_CONTENT if signed else HTTPStatus.UNAUTHORIZED)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="pager")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def is_signed(self, headers: Message, body: bytes) -> bool:
        """Whether a message has the signature that our secret makes."""
        said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = hmac.new(self._secret.encode(), said, hashlib.sha256).digest()
        ours = f"v1,{base64.b64encode(digest).decode()}"
        return hmac.compare_digest(ours, headers["webhook-signature"])

    def subscribe(self, folder: Path) -> None:
        """Have gitopsd call when something that was verified fails.

        Args:
            folder: Its configuration folder.
        """
        (folder / "pager.secret").write_text(f"{self._secret}\n", encoding="ascii")
        (folder / "channels").mkdir(exist_ok=True)
        (folder / "channels" / "pager.yaml").write_text(
            "apiVersion: gitopsd.io/v1\nkind: Channel\nmetadata: {name: pager}\nspec:\n"
            f"  type: webhook\n  url: http://127.0.0.1:{self._server.server_port}/\n"
            "  secretFile: pager.secret\n"
            "  subscriptions: [{triggers: [on-health-degraded]}]\n",
            encoding="ascii",
        )

    def await_call(self, stage: str, said: str) -> list[str]:
        """Wait until it was called about a stage; returns what it heard instead of it, if so."""
        quoted = json.dumps(said)

        def heard() -> bool:
            return any(
                call["data"]["stage"] == stage and quoted in json.dumps(call) for call in self.calls
            )

        try:
            wait_until(heard, what="the pager", within=CALLED_WITHIN)
        except WaitTimeoutError:
            return [f"nobody was called about {stage}; heard: {self.calls}"]
        return []
