"""Keeps Git's configuration of the machine and of its users out of what libgit2 does here.

A ``~/.gitconfig`` may rewrite addresses, name proxies and switch checks off; one that exists but
cannot be read makes libgit2 refuse every repository.
"""

from __future__ import annotations

import pygit2
from pygit2.enums import ConfigLevel

_LEVELS = (ConfigLevel.PROGRAMDATA, ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL)


def ignore_configuration() -> None:
    """Have libgit2 look for no file but a repository's own, in this process from now on.

    Source: libgit2, ``git_libgit2_opts``, ``GIT_OPT_SET_SEARCH_PATH``.
    """
    for level in _LEVELS:
        pygit2.settings.search_path[level] = ""
