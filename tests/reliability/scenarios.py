"""What is disturbed: every command that changes an index, on a small index and a fake engine."""

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import facesim_index.ingest.run
from facesim_index.calibration.record import Calibration, Evidence
from facesim_index.degrees import verdicts
from facesim_index.engine.fake import FAKE_IDENTITY
from facesim_index.people import edits
from facesim_index.people.grouping import PeopleOptions, cluster_people
from facesim_index.records import FaceId
from facesim_index.store.catalog import face_rows, picture_rows
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.segments import coarse
from facesim_index.store.segments.segment import Segment
from facesim_index.upkeep import forgetting
from tests import asking
from tests.builders import ingest, new_store
from tests.example_pictures import fake_photo
from tests.reliability.old_indexes import old_schema

CURVE = Calibration(
    "own",
    FAKE_IDENTITY.key,
    "by hand",
    ((0.2, -3.0), (0.8, 3.0)),
    Evidence("made up", 2, 3, 4, "2026-01-01"),
)

Content = dict[str, list[tuple[object, ...]]]
"""What an index says, whatever the numbers of its rows and the names of its files."""


def make_small() -> None:
    """Let commits and coarse codes come early, so that few pictures reach every step."""
    facesim_index.ingest.run.COMMIT_PICTURES = 3
    facesim_index.ingest.run.COMMIT_INTERVAL_S = 1e9
    coarse.COARSE_MIN_ROWS = 16


