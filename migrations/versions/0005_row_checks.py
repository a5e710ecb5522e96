"""A checksum of every row; the triggers that keep them are made after the migrations."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; `sqlite.row_triggers.install` fills it."""
    op.create_table(
        "row_check",
        sa.Column("table_name", sa.String, nullable=False),
        sa.Column("row_id", sa.Integer, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("table_name", "row_id", name=op.f("pk_row_check")),
        sqlite_with_rowid=False,
    )
