"""Fetching a published model pack, and unpacking it without trusting it."""

import contextlib
import shutil
import stat
import sys
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from facesim_index.errors import ModelError

#: No published pack comes near this; an archive that claims more is not a model pack.
MAX_UNPACKED_BYTES = 4 << 30

_NOT_WHOLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def download_pack(name: str, target: Path) -> None:
    """Download a published pack's zip file by insightface's own means.

    Parameters
    ----------
    name : str
        Such as ``buffalo_l``.
    target : Path
        The zip file to write.  After an error it may hold a part of the pack.

    Raises
    ------
    ModelError
        It could not be fetched; the message says how to do without the network.
    """
    try:
        import requests
        from insightface.utils.download import download_file
        from insightface.utils.storage import model_zoo_download_url
    except ImportError as error:
        raise ModelError(
            f"cannot download {name}: insightface cannot be imported ({error}); run: facesim doctor"
        ) from error
    url = str(model_zoo_download_url(f"{name}.zip"))
    try:
        # insightface prints what it does, but standard output is for our own results.
        with contextlib.redirect_stdout(sys.stderr):
            download_file(url, path=str(target), overwrite=True)
    except (requests.RequestException, ConnectionError, TimeoutError, RuntimeError) as error:
        raise ModelError(
            f"cannot download {name} from {url}: {error}. Where this computer has no network, "
            f"download {name}.zip from there on another one, unpack it into a folder named "
            f"{name}, bring it here and run: facesim models install PATH/TO/{name}"
        ) from error


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a model pack's zip file into a new folder.

    Where the archive holds a single folder that wraps everything, as antelopev2's does, its
    content is unpacked without it.  Every byte is compared with the archive's checksums while it
    is written.

    Parameters
    ----------
    archive : Path
        A zip file, which need not be trusted.
    folder : Path
        Must not exist yet; its parent must.  After an error it may hold a part of the files.

    Raises
    ------
    ModelError
        The archive is cut short, corrupt, or would write outside the folder.
    """
    try:
        with zipfile.ZipFile(archive) as pack:
            members = [member for member in pack.infolist() if not member.is_dir()]
            if sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
                raise ModelError(f"{archive.name} is too large to be a model pack")
            folder.mkdir()
            for member, path in zip(members, _safe_paths(members, archive.name), strict=True):
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                # Reading a member to its end checks its CRC, and "x" refuses a second
                # member of the same name.
                with pack.open(member) as source, target.open("xb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    except (FileExistsError, NotADirectoryError) as error:
        raise ModelError(f"{archive.name} holds a file twice: {error.filename}") from error
    except _NOT_WHOLE as error:
        raise ModelError(
            f"{archive.name} is not a whole zip file ({error}); download it again"
        ) from error


def _safe_paths(members: Iterable[zipfile.ZipInfo], archive: str) -> list[PurePosixPath]:
    """Return where each member goes below the new folder, without a wrapping folder."""
    paths = [_safe_path(member, archive) for member in members]
    wrappers = {path.parts[0] for path in paths if len(path.parts) > 1}
    if len(wrappers) == 1 and all(len(path.parts) > 1 for path in paths):
        return [PurePosixPath(*path.parts[1:]) for path in paths]
    return paths


def _safe_path(member: zipfile.ZipInfo, archive: str) -> PurePosixPath:
    path = PurePosixPath(member.filename)
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    # A colon is a drive or a stream on Windows, and a backslash a separator.
    unsafe = path.is_absolute() or ".." in path.parts or not path.parts
    if unsafe or is_link or set("\\:") & set(member.filename):
        raise ModelError(
            f"{archive} is not safe to unpack: it holds {member.filename!r}, which would be "
            "written elsewhere; do not use this file"
        )
    return path
