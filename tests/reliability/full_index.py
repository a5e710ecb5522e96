"""An index with every kind of row: people, calibrations, audits, failures, copies, moved files."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from facesim_index.calibration.document import to_json
from facesim_index.degrees.verdicts import refresh_estimates
from facesim_index.ingest import run as ingest_run
from facesim_index.people import edits
from facesim_index.people.grouping import PeopleOptions, cluster_people
from facesim_index.records import FaceId, Failure, FailureCode, FileStamp
from facesim_index.store.catalog import calibration_rows, cohort_rows, face_rows
from facesim_index.store.catalog.cohort_rows import StoredCohort
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.records import Batch, FileLink
from facesim_index.upkeep.forgetting import forget
from tests.asking import list_people, person_faces
from tests.builders import ingest, new_store
from tests.coloured_people import CURVE
from tests.example_pictures import Colour, fake_photo

ADA, BO, CLEO, DAN, EVE = (
    (208, 20, 20),
    (20, 208, 20),
    (20, 20, 208),
    (208, 208, 20),
    (20, 208, 208),
)
ROOTS = ("album", "other", "people", "single.png")


def tint(colour: Colour, n: int) -> Colour:
    """Return another colour of the same person."""
    return colour[0] + n % 4, colour[1] + n // 4 % 4, colour[2] + n // 16


def make_full_index(folder: Path, photos: Path) -> None:
    """Make an index with rows of every kind in every table, and let the disk go on after it.

    Parameters
    ----------
    folder : Path
        Where the index shall be.
    photos : Path
        Where its pictures shall be; `ROOTS` are what was ingested of it.
    """
    _make_photos(photos)
    roots = [photos / name for name in ROOTS]
    with new_store(folder) as store, patch.object(ingest_run, "COMMIT_PICTURES", 9):
        ingest(store, *roots)
        _lock(store, photos / "album/locked.png")
        _calibrate(store)
        forget(store, [photos / "other/private.png"], [])
        forget(store, [photos / "other/secret.png"], [], secure=True)
        (photos / "album/gone.png").unlink()
        (photos / "album/moved.png").rename(photos / "other/moved.png")
        ingest(store, *roots)
        _make_people(store)
        (photos / "album/late.png").write_bytes(fake_photo([tint(BO, 10), tint(DAN, 7)]))
        ingest(store, *roots)
        _lock(store, photos / "album/locked.png")
        eve = [face.face.face_id for face in person_faces(store, "Eve")[1]]
        forget(store, [], [FaceId(eve[-1])])
        refresh_estimates(store)
        make_statistics(store)
    (photos / "album/later gone.png").unlink()
    (photos / "album/later changed.png").write_bytes(fake_photo([tint(DAN, 6), tint(BO, 14)]))
    (photos / "album/new.png").write_bytes(fake_photo([tint(CLEO, 3)]))
    (photos / "album/trip/1.png").rename(photos / "album/trip/moved too.png")


def _make_photos(folder: Path) -> None:
    shown = {
        "album/0.png": [ADA],
        "album/1.png": [tint(ADA, 1), BO],
        "album/2.png": [tint(BO, 2), CLEO],
        "album/3.png": [tint(ADA, 3)],
        "album/gone.png": [tint(CLEO, 4)],
        "album/later gone.png": [tint(DAN, 1)],
        "album/later changed.png": [tint(DAN, 2)],
        "album/moved.png": [tint(ADA, 5), tint(DAN, 3)],
        "album/trip/0.png": [tint(ADA, 6), tint(CLEO, 7)],
        "album/trip/1.png": [tint(BO, 8)],
        "album/trip/2.png": [tint(BO, 9), DAN],
        "album/locked.png": [tint(DAN, 5)],
        "other/0.png": [EVE],
        "other/1.png": [tint(EVE, 1), tint(ADA, 10)],
        "other/2.png": [(90, 90, 90)],
        "other/secret.png": [tint(EVE, 2)],
        "other/private.png": [tint(EVE, 3)],
        "people/Ada/0.png": [tint(ADA, 11)],
        "people/Ada/1.png": [tint(ADA, 12)],
        "people/Bo/0.png": [tint(BO, 12)],
        "people/Bo/1.png": [tint(BO, 3)],
        "people/Cleo/0.png": [tint(CLEO, 13)],
        "single.png": [tint(CLEO, 14)],
        "query.png": [tint(ADA, 15)],
    }
    for name, colours in shown.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(fake_photo(colours))
    for copy in ("album/copy of 1.png", "other/copy of 1.png"):
        (folder / copy).write_bytes((folder / "album/1.png").read_bytes())
    (folder / "album/nobody.png").write_bytes(fake_photo([(9, 9, 9)], side_px=16))
    (folder / "album/broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "other/also broken.jpg").write_bytes(b"\xff\xd8 no picture at all")
    (folder / "album/empty.jpg").write_bytes(b"")


def _calibrate(store: FolderStore) -> None:
    """Keep two calibrations, and use one of them."""
    with store.catalog.write() as transaction:
        for name in ("mine", "older"):
            document = to_json(replace(CURVE, name=name))
            calibration_rows.put(transaction, name, CURVE.engine_key, document)
        calibration_rows.activate(transaction, "mine")


def _lock(store: FolderStore, path: Path) -> None:
    """Let the index know a file only as one that could not be read."""
    found = path.stat()
    stamp = FileStamp(found.st_size, found.st_mtime_ns)
    failure = Failure(FailureCode.UNREADABLE, "permission denied")
    store.commit(Batch([], [FileLink(str(path.parent), path.name, stamp, None, failure)]))


def make_statistics(store: FolderStore) -> None:
    """Store a cohort, and numbers of every face that stand for its statistics."""
    with store.catalog.write() as transaction:
        ids = face_rows.face_ids(transaction)
        cohort_rows.put_cohort(transaction, StoredCohort("made up", len(ids), ids[::3]))
        numbers = np.stack([np.sin(ids), np.cos(ids)], axis=1).astype(np.float32)
        cohort_rows.put_statistics(transaction, ids, numbers)


def _make_people(store: FolderStore) -> None:
    """Group the faces, and say something of every kind about them."""
    cluster_people(store, PeopleOptions(prior=0.05))
    for number, name in ((1, "Ada"), (2, "Bo")):
        edits.name_person(store, number, f"{name} Lovelace")
        edits.name_person(store, number, name)
    edits.set_people_apart(store, "Ada", "Bo")
    others = sorted(row.person_id for row in list_people(store) if row.person_id > 2)
    edits.ignore_person(store, others[0])
    ada = [face.face.face_id for face in person_faces(store, "Ada")[1]]
    edits.move_faces(store, ada[-1:], None)
    edits.keep_faces(store, ada[:2])
    edits.name_person(store, others[-1], "Eve")
