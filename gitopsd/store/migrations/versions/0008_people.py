"""What people's votes were given with, skipped gates, and who pushed which commit.

Revision: 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gitopsd.store.migrations.columns import moment, sequence, text

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns that older code does not write: they have defaults; and tables it ignores."""
    op.add_column(
        "votes", sa.Column("known", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("votes", sa.Column("token", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "gate_skips",
        sequence("seq"),
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
        sa.PrimaryKeyConstraint("seq", name="pk_gate_skips"),
        sa.UniqueConstraint("id", name="uq_gate_skips_id"),
    )
    op.create_index("ix_gate_skips_run_seq", "gate_skips", ["run", "seq"])
    op.create_table(
        "pushes",
        sequence("seq"),
        text("repo"),
        text("sha"),
        text("pusher"),
        moment("at"),
        sa.PrimaryKeyConstraint("seq", name="pk_pushes"),
        sa.UniqueConstraint("repo", "sha", "pusher", name="uq_pushes_repo_sha_pusher"),
    )
