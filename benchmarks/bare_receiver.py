"""The reference: an aiohttp handler that reads a body, verifies its HMAC, and keeps nothing."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
from pathlib import Path

from aiohttp import web

PATH = "/hooks/github"


def build_app(secret: bytes) -> web.Application:
    """Put the application together: one route."""

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        wanted = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        given = request.headers.get("X-Hub-Signature-256", "")
        return web.Response(status=202 if hmac.compare_digest(given, wanted) else 401)

    app = web.Application()
    app.router.add_post(PATH, receive)
    return app


async def serve(secret: bytes, info: Path) -> None:
    """Serve on a free port of the loopback until the process is ended."""
    runner = web.AppRunner(build_app(secret), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    draft = info.with_suffix(".part")
    draft.write_text(json.dumps({"url": f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"}))
    draft.replace(info)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])))
