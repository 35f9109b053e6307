"""What Rollbacks found in the cluster.

Revision: 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gitopsd.store.migrations.columns import moment, octets, text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create a table that older code does not know."""
    op.create_table(
        "live_states",
        text("run"),
        moment("at"),
        octets("body"),
        sa.PrimaryKeyConstraint("run", name="pk_live_states"),
    )
