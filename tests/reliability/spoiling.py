"""Ways to damage an index behind its back, and what it still holds."""

import sqlite3
from contextlib import closing
from pathlib import Path

from facesim_index.store.catalog import face_rows
from facesim_index.store.folder.store import FolderStore


def spoil(store: FolderStore, statement: str) -> None:
    """Change the catalog behind the back of its checksums."""
    store.catalog.close()
    with closing(sqlite3.connect(store.folder / "catalog.sqlite3")) as database:
        triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        made = triggers.fetchall()
        for name, _ in made:
            database.execute(f"DROP TRIGGER {name}")
        database.execute(statement)
        for _, text in made:
            database.execute(text)
        database.commit()


def flip(path: Path, at: int | None = None) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 0x40
    path.write_bytes(data)


def paths_and_vectors(store: FolderStore) -> set[tuple[str, bytes]]:
    with store.view() as view:
        ids = face_rows.face_ids(view.transaction)
        records = face_rows.faces(view.transaction, ids)
        vectors = view.embeddings(ids)
    return {
        (record.path, vector.tobytes()) for record, vector in zip(records, vectors, strict=True)
    }
