"""Groups of people in labelled pictures, by which a calibration is tried where it was not fitted.

The data are the sets that `FACESIM_TEST_DATA` names: LFW's development set, All-Age-Faces
(``aaf``), UTKFace (``utk``), Bollywood actors, parents and children (KinFaceW-I, ``kin1``) and
people with masks.  Labels can be trusted only so far:

- All-Age-Faces is said to have one picture a person, but has whole sessions of one small child.
  Of the toddlers whose numbers are within `SESSION` of each other and whose cosine is
  `SESSION_COSINE` or more, one is kept.
- In UTKFace a few people occur twice.
- In LFW some people have two names, and some pictures show somebody else (`ONE_PERSON`,
  `LEFT_OUT`); found among the pairs of strangers that score highest, by looking at them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facesim_index.index import FaceIndex
from facesim_index.labels.embeddings import embeddings_of
from facesim_index.records import BoolArray, Float32Array, Int64Array

SESSION, SESSION_COSINE, SESSION_AGE = 80, 0.6, 6
LFW, UNSEEN = "LFW, pairsDevTrain", "LFW, pairsDevTest"
ONE_PERSON = {
    "Sepp_Blatter": "Joseph_Blatter",
    "Hassan_Wirajuda": "Hasan_Wirayuda",
    "Sung_Hong_Choi": "Choi_Sung-hong",
    "Wang_Nan": "Nan_Wang",
}
"""Names of LFW that are two spellings of one person's."""

LEFT_OUT = {
    "Andrew_Gilligan/Andrew_Gilligan_0001.jpg": "shows Andrew Caldecott, in the same photo",
    "Recep_Tayyip_Erdogan/Recep_Tayyip_Erdogan_0004.jpg": "shows Abdullah Gul",
    "Jason_Kapono/Jason_Kapono_0001.jpg": "shows the face of Ray_Young_0001, a team mate",
}
"""Pictures of LFW whose face nearest the centre is not the person of the folder, and why."""


_AGES = {"0 to 6": (0, 6), "7 to 12": (7, 12), "13 to 19": (13, 19), "20 and more": (20, 120)}
_GROUPS = ("White", "Black", "Asian", "Indian")


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """Faces of people of one kind.

    Attributes
    ----------
    name : str
    family : str
        The set that they are from.
    embeddings : ndarray of shape (n, dimension), float32
        One face of each picture, unit norm.
    person : ndarray of shape (n,), int64
    """

    name: str
    family: str
    embeddings: Float32Array
    person: Int64Array

    def some(self, name: str, rows: BoolArray) -> "Crowd":
        """Return those of some rows under another name."""
        return Crowd(name, self.family, self.embeddings[rows], self.person[rows])


def crowds(data: Path, cache: Path) -> dict[str, Crowd]:
    """Return the groups by name.

    Parameters
    ----------
    data : Path
        The folder that holds the sets.
    cache : Path
        Indexes of the sets are kept here, ``NAME.facesim``, so that pictures are embedded once.

    Returns
    -------
    dict of str to Crowd
        The people of LFW's two lists are apart.
    """
    return {
        crowd.name: crowd
        for crowd in (
            *_lfw(data, cache),
            *_aaf(data, cache),
            *_utk(data, cache),
            *_folders(data, cache),
        )
    }


def _embedded(data: Path, cache: Path, name: str) -> tuple[list[Path], Float32Array]:
    """Return the pictures of a set that show a face, and the embeddings of their central faces."""
    folder = (data / name).resolve()
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    with FaceIndex.open(cache / f"{name}.facesim", create=True) as index:
        found = embeddings_of(index, paths)
    kept = [path for path, has in zip(paths, found.has_face, strict=True) if has]
    return kept, found.embeddings[found.has_face]


def _numbered(names: list[str]) -> Int64Array:
    return np.unique(names, return_inverse=True)[1].ravel().astype(np.int64)


def _lfw(data: Path, cache: Path) -> list[Crowd]:
    paths, embeddings = _embedded(data, cache, "lfw_dev")
    kept = np.array([f"{path.parent.name}/{path.name}" not in LEFT_OUT for path in paths])
    names = [ONE_PERSON.get(path.parent.name, path.parent.name) for path in paths]
    everybody = Crowd("LFW", "lfw", embeddings, _numbered(names))
    train, test = (
        {
            field
            for line in (data / "lfw_dev" / f"{list_name}.txt").read_text().splitlines()[1:]
            for field in line.split("\t")[::2]
            if not field.isdigit()
        }
        for list_name in ("pairsDevTrain", "pairsDevTest")
    )
    return [
        everybody.some(LFW, kept & np.isin(names, sorted(train - test))),
        everybody.some(UNSEEN, kept & np.isin(names, sorted(test - train))),
    ]


def _aaf(data: Path, cache: Path) -> list[Crowd]:
    paths, embeddings = _embedded(data, cache, "aaf")
    number = np.array([int(path.stem[:5]) for path in paths])
    age = np.array([int(path.stem[6:8]) for path in paths])
    near = np.abs(number[:, None] - number[None, :]) <= SESSION
    small = age <= SESSION_AGE
    linked = (embeddings @ embeddings.T >= SESSION_COSINE) & near & small & small[:, None]
    _, part = connected_components(coo_array(linked), directed=False)
    first = np.zeros(len(paths), dtype=np.bool_)
    first[np.unique(part, return_index=True)[1]] = True
    everybody = Crowd("aaf", "aaf", embeddings, np.arange(len(paths), dtype=np.int64))
    ages = [
        everybody.some(f"aaf, {name}", first & (age >= low) & (age <= high))
        for name, (low, high) in _AGES.items()
    ]
    return [everybody.some("aaf, all ages", first), *ages]


def _utk(data: Path, cache: Path) -> list[Crowd]:
    paths, embeddings = _embedded(data, cache, "utk")
    parts = [path.stem.split("_") for path in paths]
    age = np.array([int(part[0]) for part in parts])
    group = np.array([int(p[2]) if len(p) > 3 and p[2].isdigit() else -1 for p in parts])
    everybody = Crowd("utk", "utk", embeddings, np.arange(len(paths), dtype=np.int64))
    return [
        everybody.some("utk, 0 to 3", age <= 3),
        everybody.some("utk, 4 to 12", (age > 3) & (age <= 12)),
        *(
            everybody.some(f"utk, {name}, adults", (group == number) & (age >= 18))
            for number, name in enumerate(_GROUPS)
        ),
    ]


def _folders(data: Path, cache: Path) -> list[Crowd]:
    paths, embeddings = _embedded(data, cache, "bollywood")
    actors = Crowd(
        "Bollywood actors", "bollywood", embeddings, _numbered([p.parent.name for p in paths])
    )
    paths, embeddings = _embedded(data, cache, "kin1")
    kin = Crowd("parents and children", "kin1", embeddings, np.arange(len(paths), dtype=np.int64))
    paths, embeddings = _embedded(data, cache, "masks")
    masked = Crowd("masked", "masks", embeddings, _numbered([p.stem.split("_")[0] for p in paths]))
    return [actors, kin, masked]
