"""When a report was begun, so that old ones can be found.

Revision: 0004, after 0003.
"""

from __future__ import annotations

from alembic import op

from gitopsd.store.migrations.columns import moment

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column that older code leaves empty: such handles stay."""
    op.add_column("message_handles", moment("begun_at", null=True))
    op.create_index("ix_message_handles_begun_at", "message_handles", ["begun_at"])
