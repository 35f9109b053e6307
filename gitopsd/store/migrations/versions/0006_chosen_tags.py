"""Which tag the last look chose.

Revision: 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column that older code does not write: it has a default."""
    op.add_column("refs", sa.Column("tag", sa.Text(), nullable=False, server_default=""))
