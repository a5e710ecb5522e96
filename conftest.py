"""What the examples in docstrings find: a small index, its pictures, and an engine without weights.

Each example runs in a folder of its own that holds ``holiday.facesim``, ``photos`` and ``people``
(see `tests.example_index`).  It can change them without disturbing the next one.  The engine and
the calibration that are taken when none is named are made up here, so that the examples read as
they do for a user and need neither weights nor real pictures.
"""

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from facesim_index import FaceIndex
from facesim_index.calibration import shipped
from facesim_index.search import comparison
from facesim_index.session import session
from tests.builders import FAKE
from tests.example_index import INDEX, PHOTOS, make_example, shipped_calibrations


@pytest.fixture(scope="session")
def example_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make the example once; return the folder to run in, and a clean copy of what is in it.

    An index knows its pictures by absolute paths, so every example runs in the same folder.
    """
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
    """Give an example of a docstring its folder and its names; do nothing for other tests."""
    if not isinstance(request.node, pytest.DoctestItem):
        yield
        return
    work, clean = request.getfixturevalue("example_folders")
    shutil.rmtree(work)
    shutil.copytree(clean, work)
    with pytest.MonkeyPatch.context() as patched:
        use_made_up_engine(patched)
        patched.chdir(work)
        with FaceIndex.open(INDEX, engine=FAKE) as index:
            names = {"index": index, "photos": Path(PHOTOS), "np": np, "Path": Path}
            request.getfixturevalue("doctest_namespace").update(names)
            yield


def use_made_up_engine(patched: pytest.MonkeyPatch) -> None:
    """Let the engine and the calibration that are taken when none is named be made-up ones."""
    calibrations = shipped_calibrations()
    patched.setattr(shipped, "_shipped", lambda: calibrations)
    for module in (session, comparison):
        real = vars(module)["settings_for"]
        patched.setattr(module, "settings_for", functools.partial(settings_for, real))


def settings_for(real: Callable[..., object], model: str | Path | None, *rest: object) -> object:
    """Return the settings of the made-up engine, unless another model is named."""
    return (FAKE, "fake") if model in (None, "fake") else real(model, *rest)
