"""A folder that takes long to make, for many tests that each want it as it was."""

import shutil
from collections.abc import Callable
from pathlib import Path


class KeptFolder:
    """Makes a folder once, and puts it in order again for each test.

    It is always the same folder, since an index knows its pictures by absolute paths.

    Parameters
    ----------
    folder : Path
        Where to do so; an empty folder.
    make : callable
        Fills the folder that it is given.
    """

    def __init__(self, folder: Path, make: Callable[[Path], object]) -> None:
        self._work, self._clean = folder / "work", folder / "clean"
        self._work.mkdir()
        make(self._work)
        shutil.copytree(self._work, self._clean, symlinks=True)

    def restored(self) -> Path:
        """Return the folder, with what was made in it and nothing else."""
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self._clean, self._work, symlinks=True)
        return self._work
