"""Ingest all of LFW's development set, export its matrix, and kill an ingest five times.

    python benchmarks/lfw_acceptance.py DATA_FOLDER [WORK_FOLDER]

DATA_FOLDER holds ``lfw_dev/images``.  Prints what each step gave and fails on the first that
is not as promised.  Takes about five minutes on two cores.
"""

import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from facesim_index import FaceIndex
from facesim_index.engine.loading import EngineSettings
from facesim_index.engine.reading import read_picture
from facesim_index.models.resolution import resolve

FACESIM = Path(sys.executable).with_name("facesim")
N_KILLS = 5
MEMORY_LIMIT_MB = 1000


def main() -> None:
    """Run every step."""
    data = Path(sys.argv[1]).resolve()
    work = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp()).resolve()
    pictures = data / "lfw_dev" / "images"
    undisturbed = work / "undisturbed.facesim"
    check_ingest(pictures, undisturbed)
    matrix = export_matrix(undisturbed, work / "cosines.csv")
    check_cosines(undisturbed, matrix)
    check_kills(pictures, work / "killed.facesim", undisturbed)


def check_ingest(pictures: Path, index: Path) -> None:
    """Ingest twice: every picture gets a face, and the second run reads nothing."""
    first = ingest(index, pictures)
    print("ingest:", json.dumps(first))
    assert first["files_seen"] == first["images_embedded"], "a picture has no face or failed"
    started = time.monotonic()
    again = ingest(index, pictures)
    print(f"again: {again['files_unchanged']} unchanged in {time.monotonic() - started:.1f} s")
    assert again["files_unchanged"] == first["files_seen"]


def export_matrix(index: Path, out: Path) -> pd.DataFrame:
    """Write the matrix of all faces in bounded memory, and read it back with pandas."""
    started = time.monotonic()
    facesim(index, "export", "matrix", str(out), "--value", "cosine")
    elapsed_s = time.monotonic() - started
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    frame = pd.read_csv(out, index_col="face_id")
    frame.columns = frame.columns.astype(int)
    print(
        f"matrix: {frame.shape[0]} x {frame.shape[1]} in {elapsed_s:.1f} s, "
        f"{out.stat().st_size / 1e6:.0f} MB; largest process so far {peak_mb:.0f} MB"
    )
    assert frame.index.tolist() == frame.columns.tolist()
    assert peak_mb < MEMORY_LIMIT_MB
    return frame


def check_cosines(index: Path, matrix: pd.DataFrame) -> None:
    """Compare cosines in the file with those of embeddings computed directly."""
    engine = EngineSettings(model=resolve(), provider="cpu").load()
    generator = np.random.default_rng(1)
    with FaceIndex.open(index) as opened:
        ids = np.sort(generator.choice(opened.face_ids(), 100, replace=False))
        embeddings = [
            read_picture(Path(record.path), engine).faces[record.ordinal].embedding
            for record in opened.face_records(ids)
        ]
    direct = np.stack(embeddings).astype(np.float64)
    difference = np.abs(matrix.loc[ids, ids].to_numpy() - direct @ direct.T).max()
    print(f"cosines: 100 faces embedded directly, largest difference {difference:.1e}")
    assert difference < 1e-3


def check_kills(pictures: Path, index: Path, undisturbed: Path) -> None:
    """Kill an ingest at random moments; in the end it must equal an undisturbed one."""
    generator = random.Random(7)
    for kill in range(N_KILLS):
        process = subprocess.Popen(
            [FACESIM, "-q", "--index", index, "ingest", pictures], stdout=subprocess.DEVNULL
        )
        time.sleep(generator.uniform(3, 25))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the ingest ended before it could be killed"
        found = json.loads(facesim(index, "status", "--json"))["counts"]
        print(f"kill {kill + 1}: {found['images']} pictures, {found['faces']} faces committed")
        facesim(index, "verify")
    print("to the end:", json.dumps(ingest(index, pictures)))
    print("verify:", facesim(index, "verify").strip())
    ours, theirs = content(index), content(undisturbed)
    assert ours.keys() == theirs.keys(), "other faces than an undisturbed run found"
    assert all(np.array_equal(ours[face], theirs[face]) for face in ours)
    print(f"killed {N_KILLS} times: the same {len(ours)} faces, boxes and embeddings, none twice")


def content(index: Path) -> dict[tuple[str, float, float, float, float], np.ndarray]:
    """Return every face by its picture and box, with its embedding."""
    with FaceIndex.open(index) as opened:
        ids = opened.face_ids()
        embeddings = opened.embeddings(ids)
        faces = {
            (face.path, face.box.x, face.box.y, face.box.w, face.box.h): embedding
            for face, embedding in zip(opened.face_records(ids), embeddings, strict=True)
        }
    assert len(faces) == len(ids), "a face is there twice"
    return faces


def ingest(index: Path, pictures: Path) -> dict[str, float]:
    """Ingest and return the summary."""
    summary: dict[str, float] = json.loads(facesim(index, "ingest", str(pictures), "--json"))
    return summary


def facesim(index: Path, *words: str) -> str:
    """Run a command and return its output; it must succeed."""
    command = [str(FACESIM), "-q", "--index", str(index), *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
