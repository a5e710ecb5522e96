"""Labels of faces: lists of pairs of face ids, and who is one person by them."""

import csv
from pathlib import Path

import numpy as np

from facesim_index.errors import UsageError
from facesim_index.records import MAX_ID, BoolArray, Int64Array

FACE_COLUMNS = ("face_a", "face_b", "same")

_LONGEST_HEADER = 1000  # characters
_SAME = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def names_faces(file: Path) -> bool:
    """Tell whether a list of pairs has face ids, not pictures, by its first line.

    Parameters
    ----------
    file : Path

    Returns
    -------
    bool
        Whether the line is ``face_a,face_b,same``, in upper or lower case.

    Raises
    ------
    UsageError
        The file cannot be read.
    """
    if not file.is_file():  # a FIFO would be empty the second time
        raise UsageError(f"cannot read {file}: not a regular file")
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as lines:
            first = lines.readline(_LONGEST_HEADER)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror or error}") from error
    return tuple(word.strip().lower() for word in first.split(",")) == FACE_COLUMNS


def read_face_pairs(file: Path) -> tuple[Int64Array, BoolArray]:
    """Read a list of labelled pairs of faces.

    Parameters
    ----------
    file : Path
        CSV with the columns ``face_a,face_b,same``.

    Returns
    -------
    face_ids : ndarray of shape (n_pairs, 2), int64
        In the order of the file.
    same : ndarray of shape (n_pairs,), bool
        Whether each pair shows one person.

    Raises
    ------
    UsageError
        The file cannot be read, or a line of it makes no sense.  The message names the file and
        the line.
    """
    pairs, same = [], []
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.reader(lines)
            next(rows, None)
            for row in rows:
                if not row:
                    continue
                where = f"{file}, line {rows.line_num}"
                words = [word.strip() for word in row]
                if len(words) != 3 or words[2].lower() not in _SAME:
                    raise UsageError(f"{where}: a line is face_a,face_b,same; same is 1 or 0")
                pair = _face_id(words[0], where), _face_id(words[1], where)
                if pair[0] == pair[1]:
                    raise UsageError(f"{where}: a face is paired with itself")
                pairs.append(pair)
                same.append(_SAME[words[2].lower()])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read {file}: {error}") from error
    return np.array(pairs, dtype=np.int64).reshape(-1, 2), np.array(same, dtype=np.bool_)


def _face_id(word: str, where: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise UsageError(f"{where}: a face id is a whole number")
    if len(word) > len(str(MAX_ID)) or int(word) > MAX_ID:
        raise UsageError(f"{where}: a face id has no more than {len(str(MAX_ID))} digits")
    return int(word)
