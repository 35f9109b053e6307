"""The port `Registry`, over the OCI distribution API 1.1."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import timedelta
from urllib.parse import urljoin, urlsplit

from gitopsd.adapters.clock import SystemClock
from gitopsd.adapters.registry.credentials import load_credential
from gitopsd.adapters.registry.documents import (
    ACCEPTED,
    INDEX_TYPES,
    MANIFEST_TYPES,
    digest_of,
    find_labels,
    is_index,
    media_type_of,
    parse_details,
    parse_digest,
    parse_json_object,
    select_child,
    select_config,
)
from gitopsd.adapters.registry.endpoints import Endpoint, find_endpoint, is_same_origin
from gitopsd.adapters.registry.logins import Logins, describe_errors, refuse_login
from gitopsd.adapters.registry.transfer import TIMEOUT, Answer, Transfer
from gitopsd.domain.images import RegistrySpec
from gitopsd.domain.manifests import Digest, JsonObject
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.ports import Clock
from gitopsd.registry_ports import ImageDetails

LARGEST_DOCUMENT = 4 * 1024 * 1024
"""Of manifests and configurations; registries take no larger manifest."""

LARGEST_PAGE = 4 * 1024 * 1024
MOST_PAGES = 200
MOST_TAGS = 50_000
PAGE_TAGS = 1000
MOST_DETAILS = 5000
LISTING_TIMEOUT = timedelta(seconds=60)
"""Bound of all pages of a list of tags, however many there are."""

LONGEST_PATIENCE = timedelta(hours=1)

_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404
_METHOD_NOT_ALLOWED = 405
_PATIENCE = (408, 425, 429)
_REFUSED = range(400, 500)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_NEXT_PAGE = re.compile(r'<([^<>]*)>\s*;[^,]*\brel="?next"?', re.IGNORECASE)


class HttpRegistry:
    """Asks registries; implements ``ports.Registry``.

    Args:
        registries: The configured registries, as they are now.
        clock: Tells when tokens end; real time unless given.
        timeout: Bound of one request.
        listing: Bound of all requests for one list of tags.
    """

    def __init__(
        self,
        registries: Callable[[], Sequence[RegistrySpec]],
        clock: Clock | None = None,
        *,
        timeout: timedelta = TIMEOUT,
        listing: timedelta = LISTING_TIMEOUT,
    ) -> None:
        self._registries = registries
        self._transfer = Transfer(self._trusted_hosts, timeout)
        self._listing = listing
        self._logins = Logins(self._transfer, clock or SystemClock())
        self._details: OrderedDict[tuple[str, Digest], ImageDetails] = OrderedDict()

    async def fetch_digest(self, image: str, reference: str) -> Digest | None:
        """Ask what a tag points to, or whether a digest is there; None when it is not.

        Raises:
            TemporaryError: The registry does not answer, or not with a manifest.
            PermanentError: The name or the registry's configuration cannot be used.
        """
        endpoint = find_endpoint(image, self._registries())
        path = f"manifests/{_check_reference(image, reference)}"
        answer = await self._ask("HEAD", endpoint, path, accept=ACCEPTED)
        told = parse_digest(answer.headers.get("docker-content-digest", ""))
        if answer.status == _METHOD_NOT_ALLOWED or (answer.status == _OK and told is None):
            answer = await self._ask("GET", endpoint, path, accept=ACCEPTED)
            told = digest_of(answer.body, reference)
            if answer.status == _OK:
                _check_type(endpoint, path, answer)
        if not self._is_there(endpoint, path, answer):
            return None
        if parse_digest(reference) is not None and told != reference:
            raise _bad_answer(endpoint, path, f"it answers for {reference} with {told}")
        return told

    async def fetch_tags(self, image: str) -> tuple[str, ...]:
        """List all tags of an image; none when there is no such image.

        Raises:
            TemporaryError: The registry does not answer, or not with a list.
            PermanentError: It has more than `MOST_TAGS`, or the name cannot be used.
        """
        endpoint = find_endpoint(image, self._registries())
        bound = self._listing.total_seconds()
        try:
            async with asyncio.timeout(bound):
                return await self._read_pages(image, endpoint)
        except TimeoutError as error:
            message = f"{_where(endpoint, 'tags/list')}: not at its end within {bound:g} s"
            raise TemporaryError(message) from error

    async def _read_pages(self, image: str, endpoint: Endpoint) -> tuple[str, ...]:
        path, tags = f"tags/list?n={PAGE_TAGS}", dict[str, None]()
        for _ in range(MOST_PAGES):
            answer = await self._ask("GET", endpoint, path, largest=LARGEST_PAGE)
            if not self._is_there(endpoint, path, answer):
                return ()
            listed = (parse_json_object(answer.body) or {"tags": 0}).get("tags")
            if listed is not None and not isinstance(listed, list):
                raise _bad_answer(endpoint, path, "it answers with no list of tags")
            found = [tag for tag in listed or () if isinstance(tag, str) and _TAG.fullmatch(tag)]
            tags.update(dict.fromkeys(found))
            following = _find_next_page(endpoint, path, answer)
            if not following:
                return tuple(tags)
            if len(tags) > MOST_TAGS:
                break
            path = following
        message = (
            f"{image} has more than {len(tags)} tags; delete old ones, or follow one by digest"
        )
        raise PermanentError(message, reason="TooManyTags")

    async def fetch_details(self, image: str, digest: Digest) -> ImageDetails | None:
        """Read what an image says about itself; None when it is not there.

        What a digest names never changes, so it is read once.

        Raises:
            TemporaryError: The registry does not answer, or with other bytes than were asked for.
            PermanentError: The name or the registry's configuration cannot be used.
        """
        key = (image, digest)
        known = self._details.get(key)
        if known is not None:
            self._details.move_to_end(key)
            return known
        endpoint = find_endpoint(image, self._registries())
        details = await self._read_details(endpoint, digest)
        if details is not None:
            self._details[key] = details
            if len(self._details) > MOST_DETAILS:
                self._details.popitem(last=False)
        return details

    async def close(self) -> None:
        """Close connections. Safe to repeat: closed is closed."""
        await self._transfer.close()

    async def _read_details(self, endpoint: Endpoint, digest: Digest) -> ImageDetails | None:
        annotations: dict[str, str] = {}
        manifest, media_type = await self._read_manifest(endpoint, digest)
        if manifest is None:
            return None
        if is_index(media_type, manifest):
            annotations = find_labels(manifest)
            child = select_child(manifest)
            if child is None:
                return parse_details({}, annotations)
            manifest, media_type = await self._read_manifest(endpoint, child)
        manifest = manifest or {}
        config = select_config(manifest)
        read = await self._read_blob(endpoint, config) if config is not None else None
        return parse_details(read or {}, {**annotations, **find_labels(manifest)})

    async def _read_manifest(
        self, endpoint: Endpoint, digest: Digest
    ) -> tuple[JsonObject | None, str]:
        path = f"manifests/{digest}"
        answer = await self._ask("GET", endpoint, path, accept=ACCEPTED)
        if not self._is_there(endpoint, path, answer):
            return None, ""
        document = _parse_addressed(endpoint, path, answer, digest)
        return document, media_type_of(answer.headers.get("content-type", ""), document)

    async def _read_blob(self, endpoint: Endpoint, digest: Digest) -> JsonObject | None:
        path = f"blobs/{digest}"
        answer = await self._ask("GET", endpoint, path)
        if not self._is_there(endpoint, path, answer):
            return None
        return _parse_addressed(endpoint, path, answer, digest)

    async def _ask(
        self,
        method: str,
        endpoint: Endpoint,
        path: str,
        *,
        accept: str = "*/*",
        largest: int = LARGEST_DOCUMENT,
    ) -> Answer:
        """Send one request, and once more when it has to log in first."""
        credential = await asyncio.to_thread(load_credential, endpoint)
        authorization = self._logins.recall(endpoint, credential)
        answer = await self._send(method, endpoint, path, accept, authorization, largest)
        if answer.status == _UNAUTHORIZED:
            authorization = await self._logins.answer(endpoint, credential, answer, authorization)
            answer = await self._send(method, endpoint, path, accept, authorization, largest)
        if answer.status in (_UNAUTHORIZED, _FORBIDDEN):
            raise refuse_login(endpoint, credential, answer)
        return answer

    async def _send(
        self,
        method: str,
        endpoint: Endpoint,
        path: str,
        accept: str,
        authorization: str,
        largest: int,
    ) -> Answer:
        headers = {"Accept": accept}
        if authorization:
            headers["Authorization"] = authorization
        return await self._transfer.send(
            method,
            f"{endpoint.url}/v2/{endpoint.repository}/{path}",
            headers,
            largest=largest,
            ca_file=endpoint.spec.ca_file if endpoint.spec is not None else "",
        )

    def _is_there(self, endpoint: Endpoint, path: str, answer: Answer) -> bool:
        """Judge an answer: there, or not there.

        Raises:
            TemporaryError: It is neither; the registry asks for patience or is in trouble.
            PermanentError: The registry will never answer this.
        """
        if answer.status == _OK:
            return True
        if answer.status == _NOT_FOUND:
            return False
        said = describe_errors(answer)
        message = f"{_where(endpoint, path)}: HTTP {answer.status}{f' {said}' if said else ''}"
        if answer.status in _REFUSED and answer.status not in _PATIENCE:
            raise PermanentError(message, reason="Refused")
        patience = _parse_patience(answer.headers.get("retry-after", ""))
        raise TemporaryError(message, retry_after=patience)

    def _trusted_hosts(self) -> frozenset[str]:
        """Name the hosts of the configuration, without ports."""
        named: set[str] = set()
        for spec in self._registries():
            url = spec.url or f"https://{spec.host}"
            named |= {url, *(f"https://{host}" for host in spec.token_hosts)}
        return frozenset(urlsplit(url).hostname or "" for url in named)


def _check_reference(image: str, reference: str) -> str:
    if parse_digest(reference) is None and not _TAG.fullmatch(reference):
        message = f"{reference[:200]!r} is neither a tag nor a digest of {image}"
        raise PermanentError(message, reason="InvalidImage")
    return reference


def _check_type(endpoint: Endpoint, path: str, answer: Answer) -> None:
    """See that a manifest came, and not what something between us and the registry says."""
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (*INDEX_TYPES, *MANIFEST_TYPES):
        said = media_type or "nothing"
        raise _bad_answer(endpoint, path, f"it answers with {said} instead of a manifest")


def _parse_addressed(endpoint: Endpoint, path: str, answer: Answer, digest: Digest) -> JsonObject:
    """Parse bytes that must have a digest."""
    if digest_of(answer.body, digest) != digest:
        raise _bad_answer(endpoint, path, "it answers with bytes of another digest")
    return parse_json_object(answer.body) or {}


def _find_next_page(endpoint: Endpoint, path: str, answer: Answer) -> str:
    """Find the path of the next page, below the image's own; empty at the end."""
    found = _NEXT_PAGE.search(answer.headers.get("link", ""))
    if found is None:
        return ""
    base = f"{endpoint.url}/v2/{endpoint.repository}/"
    try:
        following = urljoin(base + path, str(found[1]))
        fits = is_same_origin(base, following) and urlsplit(following).path == (
            urlsplit(f"{base}tags/list").path
        )
    except ValueError:
        following, fits = "", False
    if not fits or following == base + path:
        raise _bad_answer(endpoint, path, "its next page is at an address that is not its own")
    return following.removeprefix(base)


def _parse_patience(value: str) -> timedelta | None:
    """Read ``Retry-After`` in seconds; None for anything else."""
    if not (value.isascii() and value.isdigit()):
        return None
    return min(timedelta(seconds=int(value[:9])), LONGEST_PATIENCE)


def _where(endpoint: Endpoint, path: str) -> str:
    return f"registry {endpoint.host}: {endpoint.repository}/{path.partition('?')[0]}"


def _bad_answer(endpoint: Endpoint, path: str, what: str) -> TemporaryError:
    return TemporaryError(f"{_where(endpoint, path)}: {what}", reason="BadAnswer")
