"""Reading one folder of weights: telling its files apart and checking their bytes.

A folder that was installed holds a manifest with the SHA-256 of its two files.  Without
one, the detector and the recogniser are told apart by their names or by the hashes of
published files, never by guessing from the graphs.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facesim_index.models.registry import (
    PUBLISHED_PACKS,
    PublishedFile,
    Role,
    is_other_model,
    licence_of,
    naming_rule,
    published_hashes,
    role_of_hash,
    role_of_name,
)
from facesim_index.utils.files import atomic_output

MANIFEST_NAME = "facesim-manifest.json"
_MANIFEST_FORMAT = 1
_SUFFIXES = (".onnx", ".dat")
_ROLES: tuple[Role, Role] = ("detector", "recogniser")

PackState = Literal["ok", "incomplete", "damaged", "not_installed"]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The two weight files of a pack, checked.

    Attributes
    ----------
    name : str
        Of the pack.
    detector, recogniser : Path
        The two files.
    detector_sha256, recogniser_sha256 : str
        Hex digests of the bytes on the disk.  Where recorded or published digests are known,
        these are equal to them.
    licence : str
    """

    name: str
    detector: Path
    recogniser: Path
    detector_sha256: str
    recogniser_sha256: str
    licence: str


class UnusablePackError(Exception):
    """A folder does not hold a pack that can be used.

    Parameters
    ----------
    state : {"incomplete", "damaged", "not_installed"}
    message : str
        What is wrong.  What to do about it depends on where the folder is, so the caller adds
        that.
    """

    def __init__(self, state: PackState, message: str) -> None:
        super().__init__(message)
        self.state = state


def read_pack(folder: Path, name: str) -> ModelFiles:
    """Return the weights in a folder after reading and comparing every byte of them.

    Parameters
    ----------
    folder : Path
        An existing folder.
    name : str
        Of the pack.  The name of a published pack says which files to use.

    Returns
    -------
    ModelFiles

    Raises
    ------
    UnusablePackError
        The two files cannot be told apart or read, or their bytes are not the right ones.
    """
    try:
        inner = _folder_with_weights(folder)
        detector, recogniser = (
            _checked(inner / file_name, expected) for file_name, expected in _pair(inner, name)
        )
    except OSError as error:
        cause = f"Cannot read {error.filename or folder}: {error.strerror or error}."
        raise UnusablePackError("damaged", cause) from error
    return ModelFiles(
        name=name,
        detector=detector.path,
        recogniser=recogniser.path,
        detector_sha256=detector.sha256,
        recogniser_sha256=recogniser.sha256,
        licence=licence_of(detector.sha256, recogniser.sha256),
    )


def write_manifest(files: ModelFiles) -> None:
    """Record a pack's hashes beside its files, to be compared at every use.

    Parameters
    ----------
    files : ModelFiles
        Files in one folder, where the manifest is written.

    Raises
    ------
    StorageError
        The manifest cannot be written.
    """
    record = {
        "format": _MANIFEST_FORMAT,
        "detector": {"file": files.detector.name, "sha256": files.detector_sha256},
        "recogniser": {"file": files.recogniser.name, "sha256": files.recogniser_sha256},
    }
    with atomic_output(files.detector.parent / MANIFEST_NAME) as sink:
        sink.write(json.dumps(record, indent=2).encode() + b"\n")


def _folder_with_weights(folder: Path) -> Path:
    """Step into the one folder that insightface leaves around antelopev2's files."""
    if _weight_files(folder):
        return folder
    inner = [entry for entry in folder.iterdir() if entry.is_dir() and _weight_files(entry)]
    return inner[0] if len(inner) == 1 else folder


def _weight_files(folder: Path) -> list[Path]:
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in _SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    )


def _pair(folder: Path, name: str) -> list[tuple[str, frozenset[str]]]:
    """Return the detector's and the recogniser's file name, with the hashes allowed."""
    exact = _manifest(folder)
    published = PUBLISHED_PACKS.get(name)
    if exact is None and published is not None:
        pair = (published.detector, published.recogniser)
        exact = pair if all((folder / file.file_name).is_file() for file in pair) else None
    if exact is not None:
        return [(file.file_name, frozenset({file.sha256})) for file in exact]
    return [(path.name, published_hashes(path.name)) for path in _files_by_role(folder)]


@dataclass(frozen=True, slots=True)
class _Weights:
    path: Path
    sha256: str


def _checked(path: Path, expected: frozenset[str]) -> _Weights:
    if not path.is_file():
        raise UnusablePackError("incomplete", f"{path} is missing.")
    found = _sha256(path)
    if expected and found not in expected:
        raise UnusablePackError(
            "damaged",
            f"{path} is not the right file: its SHA-256 is {found}, but it should be "
            f"{' or '.join(sorted(expected))}.",
        )
    return _Weights(path, found)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _files_by_role(folder: Path) -> list[Path]:
    """Tell detector from recogniser by name; by hash where names do not tell."""
    found = _weight_files(folder)
    named = {role: [file for file in found if role_of_name(file.name) == role] for role in _ROLES}
    nameless = [
        file for file in found if not (role_of_name(file.name) or is_other_model(file.name))
    ]
    for role in _ROLES:
        if not named[role]:
            named[role] = [file for file in nameless if role_of_hash(_sha256(file)) == role]
    if any(len(files) != 1 for files in named.values()):
        raise UnusablePackError("incomplete", _what_was_found(folder, found, named))
    return [named[role][0] for role in _ROLES]


def _what_was_found(folder: Path, found: list[Path], named: dict[Role, list[Path]]) -> str:
    counts = "; ".join(
        f"{role}: {', '.join(file.name for file in files) or 'none'}"
        for role, files in named.items()
    )
    needed = " and ".join(f"one {role} ({naming_rule(role)})" for role in _ROLES)
    others = [file.name for file in found if not any(file in files for files in named.values())]
    return (
        f"{folder} must hold exactly {needed}. Found {counts}; "
        f"other ONNX files: {', '.join(others) or 'none'}."
    )


def _manifest(folder: Path) -> tuple[PublishedFile, PublishedFile] | None:
    """Read what was recorded at the pack's installation, None where nothing was."""
    path = folder / MANIFEST_NAME
    if not path.exists():
        return None
    if not path.is_file():  # a FIFO would wait for somebody to write
        raise UnusablePackError("damaged", f"{path} is not a regular file.")
    try:
        record = json.loads(path.read_bytes())
        if record["format"] != _MANIFEST_FORMAT:
            raise ValueError(f"unknown format {record['format']}")
        detector, recogniser = (
            PublishedFile(_plain_name(record[role]["file"]), str(record[role]["sha256"]))
            for role in _ROLES
        )
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        cause = f"{path} cannot be read: {error}."
        raise UnusablePackError("damaged", cause) from error
    return detector, recogniser


def _plain_name(text: object) -> str:
    if not isinstance(text, str) or Path(text).name != text:
        raise ValueError(f"not a plain file name: {text!r}")
    return text
