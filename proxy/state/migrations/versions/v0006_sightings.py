"""From where credentials are used."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the table; nothing was seen so far."""
    op.create_table(
        "sightings",
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("credential", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.Double(), nullable=False),
        sa.Column("last_seen", sa.Double(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("written_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("user", "credential", "address", name=op.f("pk_sightings")),
    )
    op.create_index(op.f("ix_sightings_written_at"), "sightings", ["written_at"])
