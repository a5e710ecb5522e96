"""A table for what was forgotten: when and how many, never who."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; of what was forgotten until now nothing is known."""
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("files", sa.Integer, nullable=False),
        sa.Column("faces", sa.Integer, nullable=False),
        sa.Column("secure", sa.Boolean, nullable=False),
        sa.Column("finished_at", sa.String, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
