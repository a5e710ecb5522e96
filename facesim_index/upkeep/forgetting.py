"""Forget pictures, folders and faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facesim_index.errors import UsageError
from facesim_index.records import FaceId
from facesim_index.store.catalog import face_rows, picture_rows
from facesim_index.store.protocols import IndexStore


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `FaceIndex.forget` removed.

    Attributes
    ----------
    files, faces : int
        How many.  A picture that another file still shows keeps its faces.

    Examples
    --------
    >>> index.forget([photos / "anna_and_ben.png"])
    Forgotten(files=1, faces=2)
    """

    files: int
    faces: int


def forget(
    store: IndexStore, paths: Sequence[Path], face_ids: Sequence[FaceId], *, secure: bool = False
) -> Forgotten:
    """Remove pictures, folders and faces.

    Parameters
    ----------
    store : IndexStore
        Writable.
    paths : sequence of Path
        Files or folders, as they were given or with links followed; they need not exist any more.
    face_ids : sequence of FaceId
        Single faces.
    secure : bool, default=False
        Leave no trace of them in any file of the index.

    Returns
    -------
    Forgotten

    Raises
    ------
    UsageError
        A path or a face is not in the index; nothing is removed then.
    StorageError
        With `secure`: they are removed, but traces are left, because a reader still needs the index
        as it was, or the disk refused.
    IndexDamagedError
        With `secure`: they are removed, but traces are left, because a segment cannot be read.
    """
    file_ids: set[int] = set()
    names = [{path.absolute(), path.resolve()} for path in paths]
    with store.read() as view:
        for path, spellings in zip(paths, names, strict=True):
            found = {
                file_id
                for spelling in spellings
                for file_id in picture_rows.files_under(view.transaction, spelling)
            }
            if not found:
                raise UsageError(f"nothing of {path} is in {store.location}")
            file_ids |= found
        known = face_rows.face_ids(view.transaction)
    unknown = [face_id for face_id in face_ids if face_id not in known]
    if unknown:
        raise UsageError(f"there is no face {unknown[0]} in {store.location}")
    roots = list(set().union(*names))
    faces = store.remove(sorted(file_ids), face_ids, roots=roots, audited=True, secure=secure)
    return Forgotten(len(file_ids), faces)
