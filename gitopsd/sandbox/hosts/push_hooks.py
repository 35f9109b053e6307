"""What GitHub sends after a push: the payload, and its signature.

Source: GitHub's documentation, "Webhook events and payloads", event ``push``, and "Validating
webhook deliveries".
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitopsd.sandbox.hosts.git_backend import run_git

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitopsd.domain.manifests import Json, JsonObject

ZERO = "0" * 40
MOST_COMMITS = 20
"""More are not listed, as with GitHub's own limit (which is higher)."""

_FORMAT = "%x01%H%x00%T%x00%cI%x00%an%x00%ae%x00%cn%x00%ce%x00%B%x00"
_CHANGES: Mapping[str, str] = {"A": "added", "D": "removed"}


@dataclass(frozen=True, slots=True)
class Movement:
    """That a push moved a ref.

    Attributes:
        ref: Its full name.
        before: What it pointed to; zeros when it was made.
        after: What it points to; zeros when it was deleted.
    """

    ref: str
    before: str
    after: str


def list_movements(before: Mapping[str, str], after: Mapping[str, str]) -> list[Movement]:
    """Compare refs before and after a push."""
    names = sorted(before.keys() | after.keys())
    moved = [Movement(ref, before.get(ref, ZERO), after.get(ref, ZERO)) for ref in names]
    return [one for one in moved if one.before != one.after]


def describe_push(
    base_url: str,
    name: str,
    movement: Movement,
    *,
    pusher: str = "developer",
    commits: Sequence[JsonObject] = (),
    forced: bool = False,
) -> JsonObject:
    """Describe a push as GitHub does.

    Args:
        base_url: Address of the host.
        name: Path of the repository, with ``.git``.
        movement: What moved.
        pusher: Who pushed.
        commits: What came, oldest first.
        forced: Whether something was lost.
    """
    address = f"{base_url}/{name}"
    short = name.removesuffix(".git")
    deleted = movement.after == ZERO
    head: Json = None
    if not deleted:
        head = commits[-1] if commits else {"id": movement.after, "message": "A push"}
    listed: list[Json] = list(commits)
    return {
        "ref": movement.ref,
        "before": movement.before,
        "after": movement.after,
        "created": movement.before == ZERO,
        "deleted": deleted,
        "forced": forced,
        "compare": f"{base_url}/{short}/compare",
        "commits": listed,
        "head_commit": head,
        "repository": {
            "id": 1,
            "name": short.rpartition("/")[2],
            "full_name": short,
            "private": True,
            "html_url": address.removesuffix(".git"),
            "url": address.removesuffix(".git"),
            "clone_url": address,
            "git_url": address.replace("http", "git", 1),
            "ssh_url": f"git@{address.partition('://')[2].replace('/', ':', 1)}",
            "default_branch": "main",
        },
        "pusher": {"name": pusher, "email": f"{pusher}@example.test"},
        "sender": {"login": pusher, "id": 1, "type": "User"},
    }


def sign_push(body: bytes, secret: bytes) -> dict[str, str]:
    """Make the headers of a delivery."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/044aadd",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-Hub-Signature-256": f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}",
    }


async def list_commits(repository: Path, movement: Movement, address: str) -> list[JsonObject]:
    """List the commits that a push brought, oldest first, as a payload lists them.

    Args:
        repository: Its directory.
        movement: What moved.
        address: Where people look at the repository.
    """
    if movement.after == ZERO:
        return []
    told = [movement.after] + ([f"^{movement.before}"] if movement.before != ZERO else [])
    printed = await run_git(
        "log",
        "-z",
        "--reverse",
        f"--max-count={MOST_COMMITS}",
        "--name-status",
        f"--format={_FORMAT}",
        *told,
        "--",
        directory=repository,
    )
    return [_parse_commit(entry, address) for entry in printed.split("\x01") if entry]


async def is_forced(repository: Path, movement: Movement) -> bool:
    """Tell whether commits were lost from a ref."""
    if ZERO in (movement.before, movement.after):
        return False
    lost = await run_git(
        "rev-list", "--count", movement.before, f"^{movement.after}", "--", directory=repository
    )
    return lost.strip() != "0"


def _parse_commit(entry: str, address: str) -> JsonObject:
    sha, tree, when, author, author_mail, committer, committer_mail, message, *rest = entry.split(
        "\x00"
    )
    changed: dict[str, list[Json]] = {"added": [], "removed": [], "modified": []}
    words = [word.strip("\n") for word in rest if word.strip("\n")]
    for status, path in zip(words[::2], words[1::2], strict=False):
        changed[_CHANGES.get(status[:1], "modified")].append(path)
    return {
        "id": sha,
        "tree_id": tree,
        "distinct": True,
        "message": message.strip("\n"),
        "timestamp": when,
        "url": f"{address.removesuffix('.git')}/commit/{sha}",
        "author": {"name": author, "email": author_mail},
        "committer": {"name": committer, "email": committer_mail},
        **changed,
    }
