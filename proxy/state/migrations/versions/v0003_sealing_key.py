"""Which key seals the secrets of a state, so that a replica with another one is told at once."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; the next process that opens the state fills it in."""
    op.add_column("meta", sa.Column("sealed_with", sa.Text(), nullable=False, server_default=""))
