"""Registries that answer oddly, lead elsewhere, or do not answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from gitopsd.adapters.registry.client import LARGEST_PAGE, HttpRegistry
from gitopsd.domain.images import RegistrySpec
from gitopsd.domain.manifests import Digest
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.registry_ports import ImageDetails
from tests.integration.registry.conftest import Connect
from tests.support.odd_registry import MANIFEST, Asked, OddRegistry, run_odd_registry, say

DIGEST = "sha256:" + "a" * 64
INDEX = "application/vnd.oci.image.index.v1+json"
JSON = "application/json"


def _spec(registry: OddRegistry, credential_file: str = "") -> RegistrySpec:
    return RegistrySpec("it", registry.host, registry.url, credential_file)


def _digest(content: bytes, algorithm: str = "sha256") -> Digest:
    return Digest(f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")


def _dump(document: object) -> bytes:
    return json.dumps(document).encode()


async def test_all_kinds_of_manifests_are_asked_for(connect: Connect) -> None:
    """Without naming the index types, a registry would answer with one platform's digest."""
    async with run_odd_registry(lambda _: say(200, docker_content_digest=DIGEST)) as registry:
        await connect(_spec(registry)).fetch_digest(f"{registry.host}/team/api", "1")
        [asked] = registry.asked

    assert asked.method == "HEAD"
    assert asked.path == "/v2/team/api/manifests/1"
    assert asked.headers["accept"].split(", ") == [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
    assert asked.headers["user-agent"].startswith("gitopsd/")
    assert asked.headers["accept-encoding"] == "identity"
    assert "authorization" not in asked.headers


@pytest.mark.parametrize("status, told", [(200, ""), (200, "sha256:short"), (405, DIGEST)])
async def test_a_digest_that_is_not_told_is_computed(
    connect: Connect, status: int, told: str
) -> None:
    """A registry without the header, or without HEAD, is read; the bytes are what counts."""
    body = b'{"schemaVersion": 2}'

    def answer(asked: Asked) -> web.Response:
        if asked.method == "HEAD":
            return say(status, docker_content_digest=told)
        return say(200, body)

    async with run_odd_registry(answer) as registry:
        found = await connect(_spec(registry)).fetch_digest(f"{registry.host}/a", "1")

    assert found == _digest(body)


async def test_a_digest_of_another_algorithm_is_computed_by_it(connect: Connect) -> None:
    """What is asked for by sha512 is compared by sha512."""
    body = b'{"schemaVersion": 2}'
    wanted = _digest(body, "sha512")
    async with run_odd_registry(lambda _: say(200, body)) as registry:
        client = connect(_spec(registry))
        assert await client.fetch_digest(f"{registry.host}/a", wanted) == wanted
        assert await client.fetch_details(f"{registry.host}/a", wanted) == ImageDetails()


async def test_another_digest_than_asked_for_is_trouble(connect: Connect) -> None:
    """A registry that answers for a digest with another one is not believed."""
    other = "sha256:" + "b" * 64
    async with run_odd_registry(lambda _: say(200, docker_content_digest=other)) as registry:
        with pytest.raises(TemporaryError, match=f"it answers for {DIGEST} with {other}"):
            await connect(_spec(registry)).fetch_digest(f"{registry.host}/a", DIGEST)


async def test_a_page_of_something_else_is_no_manifest(connect: Connect) -> None:
    """What a proxy or a login page says has no digest."""
    async with run_odd_registry(lambda _: say(200, "<html>", "text/html")) as registry:
        with pytest.raises(TemporaryError, match="answers with text/html instead") as caught:
            await connect(_spec(registry)).fetch_digest(f"{registry.host}/a", "1")
    assert caught.value.reason == "BadAnswer"


@pytest.mark.parametrize(
    "status, headers, kind, patience",
    [
        (500, {}, TemporaryError, None),
        (503, {"retry_after": "7"}, TemporaryError, timedelta(seconds=7)),
        (429, {"retry_after": "999999999999"}, TemporaryError, timedelta(hours=1)),
        (429, {"retry_after": "soon"}, TemporaryError, None),
        (408, {}, TemporaryError, None),
        (204, {}, TemporaryError, None),
        (400, {}, PermanentError, None),
        (410, {}, PermanentError, None),
    ],
)
async def test_trouble_is_told_from_no(
    connect: Connect,
    status: int,
    headers: dict[str, str],
    kind: type[TemporaryError | PermanentError],
    patience: timedelta | None,
) -> None:
    """Only 404 means that an image is not there; patience that is asked for is given."""
    body = _dump({"errors": [{"code": "TOOMANYREQUESTS", "message": "later"}, "odd"]})
    async with run_odd_registry(lambda _: say(status, body, JSON, **headers)) as registry:
        client = connect(_spec(registry))
        with pytest.raises(kind, match=f"HTTP {status}") as caught:
            await client.fetch_tags(f"{registry.host}/a")
    assert getattr(caught.value, "retry_after", None) == patience
    if status != 204:
        assert "TOOMANYREQUESTS later" in str(caught.value)


async def test_a_forbidden_image_is_a_matter_of_credentials(connect: Connect) -> None:
    """That we may not see an image says nothing about whether it is there."""
    async with run_odd_registry(lambda _: say(403)) as registry:
        with pytest.raises(TemporaryError) as caught:
            await connect(_spec(registry)).fetch_digest(f"{registry.host}/a", "1")
    assert caught.value.reason == "Credential"


async def test_pages_of_tags_are_read_to_their_end(connect: Connect) -> None:
    """The link to the next page counts, not how full a page is; tags come once."""
    pages = {
        "/v2/a/tags/list?n=1000": (["1", "2"], '</v2/a/tags/list?n=1000&last=2>; rel="next"'),
        "/v2/a/tags/list?n=1000&last=2": (None, "<list?last=3>; rel=next"),
        "/v2/a/tags/list?last=3": (["2", "3", 7, "not a tag"], ""),
    }

    def answer(asked: Asked) -> web.Response:
        tags, link = pages[asked.path]
        return say(
            200, _dump({"name": "a", "tags": tags}), JSON, **({"link": link} if link else {})
        )

    async with run_odd_registry(answer) as registry:
        assert await connect(_spec(registry)).fetch_tags(f"{registry.host}/a") == ("1", "2", "3")
        assert len(registry.asked) == 3


@pytest.mark.parametrize(
    "link",
    [
        '<http://other.example/v2/a/tags/list?last=1>; rel="next"',
        '</v2/other/tags/list?last=1>; rel="next"',
        '</v2/a/tags/list?n=1000>; rel="next"',
        '<http://[::1/>; rel="next"',
    ],
)
async def test_the_next_page_is_at_the_registry_itself(connect: Connect, link: str) -> None:
    """A list cannot lead to another host or image, nor to itself."""
    body = _dump({"tags": ["1"]})
    async with run_odd_registry(lambda _: say(200, body, JSON, link=link)) as registry:
        with pytest.raises(TemporaryError, match="its next page is at an address"):
            await connect(_spec(registry)).fetch_tags(f"{registry.host}/a")


async def test_a_list_without_end_ends(connect: Connect) -> None:
    """Pages are counted, whatever they hold."""
    count = 0

    def answer(_: Asked) -> web.Response:
        nonlocal count
        count += 1
        link = f'</v2/a/tags/list?last={count}>; rel="next"'
        return say(200, _dump({"tags": [f"t{count}"]}), JSON, link=link)

    async with run_odd_registry(answer) as registry:
        with pytest.raises(PermanentError, match="more than 200 tags") as caught:
            await connect(_spec(registry)).fetch_tags(f"{registry.host}/a")
    assert caught.value.reason == "TooManyTags"


async def test_a_list_that_drips_ends(connect: Connect) -> None:
    """However quickly each page comes, all of them together are bounded in time."""
    ended = asyncio.Event()

    async def answer(asked: Asked) -> web.Response:
        if "last=2" in asked.path:
            await ended.wait()
        number = 2 if "last=1" in asked.path else 1
        link = f'</v2/a/tags/list?last={number}>; rel="next"'
        return say(200, _dump({"tags": [f"t{number}"]}), JSON, link=link)

    async with run_odd_registry(answer) as registry:
        client = connect(_spec(registry), seconds=60, listing_seconds=0.3)
        with pytest.raises(TemporaryError, match=r"tags/list: not at its end within 0\.3 s"):
            await client.fetch_tags(f"{registry.host}/a")
        ended.set()


async def test_a_page_is_bounded(connect: Connect) -> None:
    """A page of more bytes than any list has is given up before it is read to its end."""

    async def pour(_: Asked) -> web.StreamResponse:
        return say(200, b'{"tags": ["' + b"a" * (LARGEST_PAGE + 1) + b'"]}', JSON)

    async with run_odd_registry(pour) as registry:
        with pytest.raises(TemporaryError, match="longer than 4194304 bytes"):
            await connect(_spec(registry)).fetch_tags(f"{registry.host}/a")


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"tags": 7}', b'{"tags": {}}'])
async def test_what_is_no_list_of_tags_is_trouble(connect: Connect, body: bytes) -> None:
    """Broken JSON is never taken for an image without tags."""
    async with run_odd_registry(lambda _: say(200, body, JSON)) as registry:
        with pytest.raises(TemporaryError, match="no list of tags"):
            await connect(_spec(registry)).fetch_tags(f"{registry.host}/a")


