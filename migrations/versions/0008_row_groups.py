"""Which rows belong together, so that one that is not found is missed."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; `sqlite.row_triggers.install` fills it."""
    op.create_table(
        "row_group",
        sa.Column("name", sa.String, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("n_rows", sa.Integer, nullable=False),
        sa.Column("row_ids", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name", "value", name=op.f("pk_row_group")),
        sqlite_with_rowid=False,
    )
