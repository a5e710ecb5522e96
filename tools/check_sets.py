"""Print what `facesim calibrate check` says of sets of pictures, next to what is true of them.

    python -m tools.check_sets DATA_FOLDER --cache FOLDER
    python -m tools.check_sets DATA_FOLDER --cache FOLDER --calibration mine.json

DATA_FOLDER has a folder for each set: `lfw_dev` with ``images`` and the pair lists, and any of
`aaf` (All-Age-Faces), `utk` (UTKFace), `bollywood`, `kin1` (KinFaceW-I) and `masks` (real masks).
FOLDER keeps an index of each.  "Held-out people" are those of pairsDevTest, checked with a
calibration fitted on those of pairsDevTrain.

For each false match rate two numbers are printed: how many times as many strangers reach its score
as should, as the check says without labels, and as the names of files and folders say.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facesim_index import FaceIndex
from facesim_index.calibration.record import Calibration
from facesim_index.degrees.calibration_check import CalibrationCheck, Level, check_index
from facesim_index.degrees.gallery_scores import scorer_of
from facesim_index.degrees.impostors import MAX_FACES, scores_among
from facesim_index.degrees.kept_calibrations import named
from facesim_index.records import Float64Array
from facesim_index.store.catalog import face_rows
from facesim_index.store.opening import open_store
from facesim_index.store.protocols import IndexView
from tools.fit_shipped_calibration import read_pairs

SETS = ("lfw_dev", "aaf", "utk", "bollywood", "kin1", "masks")
ONE_FOLDER_A_PERSON = ("lfw_dev", "bollywood", "held-out people")
NOT_LABELLED = ("masks",)
HELD_OUT = "held-out people"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="keep an index of each set here")
    parser.add_argument("--calibration", type=Path, help="one that was exported, for every set")
    options = parser.parse_args(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    print(f"{'set':<16} {'faces':>6}  {'verdict':<16} times as many as expected: said (true)")
    for name in SETS:
        pictures = options.data_folder / name
        if not pictures.is_dir():
            continue
        folder = options.cache / f"{name}.facesim"
        facesim(folder, "--quiet", "ingest", str(pictures))
        if options.calibration is not None:
            facesim(folder, "--quiet", "calibrate", "import", str(options.calibration), "--use")
        tell(name, folder)
        if name == "lfw_dev" and options.calibration is None:
            tell(HELD_OUT, held_out(pictures, folder))


def held_out(lfw: Path, whole: Path) -> Path:
    """Return an index of the people of pairsDevTest, with a calibration of other people's."""
    folder = whole.with_name("held_out.facesim")
    if folder.exists():
        return folder
    people = read_pairs(lfw / "pairsDevTest.txt").people
    with FaceIndex.open(whole) as index:
        index.snapshot(folder)
    with FaceIndex.open(folder) as index:
        others = [
            face.path for face in index.face_records() if Path(face.path).parent.name not in people
        ]
        index.forget(sorted(set(others)))
    lists = ("--pairs", str(lfw / "pairsDevTrain.txt"), "--images", str(lfw / "images"))
    facesim(folder, "calibrate", *lists, "--cache", str(whole), "--name", "other-people")
    return folder


def facesim(folder: Path, *words: str) -> None:
    """Run a command on an index; what it prints goes to standard error."""
    command = [sys.executable, "-m", "facesim_index", "--index", str(folder), *words]
    subprocess.run(command, check=True, stdout=sys.stderr)


def tell(name: str, folder: Path) -> None:
    """Print the line of one set."""
    with open_store(folder) as store, store.view() as view:
        calibration = named(view)
        found = check_index(view, calibration)
        true = true_rates(view, calibration, found, name)
        n_faces = len(view.living_faces())
    cells = [cell(level, rate) for level, rate in zip(found.across, true, strict=True)]
    print(f"{name:<16} {n_faces:>6,}  {found.verdict:<16} {'  '.join(cells)}", flush=True)


def cell(level: Level, true: float) -> str:
    """Return a rate as times what it should be; the true one in brackets, where it is known."""
    known = "" if np.isnan(true) else f" ({true / level.expected:.2f})"
    mark = {"too many": "!", "unclear": "?", "too few pairs": "-"}.get(level.says, "")
    return f"{level.rate:g}: {level.observed / level.expected:.2f}{mark}{known}"


def true_rates(
    view: IndexView, calibration: Calibration, found: CalibrationCheck, name: str
) -> list[float]:
    """Return the share of strangers that reach each level, by the names of files and folders."""
    if name in NOT_LABELLED:
        return [float("nan")] * len(found.across)
    ids = np.sort(np.random.default_rng(1).permutation(view.living_faces())[: 2 * MAX_FACES])
    faces = face_rows.faces(view.transaction, ids)
    image = np.array([face.image_id for face in faces])
    paths = [Path(face.path) for face in faces]
    people = [str(path.parent) if name in ONE_FOLDER_A_PERSON else str(path) for path in paths]
    person = np.unique(people, return_inverse=True)[1]
    two = (person[:, None] != person) & (image[:, None] != image)
    scores: Float64Array = scores_among(view, ids, scorer_of(view, calibration))[np.triu(two, 1)]
    return [float((scores >= level.score).mean()) for level in found.across]


if __name__ == "__main__":
    main()
