"""What is asked of files in a folder in which others write."""

import os
from pathlib import Path

import pytest

from facesim_index.utils.files import total_bytes
from tests.builders import commit_pictures, new_store, picture, unit_vectors


def test_what_is_gone_or_no_file_has_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "some").write_bytes(b"seven b")
    (tmp_path / "more").write_bytes(b"two")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("some")
    paths = [tmp_path / name for name in ("some", "gone", "more", "folder", "link")]
    assert total_bytes(paths) == 10
    assert total_bytes([]) == 0


def test_an_index_has_a_size_while_a_writer_removes_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may go at any moment after it was listed, also after somebody has looked at it."""
    stat = Path.stat

    def look(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        found = stat(path, follow_symlinks=follow_symlinks)
        if path in going:
            path.unlink()
        return found

    with new_store(tmp_path / "i") as store:
        commit_pictures(store, {"/p/a.jpg": picture("a", unit_vectors(2, 0))})
        before = store.size()
        going = [tmp_path / "i" / "catalog.sqlite3-going", tmp_path / "i" / "segments" / "going"]
        for path in going:
            path.write_bytes(b"seven b")
        monkeypatch.setattr(Path, "stat", look)
        size = store.size()
    assert not any(path.exists() for path in going)
    assert size.catalog_bytes == before.catalog_bytes + 7
    assert size.embeddings_bytes == before.embeddings_bytes + 7
