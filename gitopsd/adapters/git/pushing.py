"""Pushes of single commits with libgit2, inside the child: a ref moves forward, or stays.

Imports nothing of gitopsd but what the child has loaded already.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pygit2
from pygit2.ffi import C

from gitopsd.adapters.git.transfer import (
    Callbacks,
    TransferError,
    configure,
    open_mirror,
    translate,
)

if TYPE_CHECKING:
    from pygit2.remotes import PushUpdate

_MOST_SAID = 2000
_BEHIND = ("non-fastforwardable", "not present locally")


class _MovedError(Exception):
    """The ref does not point any more to where the push begins."""


class _PushCallbacks(Callbacks):
    """Answers libgit2's questions, lets a ref move from one commit alone, and hears refusals."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        super().__init__(request)
        self.refusal: str | None = None
        self.said = ""
        self._push_options: Any = None

    @property
    def push_options(self) -> Any:
        """Options that pygit2 hands to libgit2."""
        return self._push_options

    @push_options.setter
    def push_options(self, options: Any) -> None:
        # pygit2 has no argument for it; without it a redirect to another host is followed.
        options.follow_redirects = C.GIT_REMOTE_REDIRECT_NONE
        self._push_options = options

    def push_negotiation(self, updates: list[PushUpdate]) -> None:
        """Stop before anything is sent unless the ref points to where the push begins."""
        for update in updates:
            if str(update.src) != self.request["onto"]:
                raise _MovedError

    def push_update_reference(self, refname: str, message: str | None) -> None:  # noqa: ARG002 - libgit2's signature
        """Hear what the remote says about the ref; None when it took it."""
        self.refusal = message

    def sideband_progress(self, string: str) -> None:
        """Hear what hooks on the remote say."""
        self.said = (self.said + string)[:_MOST_SAID]


def run_push(request: Mapping[str, Any]) -> str:
    """Push one commit; returns why the remote refused it, empty when it did not.

    Args:
        request: ``mirror``, ``url``, ``ref``, ``push`` (the commit), ``onto`` (what the ref must
            point to before), and credentials.

    Raises:
        TransferError: With the reason, in a word of the parent's.
    """
    configure(request)
    callbacks = _PushCallbacks(request)
    repository = open_mirror(Path(request["mirror"]))
    try:
        remote = repository.remotes.create_anonymous(request["url"])
        remote.push([f"{request['push']}:{request['ref']}"], callbacks=callbacks)
    except _MovedError:
        return "the branch moved meanwhile"
    except TransferError:
        raise
    except (pygit2.GitError, KeyError, ValueError, OSError) as error:
        if any(word in str(error) for word in _BEHIND):
            return "the branch moved meanwhile"
        raise translate(error, callbacks) from error
    if callbacks.refusal is None:
        return ""
    said = " ".join(callbacks.said.split())
    return f"{callbacks.refusal} ({said})" if said else callbacks.refusal
