"""All tables.

Most rows are one domain value as a JSON document (``doc``) beside the columns that statements ask
for; a column that stands beside a document wins over the field of the same meaning in it. ``seq``
gives the order of insertion that lists and cursors go by.

Foreign keys join only what one repository writes together. Between repositories there are none:
the order in which a transaction writes is the caller's affair.
"""

from __future__ import annotations

import sqlalchemy as sa

from gitopsd.store import agreement_tables, image_tables, people_tables
from gitopsd.store.table_parts import json as _json
from gitopsd.store.table_parts import moment as _moment
from gitopsd.store.table_parts import number as _number
from gitopsd.store.table_parts import sequence as _sequence
from gitopsd.store.table_parts import table as _table
from gitopsd.store.table_parts import text as _text

FORMAT = 1
"""The oldest code that may use the tables: a migration that takes away what this code reads or
writes raises the number in the database, and code that knows only a lower one refuses to start."""

METADATA = image_tables.followed_images.metadata
"""Every table there is, those of `image_tables`, `people_tables` and `agreement_tables` too."""

votes = people_tables.votes
"""Approvals and rejections."""

agreements = agreement_tables.agreements
"""How far Git agrees with Rollbacks."""

installation = _table(
    "installation",
    _number("one", key=True),
    _text("id"),
    _number("format"),
    _moment("clock", null=True),
    sa.CheckConstraint("one = 1", name="ck_installation_one"),
)

counters = _table("counters", _text("name", key=True), _number("value"))

