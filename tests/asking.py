"""The jobs, asked of a store: each takes one view for one question."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from facesim_index.calibration.record import Calibration
from facesim_index.degrees import kept_calibrations
from facesim_index.degrees.in_force import calibration_in_force
from facesim_index.degrees.kept_calibrations import ListedCalibration
from facesim_index.degrees.prior import Prior
from facesim_index.engine.base import FaceEngine
from facesim_index.people import edits, label_folders, review, table
from facesim_index.people.edits import PersonFaces, Who
from facesim_index.people.label_folders import FolderLabels
from facesim_index.people.review import Review
from facesim_index.people.table import Cell
from facesim_index.records import FaceId, PictureReading
from facesim_index.search import person, queries
from facesim_index.search.answers import QueryAnswer
from facesim_index.search.appearances import Appearances, find_appearances
from facesim_index.search.one_picture import read_faces
from facesim_index.search.queries import QueryOptions
from facesim_index.store.catalog.people_rows import PersonRow, PersonRows
from facesim_index.store.opening import open_store
from facesim_index.store.protocols import IndexStore
from facesim_index.store.records import Verdict
from tests.builders import EngineHere


def verify(store: IndexStore) -> Verdict:
    return store.check()


def remove_faces(store: IndexStore, face_ids: Sequence[FaceId]) -> int:
    return store.remove([], face_ids, audited=True)


def calibration_of(store: IndexStore) -> Calibration | None:
    with store.read() as view:
        return calibration_in_force(view)


def listed(store: IndexStore) -> tuple[ListedCalibration, ...]:
    with store.read() as view:
        return kept_calibrations.listed(view)


def named(store: IndexStore, name: str | None = None) -> Calibration:
    with store.read() as view:
        return kept_calibrations.named(view, name)


def keep(folder: Path, calibration: Calibration, *, use: bool) -> None:
    with open_store(folder, writable=True) as store:
        kept_calibrations.keep(store, calibration, use=use)


def use(folder: Path, name: str) -> Calibration:
    with open_store(folder, writable=True) as store:
        return kept_calibrations.use(store, name)


def drop(folder: Path, name: str) -> Calibration | None:
    with open_store(folder, writable=True) as store:
        return kept_calibrations.drop(store, name)


def query_picture(
    store: IndexStore, engine: FaceEngine, path: Path, options: QueryOptions | None = None
) -> QueryAnswer:
    store.check_engine(engine.identity)
    return query_reading(store, read_faces(EngineHere(engine), path), str(path), options)


def query_reading(
    store: IndexStore, picture: PictureReading, name: str, options: QueryOptions | None = None
) -> QueryAnswer:
    with store.view(partial=True) as view:
        return queries.query_reading(view, picture, name, options)


def query_face(
    store: IndexStore, face_id: FaceId, options: QueryOptions | None = None
) -> QueryAnswer:
    with store.view(partial=True) as view:
        return queries.query_face(view, face_id, options)


def query_person(store: IndexStore, who: PersonRow, options: QueryOptions) -> QueryAnswer:
    with store.view() as view:
        return person.query_person(view, who, options)


def find_person(
    store: IndexStore,
    engine: FaceEngine,
    path: Path,
    *,
    min_degree: float,
    face: int | None = None,
    prior: Prior = "gallery",
) -> Appearances:
    store.check_engine(engine.identity)
    picture = read_faces(EngineHere(engine), path)
    with store.view() as view:
        return find_appearances(
            view, picture, str(path), min_degree=min_degree, face=face, prior=prior
        )


def list_people(store: IndexStore, *, ignored: bool = False, min_faces: int = 1) -> PersonRows:
    with store.read() as view:
        return edits.list_people(view, ignored=ignored, min_faces=min_faces)


def person_faces(store: IndexStore, who: Who) -> tuple[PersonRow, PersonFaces]:
    with store.read() as view:
        return edits.person_faces(view, who)


def review_people(store: IndexStore, *, top: int = 20, prior: Prior = "gallery") -> Review:
    with store.view() as view:
        return review.review_people(view, top=top, prior=prior)


def doubtful_faces(
    store: IndexStore, person_id: int, *, prior: Prior = "gallery"
) -> list[tuple[FaceId, float]]:
    with store.view() as view:
        return review.doubtful_faces(view, person_id, prior=prior)


def folder_labels(store: IndexStore, folder: Path) -> FolderLabels:
    with store.view() as view:
        return label_folders.folder_labels(view, folder)


def rows(store: IndexStore, *, ignored: bool = False) -> Iterator[tuple[Cell, ...]]:
    with store.read() as view:
        yield from table.rows(view, ignored=ignored)
