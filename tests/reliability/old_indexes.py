"""Make an index of each schema that was released; ``python -m tests.reliability.old_indexes``.

They are kept in ``old/``, with what they hold and answer as it was then.  No face in them is
anybody's: the embeddings are random numbers.
"""

import json
import shutil
import sqlite3
from importlib.resources import files
from pathlib import Path

import numpy as np
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from facesim_index.config import CATALOG_NAME
from facesim_index.records import FaceId, Failure, FailureCode
from facesim_index.store.sqlite import row_checks, row_triggers
from facesim_index.store.sqlite.connection import APPLICATION_ID
from tests.builders import commit_pictures, failed, new_store, picture, unit_vectors

FOLDER = Path(__file__).parent / "old"
RELEASED = ("0001", "0002", "0003", "0006", "0008")
EXPECTED_NAME = "expected.json"
ASKED = (2, 5, 9)
_NOT_COPIED = ("alembic_version", "sqlite_sequence", "row_check")


def make(folder: Path, revision: str) -> None:
    """Make an index of an old schema, with faces, failures, copies and a removed face."""
    shutil.rmtree(folder, ignore_errors=True)
    vectors = unit_vectors(12, 2024)
    vectors[8] = vectors[1] + 0.2 * vectors[8]  # one person twice
    vectors[8] /= np.linalg.norm(vectors[8])
    with new_store(folder) as store:
        twice = picture("a", vectors[:3])
        commit_pictures(store, {"/photos/a.jpg": twice, "/photos/copy of a.jpg": twice})
        commit_pictures(
            store,
            {
                "/photos/b.jpg": picture("b", vectors[3:7]),
                "/photos/nobody.jpg": picture("nobody"),
                "/photos/ü\udcff.jpg": failed("c", Failure(FailureCode.CORRUPT, "no picture")),
            },
        )
        commit_pictures(store, {"/other/d.jpg": picture("d", vectors[7:])})
        store.remove([], face_ids=[FaceId(4)])
    old_schema(folder, revision)
    for path in folder.iterdir():
        if path.name.startswith("LOCK"):
            path.unlink()
    stored = vectors.astype(np.float16).astype(np.float64)
    living = [face_id for face_id in range(1, 13) if face_id != 4]
    answers = {
        face_id: sorted(
            (
                [float(stored[face_id - 1] @ stored[other - 1]), other]
                for other in living
                if other != face_id
            ),
            reverse=True,
        )
        for face_id in ASKED
    }
    expected = {"schema": revision, "faces": living, "answers": answers}
    (folder / EXPECTED_NAME).write_text(json.dumps(expected, indent=1) + "\n", encoding="ascii")


def old_schema(folder: Path, revision: str) -> None:
    """Put an index back to an older schema: a catalog made by its migrations, the same rows."""
    path, old = folder / CATALOG_NAME, folder / "old.sqlite3"
    engine = create_engine(f"sqlite:///{old}")
    with engine.connect() as connection:
        scripts = Config(attributes={"connection": connection})
        scripts.set_main_option("script_location", str(files("facesim_index.migrations")))
        scripts.set_main_option("path_separator", "os")
        command.upgrade(scripts, revision)
        connection.commit()
    engine.dispose()
    database = sqlite3.connect(old)
    database.execute("ATTACH ? AS new", [str(path)])
    tables = database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        if table not in _NOT_COPIED:
            rows = database.execute(f"SELECT name FROM pragma_table_info('{table}', 'main')")
            columns = ", ".join(name for (name,) in rows)
            database.execute(
                f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}"
            )
    database.commit()
    database.execute("DETACH new")
    database.execute(f"PRAGMA application_id={APPLICATION_ID}")
    database.execute("PRAGMA journal_mode=WAL")
    database.close()
    if "row_check" in {table for (table,) in tables}:
        _keep_checksums(old)
    old.rename(path)


def _keep_checksums(path: Path) -> None:
    """Give the rows of a catalog checksums, as every facesim does that knows of them."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        row_checks.register(raw)
        row_triggers.install(connection)
    engine.dispose()


def main() -> None:
    """Make them all."""
    for revision in RELEASED:
        make(FOLDER / f"{revision}", revision)


if __name__ == "__main__":
    main()