def make_photos(folder: Path, n: int, first: int = 0) -> None:
    """Write pictures with 0 to 3 faces each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + n):
        colours = [(number, 255 - number, 16 * k + 8) for k in range(number % 4)]
        (folder / f"{number:03d}.png").write_bytes(fake_photo(colours))


@dataclass(frozen=True, slots=True)
class Scenario:
    """One command: `run` changes the index that `prepare` made; both take index and pictures."""

    prepare: Callable[[Path, Path], None]
    run: Callable[[Path, Path], None]


def _nothing(index: Path, photos: Path) -> None:
    make_photos(photos, 27)


def _base(index: Path, photos: Path) -> None:
    make_photos(photos, 27)
    _ingest(index, photos)
    with FolderStore(index, writable=True) as store:
        store.remove([], face_ids=[FaceId(1), FaceId(5)])


def _changed(index: Path, photos: Path) -> None:
    _base(index, photos)
    (photos / "002.png").unlink()
    (photos / "003.png").write_bytes(fake_photo([(99, 98, 97)]))
    make_photos(photos, 9, first=40)


def _calibrated(index: Path, photos: Path) -> None:
    _base(index, photos)
    asking.keep(index, CURVE, use=False)


def _old(index: Path, photos: Path) -> None:
    _base(index, photos)
    old_schema(index, "0001")


def _ingest(index: Path, photos: Path) -> None:
    with new_store(index) as store:
        ingest(store, photos, prune=True)
        verdicts.refresh_estimates(store)


def _forget(index: Path, photos: Path) -> None:
    with FolderStore(index, writable=True) as store, store.catalog.read() as transaction:
        paths = [
            photos / name
            for name in ("006.png", "007.png")
            if picture_rows.files_under(transaction, photos / name)
        ]
        known = set(face_rows.face_ids(transaction).tolist())
    faces = [FaceId(n) for n in (20, 21) if n in known]
    with FolderStore(index, writable=True) as store:
        forgetting.forget(store, paths, faces)


def _compact(index: Path, photos: Path) -> None:
    with FolderStore(index, writable=True) as store:
        store.compact()
        verdicts.refresh_estimates(store)


def _calibrate(index: Path, photos: Path) -> None:
    asking.keep(index, CURVE, use=True)


def _use(index: Path, photos: Path) -> None:
    asking.use(index, CURVE.name)


def _grouped(index: Path, photos: Path) -> None:
    _base(index, photos)
    asking.keep(index, CURVE, use=True)
    _cluster(index, photos)


def _merged(index: Path, photos: Path) -> None:
    _grouped(index, photos)
    _merge(index, photos)


def _to_group(index: Path, photos: Path) -> None:
    """Prepare a grouping that renames, releases and keeps: some are named, others are new."""
    _grouped(index, photos)
    with FolderStore(index, writable=True) as store:
        edits.name_person(store, 1, "Ann")
        edits.move_faces(store, [2], None)
    make_photos(photos, 9, first=40)
    _ingest(index, photos)


def _cluster(index: Path, photos: Path) -> None:
    with FolderStore(index, writable=True) as store:
        cluster_people(store, PeopleOptions(full=True, prior=0.1))


def _merge(index: Path, photos: Path) -> None:
    with FolderStore(index, writable=True) as store:
        if {row.person_id for row in asking.list_people(store)} >= {1, 2}:
            edits.merge_people(store, [2, 1])


def _undo(index: Path, photos: Path) -> None:
    with FolderStore(index, writable=True) as store:
        if {row.person_id for row in asking.list_people(store)} >= {1, 2}:
            return  # a run before took the merge back
        edits.undo(store)


def _upgrade(index: Path, photos: Path) -> None:
    FolderStore(index, writable=True).close()


SCENARIOS = {
    "first ingest": Scenario(_nothing, _ingest),
    "next ingest": Scenario(_changed, _ingest),
    "forget": Scenario(_base, _forget),
    "compact": Scenario(_base, _compact),
    "calibrate": Scenario(_base, _calibrate),
    "calibrate use": Scenario(_calibrated, _use),
    "migrations": Scenario(_old, _upgrade),
    "people cluster": Scenario(_to_group, _cluster),
    "people merge": Scenario(_grouped, _merge),
    "people undo": Scenario(_merged, _undo),
}


def _people(rows: Callable[[str], list[tuple[object, ...]]]) -> Content:
    """Return who is in an index, and what could be taken back, but for when it was said."""
    if not rows("SELECT 1 FROM sqlite_master WHERE name = 'person'"):
        return {"people": [], "log": []}  # an older schema, or one that was just made newer
    log = "SELECT action, change_id, {} FROM people_change_{} JOIN people_change ON id = change_id"
    return {
        "people": rows(
            "SELECT person_id, name, ignored, content_hash, ordinal, source FROM face_person "
            "JOIN person ON person.id = person_id JOIN face ON face.id = face_id "
            "JOIN image ON image.id = image_id ORDER BY person_id, content_hash, ordinal"
        ),
        "log": [
            *rows(log.format("face_id, person_id, source", "face") + " ORDER BY 2, 3"),
            *rows(log.format("person_id, name, ignored", "person") + " ORDER BY 2, 3"),
        ],
    }


def copy_folder(source: Path, target: Path) -> None:
    """Let `target` be a copy of `source`, or be missing as that is."""
    shutil.rmtree(target, ignore_errors=True)
    if source.exists():
        shutil.copytree(source, target)


def content(index: Path) -> Content | None:
    """Return what an index says; None when there is none.  Reads it without our own catalog."""
    path = index / "catalog.sqlite3"
    if not path.exists():
        return None
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        connection.execute("BEGIN")

        def rows(statement: str) -> list[tuple[object, ...]]:
            return connection.execute(statement).fetchall()

        vectors: dict[int, bytes] = {}
        for (name,) in rows("SELECT name FROM segment"):
            segment = Segment(index / "segments" / str(name))
            for face_id, vector in zip(segment.face_ids.tolist(), segment.vectors, strict=True):
                vectors[face_id] = np.asarray(vector).tobytes()
        faces = rows(
            "SELECT face.id, content_hash, ordinal, x, y, w, h, landmarks FROM face "
            "JOIN image ON image.id = image_id ORDER BY content_hash, ordinal"
        )
        return {
            "schema": rows("SELECT version_num FROM alembic_version"),
            "files": rows(
                "SELECT path, name, file.size_bytes, content_hash, missing_since IS NULL FROM file "
                "JOIN folder ON folder.id = folder_id LEFT JOIN image ON image.id = image_id "
                "ORDER BY path, name"
            ),
            "images": rows("SELECT content_hash, status FROM image ORDER BY content_hash"),
            "faces": [(*face[1:], vectors[int(str(face[0]))]) for face in faces],
            "calibrations": rows("SELECT name, document, active FROM calibration ORDER BY name"),
            **_people(rows),
        }
    finally:
        connection.close()
