"""What SQLite is told, and not only what this build of it does by itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from facesim_index.records import FaceId
from facesim_index.store.catalog import writing
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.sqlite import descriptors
from tests.builders import commit_pictures, new_store, picture, unit_vectors
from tests.reliability.old_indexes import old_schema

FULL, ON = 2, 1


@dataclass(frozen=True)
class Told:
    """A connection that was closed, and what it had been told."""

    address: str
    synchronous: int
    secure_delete: int


class Careless(descriptors.Connection):
    """A connection as a SQLite that was built to be fast gives it; says what it was told."""

    seen: ClassVar[list[Told]] = []

    def __init__(self, address: str, **options: object) -> None:
        super().__init__(address, **options)  # type: ignore[arg-type]
        self.address = address
        self.execute("PRAGMA synchronous=OFF")
        self.execute("PRAGMA secure_delete=OFF")

    def close(self) -> None:
        """Note how it was before it is closed."""
        if self.is_counted:
            told = [
                self.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("synchronous", "secure_delete")
            ]
            self.seen.append(Told(self.address, *told))
        super().close()


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> list[Told]:
    monkeypatch.setattr(descriptors, "Connection", Careless)
    Careless.seen = []
    return Careless.seen


def test_whoever_writes_waits_for_the_disk_and_overwrites_what_is_deleted(
    tmp_path: Path, careless: list[Told]
) -> None:
    """A power cut may take only the last transaction, and a forgotten name leaves no trace."""
    folder = tmp_path / "i"
    with new_store(folder) as store:
        commit_pictures(store, {"/p/a.jpg": picture("a", unit_vectors(3, 1))})
        store.remove([], [FaceId(1)], secure=True)
        store.compact()
    old_schema(folder, "0001")
    careless.clear()
    FolderStore(folder).close()  # upgrades it
    new_store(tmp_path / "j").close()
    with FolderStore(folder, writable=True) as store:
        commit_pictures(store, {"/p/b.jpg": picture("b", unit_vectors(3, 2))})
    writers = [seen for seen in careless if not seen.address.endswith("mode=ro")]
    assert {seen.address.rpartition("=")[2] for seen in writers} == {"rw", "rwc"}
    assert {(seen.synchronous, seen.secure_delete) for seen in writers} == {(FULL, ON)}


def test_what_was_deleted_is_overwritten_in_the_catalog_itself(
    tmp_path: Path, careless: list[Told]
) -> None:
    folder = tmp_path / "i"
    with new_store(folder) as store:
        with store.write() as transaction:
            writing.put_root(transaction, "/somewhere secret")
        assert store.catalog.empty_log()
        assert b"somewhere secret" in descriptors.read_file(store.catalog.path, "catalog.sqlite3")
        with store.write() as transaction:
            writing.remove_roots(transaction, Path("/somewhere secret"))
        assert store.catalog.empty_log()
    assert careless
    assert b"somewhere secret" not in (folder / "catalog.sqlite3").read_bytes()
