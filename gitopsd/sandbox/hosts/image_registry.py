"""A registry of images in memory, with the notifications that Distribution sends.

Run it with ``python -m gitopsd.sandbox.hosts.image_registry``. What it does not do: pulls are not
reported, nothing outlives it, and referrers are not listed.
"""

from __future__ import annotations

import argparse
import re
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import orjson
from aiohttp import web

from gitopsd.sandbox.hosts.foreground import LARGEST_REQUEST_BYTES, run_foreground, run_host
from gitopsd.sandbox.hosts.logins import find_user
from gitopsd.sandbox.hosts.registry_content import Content, Manifest, Refused
from gitopsd.sandbox.hosts.registry_events import Events

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp.typedefs import Handler

    from gitopsd.domain.manifests import Json, JsonObject

PAGE = 100
BLOB_TYPE = "application/octet-stream"
_NAME = r"{name:[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*}"
_RANGE = re.compile(r"(?:bytes )?(\d+)-(\d+)(?:/.*)?")
_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}


class ImageRegistry:
    """The handlers of one registry.

    Args:
        content: What it holds.
        events: Where it reports.
        login_file: Lines of ``user:password``; None lets everybody in.
    """

    def __init__(self, content: Content, events: Events, login_file: Path | None = None) -> None:
        self._content = content
        self._events = events
        self._login_file = login_file

    def make_app(self) -> web.Application:
        """Make what is served."""
        app = web.Application(client_max_size=LARGEST_REQUEST_BYTES, middlewares=[self._guard])
        uploads = f"/v2/{_NAME}/blobs/uploads/"
        one_upload = f"{uploads}{{upload}}"
        blob = f"/v2/{_NAME}/blobs/{{digest}}"
        manifest = f"/v2/{_NAME}/manifests/{{reference}}"
        app.add_routes(
            [
                web.get("/v2/", self._base),
                web.get("/v2/_catalog", self._list_repositories),
                web.get(f"/v2/{_NAME}/tags/list", self._list_tags),
                web.post(uploads, self._start_upload),
                web.get(one_upload, self._tell_upload, allow_head=False),
                web.patch(one_upload, self._append),
                web.put(one_upload, self._finish_upload),
                web.delete(one_upload, self._cancel_upload),
                web.get(blob, self._get_blob),
                web.delete(blob, self._delete_blob),
                web.get(manifest, self._get_manifest),
                web.put(manifest, self._put_manifest),
                web.delete(manifest, self._delete_manifest),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._check_login(request)
            answer = await handler(request)
        except Refused as refused:
            error: Json = {"code": refused.reason, "message": refused.message, "detail": None}
            answer = _answer(refused.status, {"errors": [error]})
            if refused.status == HTTPStatus.UNAUTHORIZED:
                answer.headers["WWW-Authenticate"] = 'Basic realm="registry"'
        except web.HTTPException as error:
            # The router and the reader of bodies tell their refusals so.
            answer = _answer(
                error.status, {"errors": [{"code": "UNSUPPORTED", "message": error.reason}]}
            )
        if not answer.prepared:
            answer.headers.update(_VERSION)
        return answer

    def _check_login(self, request: web.Request) -> None:
        if find_user(self._login_file, request.headers.get("Authorization", "")) is None:
            raise Refused(HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED", "authentication required")

    async def _base(self, _request: web.Request) -> web.Response:
        return _answer(HTTPStatus.OK, {})

    async def _list_repositories(self, request: web.Request) -> web.Response:
        names, following = _page(request, sorted(self._content.repositories))
        return _answer(HTTPStatus.OK, {"repositories": names}, following)

    async def _list_tags(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        tags, following = _page(request, sorted(self._content.repository(name).tags))
        return _answer(HTTPStatus.OK, {"name": name, "tags": tags}, following)

    async def _start_upload(self, request: web.Request) -> web.Response:
        name, query = request.match_info["name"], request.query
        mounted = query.get("mount", "")
        if mounted and self._content.mount_blob(name, mounted, query.get("from", "")):
            size = len(self._content.blob(name, mounted))
            self._report(request, "mount", {**_describe_blob(mounted, size)})
            return _created(f"/v2/{name}/blobs/{mounted}", mounted)
        if "digest" in query:
            content = await request.read()
            self._content.put_blob(name, query["digest"], content)
            self._report(request, "push", _describe_blob(query["digest"], len(content)))
            return _created(f"/v2/{name}/blobs/{query['digest']}", query["digest"])
        return _uploading(HTTPStatus.ACCEPTED, name, self._content.start_upload(), 0)

    async def _tell_upload(self, request: web.Request) -> web.Response:
        name, upload = request.match_info["name"], request.match_info["upload"]
        return _uploading(HTTPStatus.NO_CONTENT, name, upload, self._content.size(upload))

    async def _append(self, request: web.Request) -> web.Response:
        name, upload = request.match_info["name"], request.match_info["upload"]
        size = self._content.append(upload, await request.read(), _begin(request))
        return _uploading(HTTPStatus.ACCEPTED, name, upload, size)

    async def _finish_upload(self, request: web.Request) -> web.Response:
        name, upload = request.match_info["name"], request.match_info["upload"]
        last = await request.read()
        if last:
            self._content.append(upload, last, _begin(request))
        digest = request.query.get("digest", "")
        size = self._content.finish_upload(name, upload, digest)
        self._report(request, "push", _describe_blob(digest, size))
        return _created(f"/v2/{name}/blobs/{digest}", digest)

    async def _cancel_upload(self, request: web.Request) -> web.Response:
        self._content.cancel(request.match_info["upload"])
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _get_blob(self, request: web.Request) -> web.Response:
        digest = request.match_info["digest"]
        content = self._content.blob(request.match_info["name"], digest)
        return _bytes(request, content, BLOB_TYPE, digest)

    async def _delete_blob(self, request: web.Request) -> web.Response:
        digest = request.match_info["digest"]
        self._content.delete_blob(request.match_info["name"], digest)
        self._report(request, "delete", {"digest": digest})
        return web.Response(status=HTTPStatus.ACCEPTED)

    async def _get_manifest(self, request: web.Request) -> web.Response:
        found = self._content.manifest(request.match_info["name"], request.match_info["reference"])
        return _bytes(request, found.content, found.media_type, found.digest)

    async def _put_manifest(self, request: web.Request) -> web.Response:
        name, reference = request.match_info["name"], request.match_info["reference"]
        media_type = request.headers.get("Content-Type", "").partition(";")[0].strip()
        kept = self._content.put_manifest(name, reference, media_type, await request.read())
        tag = {} if ":" in reference else {"tag": reference}
        self._report(request, "push", {**_describe_manifest(request, kept), **tag})
        return _created(f"/v2/{name}/manifests/{kept.digest}", kept.digest)

    async def _delete_manifest(self, request: web.Request) -> web.Response:
        reference = request.match_info["reference"]
        self._content.delete_manifest(request.match_info["name"], reference)
        what = "digest" if ":" in reference else "tag"
        self._report(request, "delete", {what: reference})
        return web.Response(status=HTTPStatus.ACCEPTED)

    def _report(self, request: web.Request, action: str, target: JsonObject) -> None:
        whole: JsonObject = {**target, "repository": request.match_info["name"]}
        self._events.report(request, action, whole)


def _answer(
    status: int, document: JsonObject, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(document),
        content_type="application/json",
        headers=headers,
    )


def _created(location: str, digest: str) -> web.Response:
    headers = {"Location": location, "Docker-Content-Digest": digest}
    return web.Response(status=HTTPStatus.CREATED, headers=headers)


def _uploading(status: int, name: str, upload: str, size: int) -> web.Response:
    headers = {
        "Location": f"/v2/{name}/blobs/uploads/{upload}",
        "Range": f"0-{max(size - 1, 0)}",
        "Docker-Upload-UUID": upload,
    }
    return web.Response(status=status, headers=headers)


def _bytes(request: web.Request, content: bytes, kind: str, digest: str) -> web.Response:
    headers = {"Docker-Content-Digest": digest, "Content-Type": kind}
    if request.method == "HEAD":
        return web.Response(headers={**headers, "Content-Length": str(len(content))})
    return web.Response(body=content, headers=headers)


def _page(request: web.Request, rows: Sequence[str]) -> tuple[list[Json], dict[str, str]]:
    """The rows after ``last``, at most ``n`` of them, and where the next ones are."""
    asked, last = request.query.get("n", ""), request.query.get("last", "")
    if asked and not asked.isdecimal():
        raise Refused(
            HTTPStatus.BAD_REQUEST, "PAGINATION_NUMBER_INVALID", f"n is no number: {asked[:20]}"
        )
    wanted = int(asked) if asked else PAGE
    after = [row for row in rows if row > last]
    page = after[:wanted]
    if not page or len(after) <= wanted:
        return list(page), {}
    query = urlencode({"n": wanted, "last": page[-1]})
    return list(page), {"Link": f'<{request.path}?{query}>; rel="next"'}


def _begin(request: web.Request) -> int | None:
    """Where a chunk begins, if its header says so."""
    given = request.headers.get("Content-Range", "")
    found = _RANGE.fullmatch(given)
    return int(found[1]) if found else None


def _describe_blob(digest: str, size: int) -> JsonObject:
    return {"mediaType": BLOB_TYPE, "size": size, "length": size, "digest": digest}


def _describe_manifest(request: web.Request, manifest: Manifest) -> JsonObject:
    size = len(manifest.content)
    name = request.match_info["name"]
    return {
        "mediaType": manifest.media_type,
        "size": size,
        "length": size,
        "digest": manifest.digest,
        "url": f"{request.url.origin()}/v2/{name}/manifests/{manifest.digest}",
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the process."""
    parser = argparse.ArgumentParser(prog="python -m gitopsd.sandbox.hosts.image_registry")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--info", type=Path, help="file that gets pid and url when it listens")
    parser.add_argument("--login-file", type=Path, help="lines of user:password")
    parser.add_argument("--receiver-file", type=Path, help="JSON with url and secretFile")
    parser.add_argument("--parent", type=int, default=0, help="process that it ends with")
    given = parser.parse_args(arguments)

    async def serve() -> None:
        events = Events(given.receiver_file)
        registry = ImageRegistry(Content(), events, given.login_file)
        await run_foreground(given.listen, given.info, registry.make_app(), events.run)

    run_host(serve(), given.parent)


if __name__ == "__main__":
    main()
