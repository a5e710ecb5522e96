from collections.abc import Iterator
from pathlib import Path

import pytest

from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.store.opening import open_or_create_store
from facesim_index.store.protocols import IndexStore
from tests.store.behaviour.implementations import IMPLEMENTATIONS


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where an index can be made, once for each implementation."""
    return IMPLEMENTATIONS[request.param](tmp_path)


@pytest.fixture
def writer(address: Path) -> Iterator[IndexStore]:
    """A new, empty index, open for writing."""
    with open_or_create_store(address, FAKE_IDENTITY, "fake") as store:
        yield store
