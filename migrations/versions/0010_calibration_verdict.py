"""A table for whether the calibration fits the pictures, as the last writer found."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; it is filled by the next writer, and until then nothing is said."""
    op.create_table(
        "calibration_verdict",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("curve_sha256", sa.String, nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("sentence", sa.String, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_calibration_verdict_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibration_verdict")),
    )
