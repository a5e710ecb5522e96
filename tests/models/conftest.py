"""Where packs are, for the tests."""

from pathlib import Path

import pytest

from facesim_index.models.registry import PUBLISHED_PACKS, PublishedFile, PublishedPack
from tests.models.small_packs import PAIR, sha256


@pytest.fixture
def packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder of packs, apart from the user's own."""
    for name in ("FACESIM_MODEL", "FACESIM_INDEX", "INSIGHTFACE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FACESIM_MODELS", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "root" / "models"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a published pack whose published bytes are those of `PAIR`."""
    pair = [PublishedFile(name, sha256(data)) for name, data in PAIR.items()]
    monkeypatch.setitem(PUBLISHED_PACKS, "buffalo_sc", PublishedPack(*pair))
    return "buffalo_sc"
