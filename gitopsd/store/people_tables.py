"""The tables of what people say about runs, and of who pushed which commit."""

from __future__ import annotations

import sqlalchemy as sa

from gitopsd.store.table_parts import json, moment, sequence, table, text

votes = table(
    "votes",
    sequence(),
    text("id"),
    text("run"),
    text("plan"),
    text("subject"),
    json("groups"),
    text("decision"),
    text("reason"),
    moment("at"),
    moment("void_at", null=True),
    sa.Column("known", sa.Boolean, nullable=False),
    text("token"),
    sa.UniqueConstraint("id"),
    sa.UniqueConstraint("run", "plan", "subject"),
)

gate_skips = table(
    "gate_skips",
    sequence(),
    text("id"),
    text("run"),
    text("plan"),
    text("gate"),
    text("content"),
    text("subject"),
    text("reason"),
    moment("at"),
    moment("void_at", null=True),
    text("token"),
    sa.UniqueConstraint("id"),
    sa.Index(None, "run", "seq"),
)

pushes = table(
    "pushes",
    sequence(),
    text("repo"),
    text("sha"),
    text("pusher"),
    moment("at"),
    sa.UniqueConstraint("repo", "sha", "pusher"),
)
