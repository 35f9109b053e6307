"""The first tables.

Revision: 0001, after nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gitopsd.store.migrations.columns import flag, json, moment, number, octets, sequence, text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "answers",
        text("key"),
        moment("at"),
        json("answer"),
        sa.PrimaryKeyConstraint("key", name="pk_answers"),
    )
    op.create_table(
        "applications",
        text("name"),
        number("current", null=True),
        moment("changed_at"),
        sa.PrimaryKeyConstraint("name", name="pk_applications"),
    )
    op.create_table(
        "audit",
        sequence("sequence"),
        moment("at"),
        text("subject"),
        text("action"),
        text("target"),
        text("outcome"),
        json("details"),
        sa.PrimaryKeyConstraint("sequence", name="pk_audit"),
    )
    op.create_table(
        "counters",
        text("name"),
        number("value"),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.create_table(
        "deliveries",
        sequence("seq"),
        text("id"),
        text("receiver"),
        text("key"),
        text("body_sha256"),
        json("headers"),
        octets("body"),
        moment("received_at"),
        text("state"),
        number("attempts"),
        text("reason"),
        sa.PrimaryKeyConstraint("seq", name="pk_deliveries"),
        sa.UniqueConstraint("id", name="uq_deliveries_id"),
        sa.UniqueConstraint(
            "receiver", "key", "body_sha256", name="uq_deliveries_receiver_key_body_sha256"
        ),
    )
    op.create_index("ix_deliveries_state_seq", "deliveries", ["state", "seq"])
    op.create_table(
        "evidence",
        sequence("seq"),
        text("run"),
        text("step"),
        text("kind"),
        text("key"),
        moment("at"),
        json("content"),
        sa.PrimaryKeyConstraint("seq", name="pk_evidence"),
    )
    op.create_index("ix_evidence_run_at_seq", "evidence", ["run", "at", "seq"])
    op.create_index(
        "uq_evidence_key",
        "evidence",
        ["run", "step", "kind", "key"],
        unique=True,
        sqlite_where=sa.text("key != ''"),
        postgresql_where=sa.text("key != ''"),
    )
    op.create_table(
        "freezes",
        sequence("seq"),
        text("id"),
        moment("until", null=True),
        moment("thawed_at", null=True),
        json("doc"),
        sa.PrimaryKeyConstraint("seq", name="pk_freezes"),
        sa.UniqueConstraint("id", name="uq_freezes_id"),
    )
    op.create_table(
        "hook_runs",
        text("run"),
        text("name"),
        text("uid"),
        text("state"),
        text("message"),
        sa.PrimaryKeyConstraint("run", "name", name="pk_hook_runs"),
    )
    op.create_table(
        "installation",
        number("one"),
        text("id"),
        number("format"),
        moment("clock", null=True),
        sa.CheckConstraint("one = 1", name="ck_installation_one"),
        sa.PrimaryKeyConstraint("one", name="pk_installation"),
    )
    op.create_table(
        "notifications",
        number("number"),
        text("id"),
        json("doc"),
        sa.PrimaryKeyConstraint("number", name="pk_notifications"),
        sa.UniqueConstraint("id", name="uq_notifications_id"),
    )
    op.create_table(
        "offers",
        number("number"),
        text("application"),
        text("ref"),
        text("release"),
        moment("at"),
        text("kind"),
        sa.PrimaryKeyConstraint("number", name="pk_offers"),
    )
    op.create_index("ix_offers_application_ref_number", "offers", ["application", "ref", "number"])
    op.create_index(
        "ix_offers_application_ref_release_number",
        "offers",
        ["application", "ref", "release", "number"],
    )
    op.create_table(
        "quarantines",
        sequence("seq"),
        text("id"),
        text("application"),
        text("stage"),
        text("rendered"),
        moment("lifted_at", null=True),
        text("lifted_by"),
        json("doc"),
        sa.PrimaryKeyConstraint("seq", name="pk_quarantines"),
        sa.UniqueConstraint("id", name="uq_quarantines_id"),
    )
    op.create_index(
        "uq_quarantines_in_force",
        "quarantines",
        ["application", "stage", "rendered"],
        unique=True,
        sqlite_where=sa.text("lifted_at IS NULL"),
        postgresql_where=sa.text("lifted_at IS NULL"),
    )
    op.create_table(
        "refs",
        text("repo"),
        text("ref"),
        text("head", null=True),
        number("wanted"),
        number("done"),
        text("expected", null=True),
        moment("looked_at", null=True),
        moment("next_look_at", null=True),
        number("tries"),
        text("problem"),
        sa.PrimaryKeyConstraint("repo", "ref", name="pk_refs"),
    )
    op.create_table(
        "refused_deliveries",
        text("receiver"),
        number("requests"),
        sa.PrimaryKeyConstraint("receiver", name="pk_refused_deliveries"),
    )
    op.create_table(
        "releases",
        sequence("seq"),
        text("id"),
        text("application"),
        text("commit_sha"),
        number("last_offer"),
        json("doc"),
        sa.PrimaryKeyConstraint("seq", name="pk_releases"),
        sa.UniqueConstraint("id", name="uq_releases_id"),
    )
    op.create_index(
        "ix_releases_application_last_offer_seq", "releases", ["application", "last_offer", "seq"]
    )
    op.create_index("ix_releases_commit_sha", "releases", ["commit_sha"])
    op.create_table(
        "rendered_objects",
        text("address"),
        flag("sealed"),
        octets("body"),
        sa.PrimaryKeyConstraint("address", name="pk_rendered_objects"),
    )
    op.create_table(
        "rendered_sets",
        text("digest"),
        json("images"),
        text("renderer"),
        json("notes"),
        sa.PrimaryKeyConstraint("digest", name="pk_rendered_sets"),
    )
    op.create_table(
        "renderings",
        text("application"),
        text("stage"),
        text("release"),
        text("rendered"),
        text("input_key"),
        json("images"),
        sa.PrimaryKeyConstraint("application", "stage", "release", name="pk_renderings"),
    )
    op.create_table(
        "replicas",
        text("id"),
        moment("started_at"),
        moment("seen_at"),
        text("version"),
        sa.PrimaryKeyConstraint("id", name="pk_replicas"),
    )
    op.create_table(
        "run_events",
        text("run"),
        number("sequence"),
        moment("at"),
        text("name"),
        text("step", null=True),
        text("phase"),
        text("message"),
        json("details"),
        sa.PrimaryKeyConstraint("run", "sequence", name="pk_run_events"),
    )
    op.create_table(
        "runs",
        sequence("seq"),
        text("id"),
        text("application"),
        text("stage"),
        text("release"),
        text("kind"),
        text("phase"),
        flag("live"),
        text("requested_by"),
        moment("created_at", null=True),
        number("version"),
        json("doc"),
        sa.PrimaryKeyConstraint("seq", name="pk_runs"),
        sa.UniqueConstraint("id", name="uq_runs_id"),
    )
    op.create_index("ix_runs_application_stage_seq", "runs", ["application", "stage", "seq"])
    op.create_index(
        "ix_runs_live",
        "runs",
        ["seq"],
        unique=False,
        sqlite_where=sa.text("live IS 1"),
        postgresql_where=sa.text("live IS true"),
    )
    op.create_index("ix_runs_release_seq", "runs", ["release", "seq"])
    op.create_table(
        "seen_commits",
        text("sha"),
        text("application"),
        text("ref"),
        text("release"),
        moment("at"),
        flag("concerned"),
        sa.PrimaryKeyConstraint("sha", "application", "ref", name="pk_seen_commits"),
    )
    op.create_table(
        "stages",
        text("application"),
        text("stage"),
        number("version"),
        number("fence"),
        text("owner"),
        moment("lease_until", null=True),
        json("doc"),
        sa.PrimaryKeyConstraint("application", "stage", name="pk_stages"),
    )
    op.create_table(
        "tokens",
        sequence("seq"),
        text("id"),
        text("hashed"),
        moment("revoked_at", null=True),
        moment("last_used_at", null=True),
        json("doc"),
        sa.PrimaryKeyConstraint("seq", name="pk_tokens"),
        sa.UniqueConstraint("hashed", name="uq_tokens_hashed"),
        sa.UniqueConstraint("id", name="uq_tokens_id"),
    )
    op.create_table(
        "verifications",
        number("sequence"),
        text("id"),
        text("application"),
        text("stage"),
        moment("revoked_at", null=True),
        json("doc"),
        sa.PrimaryKeyConstraint("sequence", name="pk_verifications"),
        sa.UniqueConstraint("id", name="uq_verifications_id"),
    )
    op.create_index(
        "ix_verifications_application_stage_sequence",
        "verifications",
        ["application", "stage", "sequence"],
    )
    op.create_table(
        "votes",
        sequence("seq"),
        text("id"),
        text("run"),
        text("plan"),
        text("subject"),
        json("groups"),
        text("decision"),
        text("reason"),
        moment("at"),
        moment("void_at", null=True),
        sa.PrimaryKeyConstraint("seq", name="pk_votes"),
        sa.UniqueConstraint("id", name="uq_votes_id"),
        sa.UniqueConstraint("run", "plan", "subject", name="uq_votes_run_plan_subject"),
    )
    op.create_table(
        "work",
        text("key"),
        text("kind"),
        text("subject"),
        json("payload"),
        moment("due_at"),
        number("attempts"),
        text("owner"),
        moment("claimed_until", null=True),
        number("generation"),
        sa.PrimaryKeyConstraint("key", name="pk_work"),
    )
    op.create_index("ix_work_due_at", "work", ["due_at"])
    op.create_table(
        "application_specs",
        text("application"),
        number("revision"),
        text("content"),
        moment("added_at"),
        json("doc"),
        sa.ForeignKeyConstraint(
            ["application"], ["applications.name"], name="fk_application_specs_applications"
        ),
        sa.PrimaryKeyConstraint("application", "revision", name="pk_application_specs"),
        sa.UniqueConstraint(
            "application", "content", name="uq_application_specs_application_content"
        ),
    )
    op.create_table(
        "release_images",
        text("digest"),
        text("release"),
        sa.ForeignKeyConstraint(["release"], ["releases.id"], name="fk_release_images_releases"),
        sa.PrimaryKeyConstraint("digest", "release", name="pk_release_images"),
    )
    op.create_table(
        "rendered_members",
        text("digest"),
        number("position"),
        text("address"),
        sa.ForeignKeyConstraint(
            ["address"], ["rendered_objects.address"], name="fk_rendered_members_rendered_objects"
        ),
        sa.ForeignKeyConstraint(
            ["digest"], ["rendered_sets.digest"], name="fk_rendered_members_rendered_sets"
        ),
        sa.PrimaryKeyConstraint("digest", "position", name="pk_rendered_members"),
    )
    op.create_index("ix_rendered_members_address", "rendered_members", ["address"])
