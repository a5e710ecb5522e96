"""Labels of pictures: lists of pairs, and folders with one folder for each person.

Two formats of lists are read: that of LFW (``pairs.txt`` with its ten folds,
``pairsDevTrain.txt``) and CSV with the columns ``path_a,path_b,same``.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesim_index.errors import CalibrationError, UsageError
from facesim_index.metrics.linking import linked_people
from facesim_index.pictures.folder_walk import PICTURE_SUFFIXES, FoundFolder, WalkOptions, walk
from facesim_index.records import BoolArray, Int64Array

CSV_COLUMNS = ("path_a", "path_b", "same")

_MOST_DIGITS = 9
_SHOWN = 100  # characters of a line, in a message
_LONGEST_PATH = 4096
_SAME = {
    **dict.fromkeys(("1", "true", "yes"), True),
    **dict.fromkeys(("0", "false", "no"), False),
}


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two pictures, and whether they show one person.

    Attributes
    ----------
    path_a, path_b : Path
        Absolute.
    same : bool
        Whether they show one person.
    fold : int or None
        From 0; None where the list is not divided into folds.
    """

    path_a: Path
    path_b: Path
    same: bool
    fold: int | None


@dataclass(frozen=True, slots=True)
class PairList:
    """A list of labelled pairs.

    Attributes
    ----------
    pairs : tuple of LabelledPair
        In the order of the file.
    n_folds : int or None
        None where the list is not divided into folds.
    """

    pairs: tuple[LabelledPair, ...]
    n_folds: int | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every picture of the list once, in ascending order."""
        return tuple(sorted({path for pair in self.pairs for path in (pair.path_a, pair.path_b)}))


@dataclass(frozen=True, slots=True, eq=False)
class ListedPeople:
    """Who the pictures of a list show, as its labels say.

    Attributes
    ----------
    rows : ndarray of shape (n_pairs, 2), int64
        Places in `PairList.paths` of the pictures of each pair.
    same : ndarray of shape (n_pairs,), bool
        Whether each pair shows one person.
    person : ndarray of shape (n_pictures,), int64
        The person on each picture.
    by_folder : bool
        Whether every label agrees that each folder holds one person.
    """

    rows: Int64Array
    same: BoolArray
    person: Int64Array
    by_folder: bool


def read_pairs(file: Path, images: Path | None = None) -> PairList:
    """Read a list of pairs.

    Parameters
    ----------
    file : Path
        In the format of LFW, or CSV with a header ``path_a,path_b,same``.
    images : Path, optional
        The folder of the pictures.  The format of LFW needs it: pictures are
        ``NAME/NAME_0001.jpg`` below it.  Paths in CSV are relative to it, or without it to the
        folder of the file.

    Returns
    -------
    PairList

    Raises
    ------
    UsageError
        The file cannot be read, a line of it makes no sense, or a picture is missing.  The
        message names the file, and the line or the picture.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        lines = text.splitlines()
        if lines and "," in lines[0]:
            return _read_csv(file, lines, images or file.parent)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read the pairs in {file}: {error}") from error
    if images is None:
        raise UsageError(f"{file} names pictures by person; give their folder with --images")
    return _read_lfw(file, lines, images)


def listed_people(listed: PairList, name: str | Path) -> ListedPeople:
    """Return who the pictures of a list show.

    Where every label agrees with the folders of the pictures, each folder is one person.
    Otherwise pictures that labels link, directly or through others, show one person.

    Parameters
    ----------
    listed : PairList
    name : str or Path
        Of the list, for messages.

    Returns
    -------
    ListedPeople

    Raises
    ------
    CalibrationError
        Two pictures are said to be of two people, but other lines link them.
    """
    paths = listed.paths
    place = {path: number for number, path in enumerate(paths)}
    rows = np.array(
        [(place[pair.path_a], place[pair.path_b]) for pair in listed.pairs], dtype=np.int64
    ).reshape(-1, 2)
    same = np.array([pair.same for pair in listed.pairs], dtype=np.bool_)
    _, folder = np.unique([str(path.parent) for path in paths], return_inverse=True)
    folder = folder.astype(np.int64).ravel()
    if np.array_equal(folder[rows[:, 0]] == folder[rows[:, 1]], same):
        return ListedPeople(rows, same, folder, by_folder=True)
    person = linked_people(rows[same], len(paths))
    wrong = contradicted(rows, same, person)
    if wrong is not None:
        a, b = (paths[number] for number in wrong)
        raise CalibrationError(
            f"{name}: {a} and {b} are said to be two people, but other lines link them as one; "
            "correct the labels"
        )
    return ListedPeople(rows, same, person, by_folder=False)


def contradicted(rows: Int64Array, same: BoolArray, person: Int64Array) -> Int64Array | None:
    """Return the first pair that is said to show two people though other labels link them.

    Parameters
    ----------
    rows : ndarray of shape (n_pairs, 2), int64
        Places of the two items of each pair.
    same : ndarray of shape (n_pairs,), bool
        Whether each pair is said to show one person.
    person : ndarray of shape (n_items,), int64
        The person of each item.

    Returns
    -------
    ndarray of shape (2,), int64, or None
        Its row; None when no label contradicts the others.

    Examples
    --------
    >>> rows, same = np.array([[0, 1], [1, 2], [0, 2]]), np.array([True, True, False])
    >>> contradicted(rows, same, np.array([0, 0, 0]))
    array([0, 2])
    """
    wrong = np.flatnonzero(~same & (person[rows[:, 0]] == person[rows[:, 1]]))
    return rows[wrong[0]] if wrong.size else None


