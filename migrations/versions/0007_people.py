"""People: whose each face is, what a human said of it, and how to undo that."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; nobody is known before `people cluster` or a human says something."""
    op.create_table(
        "person",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String, nullable=True),
        sa.Column("ignored", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "face_person",
        sa.Column("face_id", sa.Integer, nullable=False),
        sa.Column("person_id", sa.Integer, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("face_id", name=op.f("pk_face_person")),
        _of_a_face("face_person", "face_id"),
        sa.ForeignKeyConstraint(
            ["person_id"], ["person.id"], name=op.f("fk_face_person_person_id")
        ),
    )
    op.create_index(op.f("ix_face_person_person_id"), "face_person", ["person_id"])
    op.create_table(
        "faces_apart",
        sa.Column("face_a", sa.Integer, nullable=False),
        sa.Column("face_b", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("face_a", "face_b", name=op.f("pk_faces_apart")),
        _of_a_face("faces_apart", "face_a"),
        _of_a_face("faces_apart", "face_b"),
    )
    op.create_index(op.f("ix_faces_apart_face_b"), "faces_apart", ["face_b"])
    _make_undo_log()


def _make_undo_log() -> None:
    op.create_table(
        "people_change",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("made_at", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people_change")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "people_change_face",
        sa.Column("change_id", sa.Integer, nullable=False),
        sa.Column("face_id", sa.Integer, nullable=False),
        sa.Column("person_id", sa.Integer, nullable=True),
        sa.Column("source", sa.String, nullable=True),
        sa.PrimaryKeyConstraint("change_id", "face_id", name=op.f("pk_people_change_face")),
        _of_a_change("people_change_face"),
        _of_a_face("people_change_face", "face_id"),
    )
    for column in ("face_id", "person_id"):
        op.create_index(op.f(f"ix_people_change_face_{column}"), "people_change_face", [column])
    op.create_table(
        "people_change_person",
        sa.Column("change_id", sa.Integer, nullable=False),
        sa.Column("person_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String, nullable=True),
        sa.Column("ignored", sa.Boolean, nullable=True),
        sa.Column("created_at", sa.String, nullable=True),
        sa.PrimaryKeyConstraint("change_id", "person_id", name=op.f("pk_people_change_person")),
        _of_a_change("people_change_person"),
    )
    op.create_table(
        "people_change_apart",
        sa.Column("change_id", sa.Integer, nullable=False),
        sa.Column("face_a", sa.Integer, nullable=False),
        sa.Column("face_b", sa.Integer, nullable=False),
        sa.Column("were_apart", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint(
            "change_id", "face_a", "face_b", name=op.f("pk_people_change_apart")
        ),
        _of_a_change("people_change_apart"),
        _of_a_face("people_change_apart", "face_a"),
        _of_a_face("people_change_apart", "face_b"),
    )
    for column in ("face_a", "face_b"):
        op.create_index(op.f(f"ix_people_change_apart_{column}"), "people_change_apart", [column])


def _of_a_face(table: str, column: str) -> sa.ForeignKeyConstraint:
    """Return the constraint that a face which is gone takes its rows along."""
    name = op.f(f"fk_{table}_{column}")
    return sa.ForeignKeyConstraint([column], ["face.id"], name=name, ondelete="CASCADE")


def _of_a_change(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_change_id")
    return sa.ForeignKeyConstraint(
        ["change_id"], ["people_change.id"], name=name, ondelete="CASCADE"
    )
