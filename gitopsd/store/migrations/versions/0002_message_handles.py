"""Where channels show what, and how channels fare.

Revision: 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gitopsd.store.migrations.columns import json, number, text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create two tables that older code does not know."""
    op.create_table(
        "message_handles",
        text("channel"),
        text("subject"),
        text("topic"),
        number("version"),
        json("doc"),
        sa.PrimaryKeyConstraint("channel", "subject", name="pk_message_handles"),
    )
    op.create_index("ix_message_handles_topic", "message_handles", ["topic"])
    op.create_table(
        "channel_states",
        text("channel"),
        json("doc"),
        sa.PrimaryKeyConstraint("channel", name="pk_channel_states"),
    )
