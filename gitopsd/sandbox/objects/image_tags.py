"""Whether an image reference means the latest image: what decides its pull policy."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=1024)
def has_latest_tag(reference: str) -> bool:
    """Whether a reference names the tag ``latest``, or neither a tag nor a digest."""
    if reference != reference.strip():
        return False  # it is none: the server's parser gives up before it comes to a tag
    name, _, digest = reference.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return tag == "latest" or (not tag and not digest and bool(name))
