"""The first catalog."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "index_state",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("next_face_id", sa.Integer, nullable=False),
        sa.Column("next_segment_id", sa.Integer, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_index_state_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_index_state")),
    )
    op.create_table(
        "engine",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("detector_sha256", sa.String, nullable=False),
        sa.Column("recogniser_sha256", sa.String, nullable=False),
        sa.Column("preprocessing", sa.Integer, nullable=False),
        sa.Column("dimension", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_engine")),
    )
    op.create_table(
        "root",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("last_ingest_at", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_root")),
        sa.UniqueConstraint("path", name=op.f("uq_root_path")),
    )
    op.create_table(
        "folder",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_folder")),
        sa.UniqueConstraint("path", name=op.f("uq_folder_path")),
    )
    op.create_table(
        "image",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("content_hash", sa.LargeBinary, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("failure_code", sa.String, nullable=True),
        sa.Column("failure_message", sa.String, nullable=True),
        sa.Column("width_px", sa.Integer, nullable=True),
        sa.Column("height_px", sa.Integer, nullable=True),
        sa.Column("format", sa.String, nullable=True),
        sa.Column("taken_at", sa.String, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("content_hash", name=op.f("uq_image_content_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_image_status"), "image", ["status"])
    op.create_table(
        "file",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("folder_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("mtime_ns", sa.Integer, nullable=False),
        sa.Column("image_id", sa.Integer, nullable=True),
        sa.Column("failure_code", sa.String, nullable=True),
        sa.Column("failure_message", sa.String, nullable=True),
        sa.Column("missing_since", sa.String, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file")),
        sa.ForeignKeyConstraint(["folder_id"], ["folder.id"], name=op.f("fk_file_folder_id")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_file_image_id")),
        sa.UniqueConstraint("folder_id", "name", name=op.f("uq_file_folder_id_name")),
    )
    op.create_index(op.f("ix_file_image_id"), "file", ["image_id"])
    op.create_table(
        "face",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("image_id", sa.Integer, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("x", sa.Double, nullable=False),
        sa.Column("y", sa.Double, nullable=False),
        sa.Column("w", sa.Double, nullable=False),
        sa.Column("h", sa.Double, nullable=False),
        sa.Column("landmarks", sa.BLOB, nullable=False),
        sa.Column("detection", sa.Double, nullable=False),
        sa.Column("size_px", sa.Double, nullable=False),
        sa.Column("sharpness", sa.Double, nullable=False),
        sa.Column("yaw_deg", sa.Double, nullable=False),
        sa.Column("roll_deg", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_face")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_face_image_id")),
        sa.UniqueConstraint("image_id", "ordinal", name=op.f("uq_face_image_id_ordinal")),
    )
    op.create_table(
        "tombstone",
        sa.Column("face_id", sa.Integer, nullable=False),
        sa.Column("deleted_at", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("face_id", name=op.f("pk_tombstone")),
    )
    op.create_table(
        "segment",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("n_rows", sa.Integer, nullable=False),
        sa.Column("first_face_id", sa.Integer, nullable=False),
        sa.Column("last_face_id", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segment")),
        sa.UniqueConstraint("name", name=op.f("uq_segment_name")),
    )
    op.create_table(
        "calibration",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("engine_key", sa.String, nullable=False),
        sa.Column("document", sa.String, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibration")),
        sa.UniqueConstraint("name", name=op.f("uq_calibration_name")),
    )
    op.create_table(
        "ingest_run",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("started_at", sa.String, nullable=False),
        sa.Column("finished_at", sa.String, nullable=True),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("options", sa.String, nullable=False),
        sa.Column("summary", sa.String, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingest_run")),
    )
