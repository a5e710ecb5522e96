"""Tables for the statistics of each face's cosines with a cohort of faces of the same index."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; what belongs in them follows from the embeddings and is computed later."""
    op.create_table(
        "cohort",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("n_faces", sa.Integer, nullable=False),
        sa.Column("face_ids", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_cohort_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cohort")),
    )
    op.create_table(
        "face_statistics",
        sa.Column("chunk", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("numbers", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("chunk", name=op.f("pk_face_statistics")),
    )
