"""What every test of a pool must leave behind: nothing."""

import sys
import threading
from collections.abc import Iterator

import pytest

from tests.workers.pools import children, open_descriptors


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Every test of this folder must leave no process, no thread and no descriptor."""
    if sys.platform == "win32":
        yield
        return
    before = open_descriptors()
    yield
    assert not children()
    assert [
        thread for thread in threading.enumerate() if thread.name[:5] in ("read-", "write")
    ] == []
    assert open_descriptors() == before
