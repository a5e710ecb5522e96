"""What the engine does to a face beside embedding it as it is."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; every index until now holds embeddings of faces as they are."""
    op.add_column("engine", sa.Column("augment", sa.String, nullable=False, server_default="none"))
