"""Who is who in labelled pictures: lists of pairs, and folders of people.

Two formats of lists are read: LFW's (``pairs.txt`` with its ten folds, ``pairsDevTrain.txt``)
and CSV with the columns ``path_a,path_b,same``.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from facesim_index.errors import UsageError
from facesim_index.pictures.folder_walk import PICTURE_SUFFIXES, FoundFolder, WalkOptions, walk

CSV_COLUMNS = ("path_a", "path_b", "same")

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
    same : bool
    fold : int or None
        From 0, where the list is divided into folds.
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
    """

    pairs: tuple[LabelledPair, ...]
    n_folds: int | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every picture of the list once, in the order of the names."""
        return tuple(sorted({path for pair in self.pairs for path in (pair.path_a, pair.path_b)}))


def read_pairs(file: Path, images: Path | None = None) -> PairList:
    """Read a list of pairs.

    Parameters
    ----------
    file : Path
        LFW's format, or CSV with a header ``path_a,path_b,same``.
    images : Path, optional
        The folder of the pictures: needed for LFW's format (``NAME/NAME_0001.jpg`` below it);
        paths in CSV are relative to it, or else to the folder of the file.

    Returns
    -------
    PairList

    Raises
    ------
    UsageError
        The file cannot be read or has a line that makes no sense; it names both.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the pairs in {file}: {error}") from error
    lines = text.splitlines()
    if lines and "," in lines[0]:
        return _read_csv(file, lines, images or file.parent)
    if images is None:
        raise UsageError(f"{file} names pictures by person; give their folder with --images")
    return _read_lfw(file, lines, images)


def people_folder(folder: Path) -> dict[Path, str]:
    """Return whom each picture shows, in a folder with one folder a person.

    Parameters
    ----------
    folder : Path
        Pictures directly in it belong to nobody and are left out; those at any depth below a
        person's folder are theirs.

    Returns
    -------
    dict of Path to str
        In a stable order.

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
        a, b = (_resolved(folder / row[name]) for name in ("path_a", "path_b"))
        pairs.append(LabelledPair(a, b, same, None))
    return _checked(file, pairs, None)


def _read_lfw(file: Path, lines: list[str], images: Path) -> PairList:
    header = lines[0].split() if lines else []
    if not header or not all(word.isdigit() for word in header) or len(header) > 2:
        raise UsageError(f"{file} is neither a list of pairs as LFW's nor CSV")
    n_folds = int(header[0]) if len(header) == 2 else None
    per_fold = 2 * int(header[-1])
    pairs: list[LabelledPair] = []
    for number, line in enumerate(lines[1:], start=2):
        words = line.split("\t") if "\t" in line else line.split()
        if not words:
            continue
        fold = len(pairs) // per_fold if n_folds else None
        match words:
            case [name, first, second] if first.isdigit() and second.isdigit():
                pair = (_lfw_picture(images, name, first), _lfw_picture(images, name, second))
                pairs.append(LabelledPair(*pair, True, fold))
            case [name, first, other, second] if first.isdigit() and second.isdigit():
                pair = (_lfw_picture(images, name, first), _lfw_picture(images, other, second))
                pairs.append(LabelledPair(*pair, False, fold))
            case _:
                raise UsageError(f"{file}, line {number}: {line!r} names no pair")
    if n_folds and len(pairs) != n_folds * per_fold:
        raise UsageError(
            f"{file} has {len(pairs)} pairs; its first line promises {n_folds * per_fold}"
        )
    return _checked(file, pairs, n_folds)


def _lfw_picture(images: Path, name: str, number: str) -> Path:
    """Return the picture of a person by its number; what is missing is found out on reading."""
    stem = f"{name}_{int(number):04d}"
    usual = images / name / f"{stem}.jpg"
    if usual.exists():
        return _resolved(usual)
    others = (images / name / f"{stem}{suffix}" for suffix in sorted(PICTURE_SUFFIXES))
    return _resolved(next((path for path in others if path.exists()), usual))


def _resolved(path: Path) -> Path:
    return path.expanduser().resolve()


def _checked(file: Path, pairs: list[LabelledPair], n_folds: int | None) -> PairList:
    if not pairs:
        raise UsageError(f"{file} has no pairs")
    listed = PairList(tuple(pairs), n_folds)
    missing = [path for path in listed.paths if not path.is_file()]
    if missing:
        raise UsageError(
            f"{file} names {len(missing)} pictures that are not there, such as {missing[0]}"
        )
    return listed
