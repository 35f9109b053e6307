"""gitopsd turns a Git push into a verified production release, and back when it is not healthy.

Imports point down only: cli, entrypoints, bootstrap, then settings, engine, adapters, store,
sandbox and testing side by side, then ports, then pipeline, webhooks and kube side by side, then
domain, then errors. This file holds the version and nothing else.
"""

__version__ = "0.1.0"