deliveries = _table(
    "deliveries",
    _sequence(),
    _text("id"),
    _text("receiver"),
    _text("key"),
    _text("body_sha256"),
    _json("headers"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    _moment("received_at"),
    _text("state"),
    _number("attempts"),
    _text("reason"),
    sa.UniqueConstraint("id"),
    sa.UniqueConstraint("receiver", "key", "body_sha256"),
    sa.Index(None, "state", "seq"),
)

refused_deliveries = _table("refused_deliveries", _text("receiver", key=True), _number("requests"))

refs = _table(
    "refs",
    _text("repo", key=True),
    _text("ref", key=True),
    _text("head", null=True),
    _number("wanted"),
    _number("done"),
    _text("expected", null=True),
    _moment("looked_at", null=True),
    _moment("next_look_at", null=True),
    _number("tries"),
    _text("problem"),
    _text("tag"),
)

releases = _table(
    "releases",
    _sequence(),
    _text("id"),
    _text("application"),
    _text("commit_sha"),
    _number("last_offer"),
    _json("doc"),
    sa.UniqueConstraint("id"),
    sa.Index(None, "application", "last_offer", "seq"),
    sa.Index(None, "commit_sha"),
)

release_images = _table(
    "release_images",
    _text("digest", key=True),
    sa.Column("release", sa.Text, sa.ForeignKey("releases.id"), primary_key=True),
)

offers = _table(
    "offers",
    _number("number", key=True),
    _text("application"),
    _text("ref"),
    _text("release"),
    _moment("at"),
    _text("kind"),
    sa.Index(None, "application", "ref", "number"),
    sa.Index(None, "application", "ref", "release", "number"),
)

seen_commits = _table(
    "seen_commits",
    _text("sha", key=True),
    _text("application", key=True),
    _text("ref", key=True),
    _text("release"),
    _moment("at"),
    sa.Column("concerned", sa.Boolean, nullable=False),
)

renderings = _table(
    "renderings",
    _text("application", key=True),
    _text("stage", key=True),
    _text("release", key=True),
    _text("rendered"),
    _text("input_key"),
    _json("images"),
)

rendered_sets = _table(
    "rendered_sets",
    _text("digest", key=True),
    _json("images"),
    _text("renderer"),
    _json("notes"),
)

rendered_objects = _table(
    "rendered_objects",
    _text("address", key=True),
    sa.Column("sealed", sa.Boolean, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

rendered_members = _table(
    "rendered_members",
    sa.Column("digest", sa.Text, sa.ForeignKey("rendered_sets.digest"), primary_key=True),
    _number("position", key=True),
    sa.Column("address", sa.Text, sa.ForeignKey("rendered_objects.address"), nullable=False),
    sa.Index(None, "address"),
)

applications = _table(
    "applications",
    _text("name", key=True),
    _number("current", null=True),
    _moment("changed_at"),
)

application_specs = _table(
    "application_specs",
    sa.Column("application", sa.Text, sa.ForeignKey("applications.name"), primary_key=True),
    _number("revision", key=True),
    _text("content"),
    _moment("added_at"),
    _json("doc"),
    sa.UniqueConstraint("application", "content"),
)

stages = _table(
    "stages",
    _text("application", key=True),
    _text("stage", key=True),
    _number("version"),
    _number("fence"),
    _text("owner"),
    _moment("lease_until", null=True),
    _json("doc"),
)

verifications = _table(
    "verifications",
    _number("sequence", key=True),
    _text("id"),
    _text("application"),
    _text("stage"),
    _moment("revoked_at", null=True),
    _json("doc"),
    sa.UniqueConstraint("id"),
    sa.Index(None, "application", "stage", "sequence"),
)

runs = _table(
    "runs",
    _sequence(),
    _text("id"),
    _text("application"),
    _text("stage"),
    _text("release"),
    _text("kind"),
    _text("phase"),
    sa.Column("live", sa.Boolean, nullable=False),
    _text("requested_by"),
    _moment("created_at", null=True),
    _number("version"),
    _json("doc"),
    sa.UniqueConstraint("id"),
    sa.Index(None, "application", "stage", "seq"),
    sa.Index(None, "release", "seq"),
)
sa.Index(
    "ix_runs_live",
    runs.c.seq,
    sqlite_where=runs.c.live.is_(True),
    postgresql_where=runs.c.live.is_(True),
)

run_events = _table(
    "run_events",
    _text("run", key=True),
    _number("sequence", key=True),
    _moment("at"),
    _text("name"),
    _text("step", null=True),
    _text("phase"),
    _text("message"),
    _json("details"),
)

evidence = _table(
    "evidence",
    _sequence(),
    _text("run"),
    _text("step"),
    _text("kind"),
    _text("key"),
    _moment("at"),
    _json("content"),
    sa.Index(None, "run", "at", "seq"),
)
sa.Index(
    "uq_evidence_key",
    evidence.c.run,
    evidence.c.step,
    evidence.c.kind,
    evidence.c.key,
    unique=True,
    sqlite_where=evidence.c.key != sa.literal_column("''"),
    postgresql_where=evidence.c.key != sa.literal_column("''"),
)

hook_runs = _table(
    "hook_runs",
    _text("run", key=True),
    _text("name", key=True),
    _text("uid"),
    _text("state"),
    _text("message"),
)

live_states = _table(
    "live_states",
    _text("run", key=True),
    _moment("at"),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

gate_observations = _table(
    "gate_observations",
    _text("run", key=True),
    _text("question", key=True),
    _json("doc"),
)

work = _table(
    "work",
    _text("key", key=True),
    _text("kind"),
    _text("subject"),
    _json("payload"),
    _moment("due_at"),
    _number("attempts"),
    _text("owner"),
    _moment("claimed_until", null=True),
    _number("generation"),
    sa.Index(None, "due_at"),
)

quarantines = _table(
    "quarantines",
    _sequence(),
    _text("id"),
    _text("application"),
    _text("stage"),
    _text("rendered"),
    _moment("lifted_at", null=True),
    _text("lifted_by"),
    _json("doc"),
    sa.UniqueConstraint("id"),
)
sa.Index(
    "uq_quarantines_in_force",
    quarantines.c.application,
    quarantines.c.stage,
    quarantines.c.rendered,
    unique=True,
    sqlite_where=quarantines.c.lifted_at.is_(None),
    postgresql_where=quarantines.c.lifted_at.is_(None),
)

freezes = _table(
    "freezes",
    _sequence(),
    _text("id"),
    _moment("until", null=True),
    _moment("thawed_at", null=True),
    _json("doc"),
    sa.UniqueConstraint("id"),
)

tokens = _table(
    "tokens",
    _sequence(),
    _text("id"),
    _text("hashed"),
    _moment("revoked_at", null=True),
    _moment("last_used_at", null=True),
    _json("doc"),
    sa.UniqueConstraint("id"),
    sa.UniqueConstraint("hashed"),
)

audit = _table(
    "audit",
    _sequence("sequence"),
    _moment("at"),
    _text("subject"),
    _text("action"),
    _text("target"),
    _text("outcome"),
    _json("details"),
)

notifications = _table(
    "notifications",
    _number("number", key=True),
    _text("id"),
    _json("doc"),
    sa.UniqueConstraint("id"),
)

replicas = _table(
    "replicas",
    _text("id", key=True),
    _moment("started_at"),
    _moment("seen_at"),
    _text("version"),
)

message_handles = _table(
    "message_handles",
    _text("channel", key=True),
    _text("subject", key=True),
    _text("topic"),
    _number("version"),
    _json("doc"),
    _moment("begun_at", null=True),
    sa.Index(None, "topic"),
    sa.Index(None, "begun_at"),
)

channel_states = _table("channel_states", _text("channel", key=True), _json("doc"))

answers = _table("answers", _text("key", key=True), _moment("at"), _json("answer"))
