"""Fixtures of the tests of what may go wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from facesim_index.store.folder.store import FolderStore
from tests.builders import ingest, new_store
from tests.example_pictures import fake_photo


@pytest.fixture
def small_coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give segments of ten faces coarse codes."""
    monkeypatch.setattr("facesim_index.store.segments.coarse.COARSE_MIN_ROWS", 10)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(6):
        (folder / f"{n}.png").write_bytes(fake_photo([(30 * n + 8, 40, 8), (8, 40, 30 * n + 8)]))
    return folder


@pytest.fixture
def store(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderStore]:
    """Twelve faces in three segments."""
    monkeypatch.setattr("facesim_index.ingest.run.COMMIT_PICTURES", 2)
    with new_store(tmp_path / "i.facesim") as opened:
        ingest(opened, photos)
        yield opened
