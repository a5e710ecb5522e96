"""A table for the share of genuine pairs that was estimated for the index."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; it is filled by the next writer, and until then readers estimate."""
    op.create_table(
        "prior_estimate",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("calibration", sa.String, nullable=False),
        sa.Column("curve_sha256", sa.String, nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("low", sa.Double, nullable=False),
        sa.Column("high", sa.Double, nullable=False),
        sa.Column("n_faces", sa.Integer, nullable=False),
        sa.Column("n_rows", sa.Integer, nullable=False),
        sa.Column("n_pairs", sa.Integer, nullable=False),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_prior_estimate_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prior_estimate")),
    )
