"""The tables of how far Git agrees with Rollbacks, and of the commits made for that."""

from __future__ import annotations

import sqlalchemy as sa

from gitopsd.store.table_parts import json, moment, sequence, table, text

agreements = table("agreements", text("run", key=True), json("doc"))

own_commits = table(
    "own_commits",
    sequence(),
    text("repo"),
    text("sha"),
    text("run"),
    moment("at"),
    sa.UniqueConstraint("repo", "sha"),
    sa.Index(None, "run", "seq"),
)
