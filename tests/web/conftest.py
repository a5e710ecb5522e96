"""Fixtures of the tests of the server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kept_folder import KeptFolder
from tests.web.serving import TestClient, app_of, client_of, make_index, make_photos


@pytest.fixture(scope="session")
def kept_index(tmp_path_factory: pytest.TempPathFactory) -> KeptFolder:
    """Photos and their index, made once."""

    def make(folder: Path) -> None:
        make_index(folder / "i.facesim", make_photos(folder / "photos"))

    return KeptFolder(tmp_path_factory.mktemp("kept"), make)


@pytest.fixture
def photos(kept_index: KeptFolder) -> Path:
    """Photos of a red and a green person with two faces each, of a blue one, and broken ones."""
    return kept_index.restored() / "photos"


@pytest.fixture
def index(photos: Path) -> Path:
    """Their index: red is person 1, green person 2, blue nobody."""
    return photos.parent / "i.facesim"


@pytest.fixture(scope="session")
def shared_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same index for tests that change neither it nor its photos."""
    folder = tmp_path_factory.mktemp("shared")
    return make_index(folder / "i.facesim", make_photos(folder / "photos"))


@pytest.fixture
def client(index: Path) -> Iterator[TestClient]:
    """A client of a server that only reads."""
    with client_of(app_of(index)) as client:
        yield client


@pytest.fixture
def editor(index: Path) -> Iterator[TestClient]:
    """A client of a server that may change people."""
    with client_of(app_of(index, edit=True)) as client:
        yield client