def people_folder(folder: Path) -> dict[Path, str]:
    """Return the person on each picture, in a folder with one folder for each person.

    Parameters
    ----------
    folder : Path
        Pictures directly in it are left out.  A picture at any depth below the folder of a person
        shows that person.

    Returns
    -------
    dict of Path to str
        The name of the person's folder by the absolute path of the picture; always in the same
        order.

    Raises
    ------
    UsageError
        There is no such folder, or no picture of a person in it.
    """
    root = folder.expanduser().resolve()
    if not root.is_dir():
        raise UsageError(f"{folder} is not a folder; give one with a folder for each person")
    people = {
        path: path.relative_to(root).parts[0]
        for found in walk(root, WalkOptions())
        if isinstance(found, FoundFolder) and found.path != root
        for path in (file.path_in(found.path) for file in found.files)
    }
    if not people:
        raise UsageError(f"{folder} has no pictures in folders; make one folder for each person")
    return people


def _read_csv(file: Path, lines: list[str], folder: Path) -> PairList:
    rows = csv.DictReader(lines)
    if not set(CSV_COLUMNS) <= set(rows.fieldnames or ()):
        raise UsageError(f"{file} must begin with the header {','.join(CSV_COLUMNS)}")
    pairs = []
    for row in rows:
        same = _SAME.get((row["same"] or "").strip().lower())
        if same is None or not row["path_a"] or not row["path_b"]:
            raise UsageError(
                f"{file}, line {rows.line_num}: needs two paths, and same as 1 or 0 (true or false)"
            )
        where = f"{file}, line {rows.line_num}"
        a, b = (_resolved(folder / row[name], where) for name in ("path_a", "path_b"))
        pairs.append(LabelledPair(a, b, same, None))
    return _checked(file, pairs, None)


def _read_lfw(file: Path, lines: list[str], images: Path) -> PairList:
    header = lines[0].split() if lines else []
    numbers = [_count(word) or 0 for word in header]
    if not numbers or not all(numbers) or len(numbers) > 2:
        raise UsageError(f"{file} is neither a list of pairs as LFW's nor CSV")
    n_folds = numbers[0] if len(numbers) == 2 else None
    per_fold = 2 * numbers[-1]
    pairs: list[LabelledPair] = []
    for number, line in enumerate(lines[1:], start=2):
        words = line.split("\t") if "\t" in line else line.split()
        if not words:
            continue
        fold = len(pairs) // per_fold if n_folds else None
        where = f"{file}, line {number}"
        match words:
            case [name, first, second]:
                same, named = True, ((name, first), (name, second))
            case [name, first, other, second]:
                same, named = False, ((name, first), (other, second))
            case _:
                raise UsageError(f"{where}: {line[:_SHOWN]!r} names no pair")
        a, b = (_lfw_picture(images, *picture, where) for picture in named)
        pairs.append(LabelledPair(a, b, same, fold))
    if n_folds and len(pairs) != n_folds * per_fold:
        raise UsageError(
            f"{file} has {len(pairs)} pairs; its first line promises {n_folds * per_fold}"
        )
    return _checked(file, pairs, n_folds)


def _lfw_picture(images: Path, name: str, number: str, where: str) -> Path:
    """Return the path of a picture by the name of its person and its number.

    Any suffix of pictures will do; where there is no file, the path ends in ``.jpg``.
    """
    count = _count(number)
    if count is None:
        raise UsageError(f"{where}: {number[:_SHOWN]!r} is no number of a picture")
    stem = f"{name}_{count:04d}"
    usual = images / name / f"{stem}.jpg"
    if _is_there(usual):
        return _resolved(usual, where)
    others = (images / name / f"{stem}{suffix}" for suffix in sorted(PICTURE_SUFFIXES))
    return _resolved(next((path for path in others if _is_there(path)), usual), where)


def _count(word: str) -> int | None:
    """Return the number that a word is, from 0; None where it is none, or a huge one."""
    plain = word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS
    return int(word) if plain else None


def _resolved(path: Path, where: str) -> Path:
    try:
        return path.expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a NUL, or the home of nobody
        raise UsageError(f"{where}: no path of a picture: {error}") from error


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long a name, for example
        return False


def _checked(file: Path, pairs: list[LabelledPair], n_folds: int | None) -> PairList:
    if not pairs:
        raise UsageError(f"{file} has no pairs")
    listed = PairList(tuple(pairs), n_folds)
    missing = [path for path in listed.paths if not _is_there(path)]
    if missing:
        raise UsageError(
            f"{file} names {len(missing)} pictures that are not there, such as "
            f"{str(missing[0])[:_LONGEST_PATH]}"
        )
    return listed
