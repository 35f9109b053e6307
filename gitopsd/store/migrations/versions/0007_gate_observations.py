"""What gates that ask outside were answered.

Revision: 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gitopsd.store.migrations.columns import json, text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create a table that older code does not know."""
    op.create_table(
        "gate_observations",
        text("run"),
        text("question"),
        json("doc"),
        sa.PrimaryKeyConstraint("run", "question", name="pk_gate_observations"),
    )
