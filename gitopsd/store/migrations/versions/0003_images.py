"""Images that are followed, resolved and pinned, and what releases can be asked for by.

Revision: 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gitopsd.store.migrations.columns import json, moment, text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create four tables that older code does not know."""
    op.create_table(
        "followed_images",
        text("name"),
        json("doc"),
        sa.PrimaryKeyConstraint("name", name="pk_followed_images"),
    )
    op.create_table(
        "resolved_images",
        text("reference"),
        text("digest"),
        moment("at"),
        sa.PrimaryKeyConstraint("reference", name="pk_resolved_images"),
    )
    op.create_table(
        "release_pins",
        text("release"),
        text("reference"),
        text("digest"),
        sa.PrimaryKeyConstraint("release", "reference", name="pk_release_pins"),
    )
    op.create_table(
        "release_marks",
        text("application"),
        text("mark"),
        text("release"),
        sa.PrimaryKeyConstraint("application", "mark", "release", name="pk_release_marks"),
    )
