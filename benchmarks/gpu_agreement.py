"""Whether a card gives the faces that the processor gives, also where its ingest is killed.

    python -m benchmarks.gpu_agreement WORK_FOLDER

Ingests pictures that it makes itself (see `benchmarks.bench_gpu`) with the processor and with the
card, and compares ids, boxes and embeddings.  Then an ingest with the card is killed five times
with SIGKILL, and what it ends with is compared with one that was left alone.  Prints a line of
JSON, and fails where ids differ.
"""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.bench_gpu import card_name, make_pictures
from benchmarks.ingest_pictures import folder_of
from facesim_index import FaceIndex
from facesim_index.config import DEFAULT_INDEX
from facesim_index.engine.base import Provider
from facesim_index.errors import FacesimError
from facesim_index.records import Float32Array, Int64Array
from facesim_index.store.catalog import face_rows
from facesim_index.store.opening import open_store

KILLS = 5
_PATIENCE_S = 60.0
_POLL_S = 0.1
_INGEST = (
    "import sys\n"
    "from facesim_index import FaceIndex\n"
    "with FaceIndex.open(sys.argv[1], create=True, provider=sys.argv[3]) as index:\n"
    "    index.ingest(sys.argv[2])\n"
)


@dataclass(frozen=True)
class Faces:
    """All faces of an index, in the order of their ids."""

    ids: Int64Array
    boxes: Float32Array
    embeddings: Float32Array


@click.command()
@click.argument("work", type=click.Path(file_okay=False, path_type=Path))
@click.option("--provider", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True)
@click.option("--small", type=click.IntRange(1), default=8192, show_default=True)
@click.option("--photos", type=click.IntRange(1), default=512, show_default=True)
def main(work: Path, provider: Provider, small: int, photos: int) -> None:
    """Compare the faces that a card and the processor find."""
    made = make_pictures(work / "gpu")
    mixed = folder_of([*made["small"], *made["photos"]], work / f"agreement-{photos}", 4 * photos)
    many = folder_of(made["small"], work / f"kills-{small}", small)
    indexes = {
        name: work / f"agreement-{name}" / DEFAULT_INDEX
        for name in ("cpu", "card", "killed", "whole")
    }
    for path in indexes.values():
        shutil.rmtree(path, ignore_errors=True)
    ingest(mixed, indexes["cpu"], "cpu")
    ingest(mixed, indexes["card"], provider)
    kills = ingest_killed(many, indexes["killed"], provider, small)
    ingest(many, indexes["killed"], provider)
    ingest(many, indexes["whole"], provider)
    found = {
        "card": card_name(),
        "kills": kills,
        "card_and_cpu": differences(faces_of(indexes["cpu"]), faces_of(indexes["card"])),
        "killed_and_whole": differences(faces_of(indexes["killed"]), faces_of(indexes["whole"])),
    }
    print(json.dumps(found))


def ingest(folder: Path, index: Path, provider: Provider) -> None:
    """Ingest a folder, in a process of its own."""
    command = [sys.executable, "-c", _INGEST, str(index), str(folder), provider]
    subprocess.run(command, check=True)


def ingest_killed(folder: Path, index: Path, provider: Provider, n_pictures: int) -> int:
    """Kill an ingest each time when it has committed some more, and return how often that was."""
    done = 0
    for number in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", _INGEST, str(index), str(folder), provider]
        )
        deadline = time.monotonic() + _PATIENCE_S
        wanted = done + n_pictures // (3 * KILLS)
        while process.poll() is None and time.monotonic() < deadline:
            done = n_faces(index)
            if done >= wanted:
                break
            time.sleep(_POLL_S)
        if process.poll() is not None:
            return number
        process.kill()
        process.wait()
    return KILLS


def n_faces(index: Path) -> int:
    """Return how many faces are committed; 0 where there is no index yet."""
    try:
        with FaceIndex.open(index) as opened:
            return opened.status().counts["faces"]
    except FacesimError:
        return 0


def faces_of(index: Path) -> Faces:
    """Return all faces of an index."""
    with open_store(index) as store, store.view() as view:
        ids = view.living_faces()
        boxes = [
            (face.box.x, face.box.y, face.box.w, face.box.h)
            for face in face_rows.faces(view.transaction, ids)
        ]
        return Faces(ids, np.array(boxes, dtype=np.float32), view.embeddings(ids))


def differences(faces: Faces, others: Faces) -> dict[str, float]:
    """Return by how much the faces of two indexes differ."""
    if not np.array_equal(faces.ids, others.ids):
        raise click.ClickException(f"{len(faces.ids)} faces are not {len(others.ids)} faces")
    a, b = (one.embeddings.astype(np.float64) for one in (faces, others))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = np.einsum("ij,ij->i", a, b) / norms
    return {
        "faces": len(faces.ids),
        "most_box_px": float(np.abs(faces.boxes - others.boxes).max(initial=0.0)),
        "mean_cosine": float(cosines.mean()),
        "least_cosine": float(cosines.min()),
    }


if __name__ == "__main__":
    main()
