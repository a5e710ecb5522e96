"""In which numbers the engine's recogniser computes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; every index until now was made in single precision."""
    op.add_column("engine", sa.Column("numerics", sa.String, nullable=False, server_default="fp32"))
