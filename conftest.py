"""What the examples in docstrings find: a small index, its pictures, and an engine without weights.

Nothing heavy is imported before the first example runs: ``tests/conftest.py`` sets up more.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def example_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make the example once; return the folder to run in, and a clean copy of what is in it.

    An index knows its pictures by absolute paths, so every example runs in the same folder.
    """
    from tests.example_index import make_example, use_made_up_engine

    folder = tmp_path_factory.mktemp("examples")
    work, clean = folder / "work", folder / "clean"
    work.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        use_made_up_engine(patched)
        make_example(work)
    shutil.copytree(work, clean)
    return work, clean


@pytest.fixture(autouse=True)
def surroundings_of_an_example(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give an example of a docstring its folder and its names; do nothing for other tests.

    The folder is put in order before each example, which may change what it likes.
    """
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    import numpy as np

    from tests.example_index import PHOTOS, open_example, use_made_up_engine

    work, clean = request.getfixturevalue("example_folders")
    shutil.rmtree(work)
    shutil.copytree(clean, work)
    with pytest.MonkeyPatch.context() as patched:
        use_made_up_engine(patched)
        patched.chdir(work)
        namespace = request.getfixturevalue("doctest_namespace")
        namespace.update({"photos": Path(PHOTOS), "np": np, "Path": Path})
        if not any("index" in example.source for example in request.node.dtest.examples):
            yield  # to open the index takes longer than most examples
            return
        with open_example() as index:
            namespace["index"] = index
            yield