@pytest.mark.parametrize("reference", ["", "a b", "../x", "sha256:abc", "a/b", "x" * 129])
async def test_what_is_no_reference_is_refused(connect: Connect, reference: str) -> None:
    """Nothing that is no tag and no digest comes into an address."""
    async with run_odd_registry(lambda _: say(200)) as registry:
        with pytest.raises(PermanentError, match="neither a tag nor a digest"):
            await connect(_spec(registry)).fetch_digest(f"{registry.host}/a", reference)
        assert registry.asked == []


class Shelf:
    """Blobs and manifests by digest."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[bytes, str]] = {}
        self.moved: dict[str, str] = {}

    def put(self, document: object, content_type: str = MANIFEST) -> Digest:
        """Add a document; returns its digest."""
        content = document if isinstance(document, bytes) else _dump(document)
        digest = _digest(content)
        self.held[digest] = (content, content_type)
        return digest

    def answer(self, asked: Asked) -> web.Response:
        """Serve what is held; what moved is answered with where it went."""
        name = asked.path.rpartition("/")[2]
        if name in self.moved:
            return say(307, location=self.moved[name])
        if name not in self.held:
            return say(404)
        return say(200, *self.held[name])


async def test_what_an_image_says_comes_from_all_its_documents(connect: Connect) -> None:
    """Labels win over annotations of the manifest, and those over annotations of the index."""
    key = "org.opencontainers.image."
    shelf = Shelf()
    config = shelf.put({"config": {"Labels": {f"{key}revision": "from-label"}}}, JSON)
    other = shelf.put({"config": None, "created": "2026-01-05T12:00:00Z"}, JSON)
    annotated = {f"{key}revision": "from-manifest", f"{key}created": "2026-01-02T00:00:00Z"}
    labelled = shelf.put({"config": {"digest": config}, "annotations": annotated})
    plain = shelf.put({"config": {"digest": other}, "annotations": {"x": 1}})
    index = shelf.put(
        {
            "manifests": [
                "odd",
                {"digest": "no digest", "platform": {"os": "linux", "architecture": "amd64"}},
                {"digest": labelled, "platform": {"os": "unknown", "architecture": "unknown"}},
                {"digest": labelled, "platform": {"os": "linux", "architecture": "arm64"}},
                {"digest": plain, "platform": {"os": "linux", "architecture": "amd64"}},
            ],
            "annotations": {f"{key}revision": "from-index"},
        },
        INDEX,
    )
    first_only = shelf.put({"manifests": [{"digest": labelled}]}, "application/octet-stream")
    empty = shelf.put({"manifests": [], "annotations": {f"{key}revision": "from-index"}}, INDEX)
    noon, second = datetime(2026, 1, 5, 12, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    async with run_odd_registry(shelf.answer) as registry:
        client, image = connect(_spec(registry)), f"{registry.host}/a"
        found = [
            await client.fetch_details(image, one)
            for one in (labelled, plain, index, first_only, empty)
        ]

    assert found == [
        ImageDetails("from-label", second),
        ImageDetails("", noon),
        ImageDetails("from-index", noon),
        ImageDetails("from-label", second),
        ImageDetails("from-index", None),
    ]


@pytest.mark.parametrize(
    "document",
    [
        b"no json", {}, [], {"config": "x"}, {"config": {"digest": 7}}, {"manifests": {}},
        {"config": {"digest": "sha256:" + "0" * 64}}, {"annotations": []},
    ],
)  # fmt: skip
async def test_odd_documents_say_nothing(connect: Connect, document: object) -> None:
    """An artifact that is no image, and an image that is half there, say nothing of themselves."""
    shelf = Shelf()
    digest = shelf.put(document)
    async with run_odd_registry(shelf.answer) as registry:
        found = await connect(_spec(registry)).fetch_details(f"{registry.host}/a", digest)

    assert found == ImageDetails()


@pytest.mark.parametrize(
    "created, expected",
    [
        ("1970-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00Z", None),
        ("2012-12-31T23:59:59Z", None),
        ("2026-01-05T12:00:00.123456789Z", datetime(2026, 1, 5, 12, 0, 0, 123456, UTC)),
        ("2026-01-05T14:00:00+02:00", datetime(2026, 1, 5, 12, tzinfo=UTC)),
        ("2026-01-05T12:00:00", datetime(2026, 1, 5, 12, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        (7, None),
    ],
)
async def test_a_time_before_containers_is_none(
    connect: Connect, created: object, expected: datetime | None
) -> None:
    """Reproducible builds say a time at which nothing can have been built."""
    shelf = Shelf()
    digest = shelf.put({"config": {"digest": shelf.put({"created": created}, JSON)}})
    async with run_odd_registry(shelf.answer) as registry:
        found = await connect(_spec(registry)).fetch_details(f"{registry.host}/a", digest)

    assert found == ImageDetails("", expected)


@pytest.mark.parametrize("revision", ["a\nb", "x" * 201, 7, None])
async def test_a_hostile_revision_is_none(connect: Connect, revision: object) -> None:
    """Labels are written by whoever built the image."""
    labels = {"org.opencontainers.image.revision": revision}
    shelf = Shelf()
    config = shelf.put({"config": {"Labels": labels}}, JSON)
    digest = shelf.put({"config": {"digest": config}})
    async with run_odd_registry(shelf.answer) as registry:
        found = await connect(_spec(registry)).fetch_details(f"{registry.host}/a", digest)

    assert found == ImageDetails()


async def test_what_a_digest_names_is_read_once(connect: Connect) -> None:
    """Bytes that cannot change are not asked for again; what was not there is."""
    shelf = Shelf()
    digest = shelf.put({"config": {"digest": shelf.put({}, JSON)}})
    async with run_odd_registry(shelf.answer) as registry:
        client, image = connect(_spec(registry)), f"{registry.host}/a"
        for _ in range(3):
            await client.fetch_details(image, digest)
        assert len(registry.asked) == 2
        for _ in range(2):
            assert await client.fetch_details(image, Digest(DIGEST)) is None
        assert len(registry.asked) == 4


@pytest.mark.parametrize("forged", ["manifest", "config"])
async def test_forged_bytes_are_not_believed(connect: Connect, forged: str) -> None:
    """Content that does not have its digest is trouble, wherever it came from."""
    shelf = Shelf()
    config = shelf.put({"config": {"Labels": {}}}, JSON)
    digest = shelf.put({"config": {"digest": config}})
    shelf.held[digest if forged == "manifest" else config] = (b'{"forged": true}', MANIFEST)
    async with run_odd_registry(shelf.answer) as registry:
        with pytest.raises(TemporaryError, match="bytes of another digest") as caught:
            await connect(_spec(registry)).fetch_details(f"{registry.host}/a", digest)
    assert caught.value.reason == "BadAnswer"


async def test_a_redirect_leaves_the_credential_behind(connect: Connect, tmp_path: Path) -> None:
    """Blobs lie at a storage service; what logs us in to the registry does not go there."""
    login = tmp_path / "login"
    login.write_text("user:password")
    shelf, storage = Shelf(), Shelf()
    config = storage.put({"created": "2026-01-05T12:00:00Z"}, JSON)
    digest = shelf.put({"config": {"digest": config}})

    def answer(asked: Asked) -> web.Response:
        return shelf.answer(asked) if asked.authorization else say(401, www_authenticate="Basic")

    async with run_odd_registry(storage.answer) as other, run_odd_registry(answer) as registry:
        shelf.moved[config] = f"{other.url}/a%2Fb%3d/{config}"
        client = connect(_spec(registry, credential_file=str(login)))
        details = await client.fetch_details(f"{registry.host}/a", digest)

    assert details == ImageDetails("", datetime(2026, 1, 5, 12, tzinfo=UTC))
    assert [one.authorization for one in other.asked] == [""]
    assert (
        other.asked[0].path == f"/a%2Fb%3d/{config}"
    )  # signs of a signed address stay as they are
    assert registry.asked[-1].authorization.startswith("Basic ")


async def test_a_redirect_at_home_keeps_the_credential(connect: Connect, tmp_path: Path) -> None:
    """The same origin may see it again."""
    login = tmp_path / "login"
    login.write_text("user:password")

    def answer(asked: Asked) -> web.Response:
        if not asked.authorization:
            return say(401, www_authenticate="Basic")
        if asked.path == "/v2/a/manifests/1":
            return say(302, location="/elsewhere")
        return say(200, docker_content_digest=DIGEST)

    async with run_odd_registry(answer) as registry:
        client = connect(_spec(registry, credential_file=str(login)))
        assert await client.fetch_digest(f"{registry.host}/a", "1") == DIGEST


@pytest.mark.parametrize(
    "location, problem",
    [
        ("/v2/a/manifests/1", "redirects more than 5 times"),
        ("ftp://x/", "which is not followed"),
        ("http://[::1", "which is not followed"),
        ("file:///etc/passwd", "which is not followed"),
    ],
)
async def test_redirects_end(connect: Connect, location: str, problem: str) -> None:
    """In a circle, or at an address of another kind, they are trouble."""
    async with run_odd_registry(lambda _: say(302, location=location)) as registry:
        with pytest.raises(TemporaryError, match=problem):
            await connect(_spec(registry)).fetch_digest(f"{registry.host}/a", "1")


@pytest.mark.parametrize(
    "location",
    [
        "http://h.invalid:99999/",
        "http://h.invalid:port/",
        "http://h..invalid/",
        f"http://{'a' * 300}/",
        "http://x\\y/",
        "http://u:p@127.1/",
    ],
)
@pytest.mark.parametrize("logged_in", [False, True])
async def test_an_address_that_is_none_is_a_sentence(
    connect: Connect, tmp_path: Path, location: str, *, logged_in: bool
) -> None:
    """What no resolver and no client can read ends as any other refusal, never as a bug."""
    login = tmp_path / "login"
    login.write_text("user:password")

    def answer(asked: Asked) -> web.Response:
        if logged_in and not asked.authorization:
            return say(401, www_authenticate="Basic")
        return say(302, location=location)

    async with run_odd_registry(answer) as registry:
        client = connect(_spec(registry, credential_file=str(login) if logged_in else ""))
        with pytest.raises(PermanentError, match="leads to what is none"):
            await client.fetch_digest(f"{registry.host}/a", "1")


async def test_a_redirect_there_and_back_carries_no_credential(
    connect: Connect, tmp_path: Path
) -> None:
    """A storage service cannot choose what is asked of the registry in our name."""
    login = tmp_path / "login"
    login.write_text("user:password")
    home: list[str] = []

    def answer(asked: Asked) -> web.Response:
        if asked.path == "/v2/a/manifests/1":
            if asked.authorization:
                return say(307, location=f"{other.url}/elsewhere")
            return say(401, www_authenticate="Basic")
        return say(404)

    def lead_back(_: Asked) -> web.Response:
        return say(307, location=f"{home[0]}/v2/secret/manifests/1")

    async with run_odd_registry(lead_back) as other, run_odd_registry(answer) as registry:
        home.append(registry.url)
        client = connect(_spec(registry, credential_file=str(login)))
        assert await client.fetch_digest(f"{registry.host}/a", "1") is None

    assert [one.authorization for one in other.asked] == [""]
    assert registry.asked[-1].path == "/v2/secret/manifests/1"
    assert registry.asked[-1].authorization == ""


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/",
        "http://0.0.0.0/",
    ],
)
async def test_redirects_lead_to_no_forbidden_address(connect: Connect, location: str) -> None:
    """A registry cannot make gitopsd read what only this machine can reach."""
    async with run_odd_registry(lambda _: say(302, location=location)) as registry:
        with pytest.raises(PermanentError, match="name the host in registries/") as caught:
            await connect(_spec(registry)).fetch_digest(f"{registry.host}/a", "1")
    assert caught.value.reason == "RefusedAddress"


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:1", "[::1]:1", "169.254.169.254"])
async def test_an_image_name_leads_to_no_forbidden_address(connect: Connect, host: str) -> None:
    """Whoever writes image names cannot make gitopsd ask this machine, unless it is configured."""
    with pytest.raises(PermanentError, match="name the host in registries/") as caught:
        await connect().fetch_digest(f"{host}/a", "1")
    assert caught.value.reason == "RefusedAddress"


async def test_a_host_without_a_file_is_asked_over_https(connect: Connect) -> None:
    """Nothing is sent in the clear that nobody asked for."""
    with pytest.raises(TemporaryError, match=r"https://registry\.invalid/v2/a/manifests/1"):
        await connect().fetch_digest("registry.invalid/a", "1")


async def test_docker_hub_is_asked_where_it_answers(connect: Connect) -> None:
    """Short names mean Docker Hub, whose API is at another host."""
    async with run_odd_registry(lambda _: say(200, docker_content_digest=DIGEST)) as registry:
        client = connect(RegistrySpec("hub", "docker.io", url=registry.url))
        await client.fetch_digest("nginx", "1")
        assert registry.paths == ["HEAD /v2/library/nginx/manifests/1"]


async def test_long_answers_are_cut_off(connect: Connect) -> None:
    """A manifest is small; what is longer is trouble before it is read to its end."""
    body = b"[" * (4 * 1024 * 1024 + 1)
    async with run_odd_registry(lambda _: say(200, body)) as registry:
        with pytest.raises(TemporaryError, match="longer than 4194304 bytes") as caught:
            await connect(_spec(registry)).fetch_details(f"{registry.host}/a", Digest(DIGEST))
    assert caught.value.reason == "BadAnswer"


async def test_a_silent_registry_costs_its_time(connect: Connect) -> None:
    """A registry that takes a question and says nothing is given up at the deadline."""

    async def hang(_: Asked) -> web.StreamResponse:
        await asyncio.Event().wait()
        return say()

    async with run_odd_registry(hang) as registry:
        client = connect(_spec(registry), seconds=0.2)
        with pytest.raises(TemporaryError, match=r"no answer within 0\.2 s"):
            await client.fetch_digest(f"{registry.host}/a", "1")


async def test_a_registry_that_is_gone_is_trouble(connect: Connect) -> None:
    """Nobody listens: that is said with the address."""
    spec = RegistrySpec("it", "registry.example", url="http://127.0.0.1:1")
    with pytest.raises(TemporaryError, match=r"HEAD http://127\.0\.0\.1:1/v2/a/manifests/1"):
        await connect(spec).fetch_digest("registry.example/a", "1")


async def test_a_private_authority_is_trusted_by_its_file(connect: Connect, tmp_path: Path) -> None:
    """Over HTTPS, the registry's own CA file counts; without it the certificate is refused."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    runner = web.ServerRunner(web.Server(_answer_digest), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    host = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        trusting = connect(RegistrySpec("it", host, ca_file=str(ca_file)))
        assert await trusting.fetch_digest(f"{host}/a", "1") == DIGEST
        with pytest.raises(TemporaryError, match="its certificate is not trusted") as caught:
            await connect(RegistrySpec("it", host)).fetch_digest(f"{host}/a", "1")
        assert caught.value.reason == "Tls"
        broken = connect(RegistrySpec("it", host, ca_file=str(tmp_path / "gone")))
        with pytest.raises(PermanentError, match="cannot be used"):
            await broken.fetch_digest(f"{host}/a", "1")
    finally:
        await runner.cleanup()


async def _answer_digest(_: web.BaseRequest) -> web.Response:
    return say(200, docker_content_digest=DIGEST)


async def test_closing_twice_is_closing(connect: Connect) -> None:
    """A client that is closed has nothing left to close; asked again it opens anew."""
    async with run_odd_registry(lambda _: say(404)) as registry:
        client = connect(_spec(registry))
        await client.close()
        assert await client.fetch_tags(f"{registry.host}/a") == ()
        await client.close()
        await client.close()


def test_a_client_needs_no_loop_to_be_made() -> None:
    """It is wired before anything runs."""
    assert HttpRegistry(lambda: ()) is not None
