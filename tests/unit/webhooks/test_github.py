"""GitHub's deliveries."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import pytest

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.domain.sources import (
    CommitSha,
    GitPush,
    Ping,
    Received,
    ReceiverType,
    RefName,
    Unconcerned,
)
from gitopsd.errors import DeliveryError, SignatureError
from gitopsd.webhooks.receivers import (
    check_signature,
    delivery_key,
    parse_delivery,
    parse_event,
    recognise,
)
from tests.support.deliveries import GITHUB_SECRET, github_delivery, load_delivery, sign

GITHUB = ReceiverType.GITHUB
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLD, NEW = CommitSha("1f" * 20), CommitSha("2e" * 20)
URLS = (
    "https://github.com/acme/shop-deploy.git",
    "git@github.com:acme/shop-deploy.git",
    "git://github.com/acme/shop-deploy.git",
    "https://github.com/acme/shop-deploy",
)
PUSH: JsonObject = {
    "ref": "refs/heads/main",
    "before": OLD,
    "after": NEW,
    "repository": {"clone_url": URLS[0]},
}


def _push(
    ref: str = "refs/heads/main",
    *,
    before: CommitSha | None = OLD,
    after: CommitSha | None = NEW,
    forced: bool = False,
    pusher: str = "octo-dev",
) -> GitPush:
    return GitPush(URLS, RefName(ref), before, after, forced, pusher)


def _parse(payload: Json, event: str = "push") -> Received:
    delivery = github_delivery(event, payload)
    return parse_event(GITHUB, delivery.headers, delivery.body)


def _refused(payload: Json, event: str = "push") -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        _parse(payload, event)
    return caught.value


@pytest.mark.parametrize(
    "case, received",
    [
        ("push_branch", _push()),
        ("push_form", _push()),
        ("push_created", _push("refs/heads/feature/a", before=None)),
        ("push_deleted", _push("refs/heads/old", after=None)),
        ("push_forced", _push(forced=True)),
        ("push_tag", _push("refs/tags/v1.4.2", before=None)),
        ("delete_branch", _push("refs/heads/feature/a", before=None, after=None)),
        ("delete_tag", _push("refs/tags/v1.4.2", before=None, after=None)),
        ("ping", Ping()),
        (
            "create_branch",
            Unconcerned("create says nothing that the push event of the same ref does not say"),
        ),
        ("issues", Unconcerned("GitHub event issues concerns nothing here")),
    ],
)
def test_deliveries_are_read(case: str, received: Received) -> None:
    """Each kind of delivery becomes the fact it states."""
    delivery = load_delivery("github", case)
    assert parse_delivery(GITHUB, delivery.headers, delivery.body, [GITHUB_SECRET], NOW) == received


def test_the_signature_covers_the_raw_body() -> None:
    """The published example verifies, and only then turns out to be no JSON."""
    delivery = load_delivery("github", "published_vector")
    check_signature(GITHUB, delivery.headers, delivery.body, [GITHUB_SECRET], NOW)
    with pytest.raises(DeliveryError) as caught:
        parse_event(GITHUB, delivery.headers, delivery.body)
    assert caught.value.reason == "NotJson"
    assert caught.value.message.startswith("the body is not JSON: ")


def test_nothing_is_read_before_the_signature_holds() -> None:
    """Rubbish with a wrong signature is a wrong signature, not rubbish."""
    delivery = load_delivery("github", "published_vector")
    with pytest.raises(SignatureError) as caught:
        parse_delivery(GITHUB, delivery.headers, delivery.body, [b"other"], NOW)
    assert caught.value.message == "X-Hub-Signature-256 does not match"


def test_sha1_alone_is_refused() -> None:
    """The old header is not accepted even when it is right."""
    delivery = load_delivery("github", "push_branch")
    headers = dict(delivery.headers)
    del headers["x-hub-signature-256"]
    with pytest.raises(SignatureError) as caught:
        check_signature(GITHUB, headers, delivery.body, [GITHUB_SECRET], NOW)
    assert (
        caught.value.message
        == "X-Hub-Signature is SHA-1 and not accepted; send X-Hub-Signature-256"
    )
    del headers["x-hub-signature"]
    with pytest.raises(SignatureError) as caught:
        check_signature(GITHUB, headers, delivery.body, [GITHUB_SECRET], NOW)
    assert caught.value.message == "X-Hub-Signature-256 is missing"


@pytest.mark.parametrize(
    "headers, key",
    [
        ({"x-github-delivery": "guid", "x-github-hook-id": "42"}, "42/guid"),
        ({"x-github-delivery": "guid"}, "/guid"),
        ({"x-github-hook-id": "42"}, ""),
        ({}, ""),
    ],
)
def test_the_key_is_hook_and_guid(headers: dict[str, str], key: str) -> None:
    """Two hooks that share an event are two deliveries; a redelivery is not."""
    assert delivery_key(GITHUB, headers) == key


@pytest.mark.parametrize(
    "event, known",
    [
        ("ping", Ping()),
        ("push", None),
        ("delete", None),
        ("", None),
        ("status", Unconcerned("GitHub event status concerns nothing here")),
        ("a\x00b" + "c" * 300, Unconcerned(f"GitHub event ab{'c' * 198} concerns nothing here")),
    ],
)
def test_headers_alone_tell_what_concerns_nothing(
    event: str, known: Ping | Unconcerned | None
) -> None:
    """A ping and foreign events are answered without reading their bodies."""
    assert recognise(GITHUB, {"x-github-event": event}) == known


def test_a_delivery_without_event_is_refused() -> None:
    """Without its header nobody knows what a body means."""
    with pytest.raises(DeliveryError) as caught:
        parse_event(GITHUB, {}, b"{}")
    assert (caught.value.reason, caught.value.message) == ("NoEvent", "X-GitHub-Event is missing")
    assert recognise(GITHUB, {}) is None


def test_little_is_enough() -> None:
    """Ref, commit and one address make a push; servers leave out the rest."""
    assert _parse(PUSH) == GitPush((URLS[0],), RefName("refs/heads/main"), OLD, NEW)


@pytest.mark.parametrize(
    "changed, expected",
    [
        ({"before": None}, {"before": None}),
        ({"before": "rubbish"}, {"before": None}),
        ({"before": 7}, {"before": None}),
        ({"forced": "true"}, {"forced": False}),
        ({"deleted": "true"}, {"after": NEW}),
        ({"deleted": True}, {"after": None}),
        ({"after": "0" * 64}, {"after": None}),
        ({"after": "AB" * 32}, {"after": CommitSha("ab" * 32)}),
        ({"after": None, "head_commit": {"id": OLD}}, {"after": OLD}),
        ({"sender": {"login": "bot"}}, {"pusher": "bot"}),
        ({"pusher": {"name": "a"}, "sender": {"login": "b"}}, {"pusher": "a"}),
        ({"pusher": "a", "sender": ["b"]}, {"pusher": ""}),
        ({"pusher": {"name": "x\n\x1b" + "y" * 300}}, {"pusher": "x" + "y" * 199}),
    ],
)
def test_fields_are_read_leniently(changed: JsonObject, expected: dict[str, object]) -> None:
    """A missing or odd field costs its own value, not the delivery."""
    push = _parse({**PUSH, **changed})
    assert isinstance(push, GitPush)
    assert {name: getattr(push, name) for name in expected} == expected


def test_addresses_are_those_that_can_be_used() -> None:
    """Every usable address counts once, in order; what is no address is passed over."""
    repository: JsonObject = {
        "clone_url": " https://bot:pw@git.example/a.git ",
        "ssh_url": "https://git.example/a.git",
        "git_url": ["git://git.example/a"],
        "html_url": "javascript:// alert",
        "url": "https://git.example/a",
    }
    push = _parse({**PUSH, "repository": repository})
    assert isinstance(push, GitPush)
    assert push.urls == ("https://git.example/a.git", "https://git.example/a")


@pytest.mark.parametrize("field", ["clone_url", "ssh_url", "git_url", "html_url", "url"])
def test_any_address_is_enough(field: str) -> None:
    """One address of the repository, in whichever field, makes a push usable."""
    push = _parse({**PUSH, "repository": {field: URLS[0]}})
    assert isinstance(push, GitPush)
    assert push.urls == (URLS[0],)


@pytest.mark.parametrize("repository", [None, {}, [], "acme/shop", {"clone_url": 1, "url": " "}])
def test_a_push_without_repository_is_refused(repository: Json) -> None:
    """Nobody could tell where to look."""
    refused = _refused({**PUSH, "repository": repository})
    assert refused.reason == "NoRepository"
    assert refused.message == (
        "the payload names no repository: clone_url, ssh_url and html_url are missing"
    )


@pytest.mark.parametrize(
    "ref",
    [
        "", "main", "refs/", "refs/heads", "refs/heads/", "refs//main", "refs/heads//main",
        "refs/heads/a b", "refs/heads/a..b", "refs/heads/a~1", "refs/heads/a^", "refs/heads/a:b",
        "refs/heads/a?", "refs/heads/a*", "refs/heads/a[b", "refs/heads/a\\b", "refs/heads/a@{b",
        "refs/heads/.a", "refs/heads/a.", "refs/heads/a/", "refs/heads/a.lock", "refs/heads/a\x7f",
        "refs/heads/a.lock/b", "refs/heads/a\x00", "refs/heads/a\n", "refs/heads/" + "a" * 1014,
        " refs/heads/main", "xrefs/heads/main", None, 7, ["refs/heads/main"],
    ],
)  # fmt: skip
def test_malformed_refs_are_refused(ref: Json) -> None:
    """What Git would not take as a full ref name goes no further."""
    refused = _refused({**PUSH, "ref": ref})
    assert refused.reason == "BadRef"
    assert refused.message.endswith(", expected a full name such as refs/heads/main")
    assert len(refused.message) < 300


@pytest.mark.parametrize(
    "ref",
    [
        "refs/heads/" + "a" * 1013, "refs/heads/größe", "refs/heads/a.locker", "refs/heads/a@b",
        "refs/heads/feature/x", "refs/notes/commits", "refs/heads/a{b", "refs/heads/a.b",
    ],
)  # fmt: skip
def test_unusual_refs_are_kept_whole(ref: str) -> None:
    """A branch and a tag of one name stay apart."""
    push = _parse({**PUSH, "ref": ref})
    assert isinstance(push, GitPush)
    assert push.ref == ref


@pytest.mark.parametrize("after", ["1f" * 19, "1f" * 21, "zz" * 20, "../../etc", "1f" * 20 + "\n"])
def test_malformed_commits_are_refused(after: str) -> None:
    """Only a full object id is a commit."""
    refused = _refused({**PUSH, "after": after})
    assert refused.reason == "BadCommit"
    assert refused.message.endswith(", expected 40 or 64 hex digits")


@pytest.mark.parametrize("head", [None, {}, {"id": 7}, "2e" * 20])
def test_a_push_without_commit_is_refused(head: Json) -> None:
    """Neither ``after`` nor a head commit: nothing was pushed that could be named."""
    refused = _refused({**PUSH, "after": None, "head_commit": head})
    assert refused.reason == "BadCommit"
    assert refused.message == "the push names no commit: after is missing"


@pytest.mark.parametrize("ref_type", ["repository", None, ["tag"], ""])
def test_a_delete_of_something_else_is_refused(ref_type: Json) -> None:
    """Only branches and tags have refs."""
    refused = _refused({**PUSH, "ref_type": ref_type}, "delete")
    assert (refused.reason, refused.message) == ("BadRef", "ref_type is neither branch nor tag")


def test_a_delete_names_its_place() -> None:
    """Repository, ref and sender are read as in a push."""
    payload: JsonObject = {
        "ref": "v1", "ref_type": "tag", "repository": {"ssh_url": URLS[1]}, "sender": {"login": "a"}
    }  # fmt: skip
    push = GitPush((URLS[1],), RefName("refs/tags/v1"), None, None, pusher="a")
    assert _parse(payload, "delete") == push
    assert _refused({**payload, "ref": ""}, "delete").reason == "BadRef"
    assert _refused({**payload, "repository": {}}, "delete").reason == "NoRepository"


@pytest.mark.parametrize("payload", [[], [PUSH], "text", 7, None, True])
def test_json_that_is_no_object_is_refused(payload: Json) -> None:
    """A list, a text or a number says nothing here."""
    refused = _refused(payload)
    assert refused.reason == "NotAnObject"
    assert refused.message == "the body is JSON but not an object"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 100_000, b'{"ref": "\xff"}', b'{"ref": "\\ud800"}', b"\xef\xbb\xbf{}",
     b"\x00" * 1000, b'{"a":' * 5000, b"NaN", b'{"ref": 1' + b"0" * 5000 + b"x}"],
)  # fmt: skip
def test_bodies_that_are_no_json_are_refused(body: bytes) -> None:
    """Broken, hostile and non-UTF-8 bodies end as a sentence."""
    with pytest.raises(DeliveryError) as caught:
        parse_event(GITHUB, {"x-github-event": "push"}, body)
    assert caught.value.reason == "NotJson"


FORM = {"x-github-event": "push", "content-type": "Application/X-WWW-Form-Urlencoded; charset=x"}


@pytest.mark.parametrize(
    "body, message",
    [
        (b"", "the form has 0 fields named payload, expected one"),
        (b"other=1", "the form has 0 fields named payload, expected one"),
        (b"payload={}&payload={}", "the form has 2 fields named payload, expected one"),
        (b"payload=%ff", "the form cannot be read: "),
        (b"payload=\xff", "the form cannot be read: "),
        (b"&".join(b"a=%d" % n for n in range(17)), "the form cannot be read: "),
    ],
)
def test_broken_forms_are_refused(body: bytes, message: str) -> None:
    """A form without exactly one payload, or one that is no text, ends as a sentence."""
    with pytest.raises(DeliveryError) as caught:
        parse_event(GITHUB, FORM, body)
    assert caught.value.reason == "NotAForm"
    assert caught.value.message.startswith(message)


def test_forms_may_hold_other_fields() -> None:
    """Up to 16 fields, empty ones included, are no reason to refuse."""
    delivery = github_delivery("push", PUSH)
    body = b"payload=" + quote(delivery.body).encode() + b"&x=" * 15
    assert parse_event(GITHUB, FORM, body) == _parse(PUSH)


def test_an_empty_payload_field_is_no_json() -> None:
    """The field is there, so the form is right and the JSON is wrong."""
    with pytest.raises(DeliveryError) as caught:
        parse_event(GITHUB, FORM, b"payload=")
    assert caught.value.reason == "NotJson"


def test_form_text_is_not_read_as_json_and_json_not_as_form() -> None:
    """The content type decides, as the sender signed it off."""
    delivery = github_delivery("push", PUSH)
    form = urlencode({"payload": delivery.body.decode()}).encode()
    with pytest.raises(DeliveryError):
        parse_event(GITHUB, {"x-github-event": "push", "content-type": "text/plain"}, form)
    with pytest.raises(DeliveryError):
        parse_event(GITHUB, FORM, delivery.body)
    check_signature(GITHUB, {"x-hub-signature-256": sign(b"k", form)}, form, [b"k"], NOW)
