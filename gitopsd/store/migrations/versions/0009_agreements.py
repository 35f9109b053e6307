"""How far Git agrees with Rollbacks, and the commits that were made for that.

Revision: 0009, after 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gitopsd.store.migrations.columns import json, moment, sequence, text

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add tables that older code ignores."""
    op.create_table(
        "agreements", text("run"), json("doc"), sa.PrimaryKeyConstraint("run", name="pk_agreements")
    )
    op.create_table(
        "own_commits",
        sequence("seq"),
        text("repo"),
        text("sha"),
        text("run"),
        moment("at"),
        sa.PrimaryKeyConstraint("seq", name="pk_own_commits"),
        sa.UniqueConstraint("repo", "sha", name="uq_own_commits_repo_sha"),
    )
    op.create_index("ix_own_commits_run_seq", "own_commits", ["run", "seq"])
