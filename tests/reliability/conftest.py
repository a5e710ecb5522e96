"""Fixtures of the tests of what may go wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from facesim_index.store.folder.store import FolderStore
from tests.builders import ingest, new_store
from tests.example_pictures import fake_photo
from tests.kept_folder import KeptFolder


@pytest.fixture
def small_coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give segments of ten faces coarse codes."""
    monkeypatch.setattr("facesim_index.store.segments.coarse.COARSE_MIN_ROWS", 10)


COMMIT_PICTURES = "facesim_index.ingest.run.COMMIT_PICTURES"


def make_twelve_faces(folder: Path) -> None:
    (folder / "photos").mkdir()
    for n in range(6):
        photo = fake_photo([(30 * n + 8, 40, 8), (8, 40, 30 * n + 8)])
        (folder / "photos" / f"{n}.png").write_bytes(photo)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(COMMIT_PICTURES, 2)
        with new_store(folder / "i.facesim") as store:
            ingest(store, folder / "photos")


@pytest.fixture(scope="session")
def kept_index(tmp_path_factory: pytest.TempPathFactory) -> KeptFolder:
    """Six photos and their index, made once."""
    return KeptFolder(tmp_path_factory.mktemp("kept"), make_twelve_faces)


@pytest.fixture
def photos(kept_index: KeptFolder) -> Path:
    return kept_index.restored() / "photos"


@pytest.fixture
def store(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderStore]:
    """Twelve faces in three segments."""
    monkeypatch.setattr(COMMIT_PICTURES, 2)
    with FolderStore(photos.parent / "i.facesim", writable=True) as opened:
        yield opened
