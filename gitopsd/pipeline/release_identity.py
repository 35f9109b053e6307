"""How releases are named: by their content, and by two words that people can say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ApplicationName, ReleaseId
from gitopsd.domain.sources import CommitSha

_ADJECTIVE_TEXT = (
    "able agile amber azure bold brave breezy bright brisk calm candid cheery civil clear clever "
    "cosy crisp curly daring deft eager early earnest fair famous fancy fine fleet fond frank "
    "fresh gentle glad golden grand handy happy hardy honest humble jolly keen kind lively loyal "
    "lucky mellow merry mighty modest neat nimble noble patient plain polite proud quick quiet "
    "rapid ready rosy sharp swift"
)

_NOUN_TEXT = (
    "acorn alder anchor badger beacon beaver birch bison breeze bridge brook canyon cedar cliff "
    "comet coral crane creek dune eagle ember falcon fern finch fjord forest fox glacier grove "
    "harbour hazel heron island ivy kestrel lagoon lantern larch lark lemur linden lynx maple "
    "meadow moss oak orchid osprey otter panda pebble pine plover puffin quartz raven reef river "
    "robin sparrow spruce tern valley willow"
)

_ADJECTIVES = tuple(_ADJECTIVE_TEXT.split())
_NOUNS = tuple(_NOUN_TEXT.split())


def compute_release_id(
    application: ApplicationName, commit: CommitSha, images: Mapping[str, Digest]
) -> ReleaseId:
    """Compute the id of a release from what it is: one commit and the digests of all images."""
    content = json.dumps([application, commit, sorted(images.items())], separators=(",", ":"))
    return ReleaseId(f"r-{hashlib.sha256(content.encode()).hexdigest()[:16]}")


def compute_alias(release: ReleaseId) -> str:
    """Compute the two words by which people call a release; not unique, only easy to say."""
    number = int.from_bytes(hashlib.sha256(release.encode()).digest()[:8], "big")
    rest, noun = divmod(number, len(_NOUNS))
    return f"{_ADJECTIVES[rest % len(_ADJECTIVES)]}-{_NOUNS[noun]}"
