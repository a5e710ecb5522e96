"""Records as the JSON that scripts rely on: what ``--format json`` writes and the API answers."""

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facesim_index.degrees.calibration_check import CalibrationCheck
    from facesim_index.people.edits import PersonFace
    from facesim_index.people.grouping import PeopleSummary
    from facesim_index.people.review import Review, Side
    from facesim_index.records import Box
    from facesim_index.search.answers import Comparison, FaceAnswer, Match, QueryAnswer
    from facesim_index.store.catalog.people_rows import PersonRow
    from facesim_index.store.records import FailedFile
    from facesim_index.upkeep.status import IndexStatus

Document = dict[str, object]

FACE_COLUMNS = ("face_id", "confirmed", "path", "x", "y", "w", "h")
REVIEW_COLUMNS = (
    *("question", "degree", "person", "name", "face_id"),
    *("other_person", "other_name", "other_face_id"),
)


def answer_document(answer: "QueryAnswer") -> Document:
    """Return the answer to a query."""
    return {
        "engine": answer.engine,
        "calibration": answer.calibration,
        "prior": answer.prior,
        "prior_source": answer.prior_source,
        "prior_low": answer.prior_low,
        "prior_high": answer.prior_high,
        "faces_searched": answer.n_faces,
        "faces_left_out": answer.n_left_out,
        "damaged_segments": list(answer.damaged_segments),
        "query": answer.query,
        "person_id": answer.person_id,
        "person": answer.person,
        "note": answer.note,
        "faces": [_face_document(face) for face in answer.faces],
    }


def _face_document(face: "FaceAnswer") -> Document:
    return {
        "face": face.face,
        "box": box_document(face.box),
        "detection": round(face.detection, 4),
        "matches": [_match_document(match) for match in face.matches],
    }


def _match_document(match: "Match") -> Document:
    return {
        "rank": match.rank,
        "face_id": match.face_id,
        "path": match.path,
        "paths": list(match.paths),
        "box": box_document(match.box),
        "cosine": round(match.cosine, 6),
        "degree": match.degree,
        "log10_lr": None if match.log10_lr is None else round(match.log10_lr, 4),
        "same_image": match.same_image,
        "degree_low": match.degree_low,
        "degree_high": match.degree_high,
        "fmr": match.fmr,
        "expected_strangers": match.expected_strangers,
        "at_bound": match.at_bound,
        "person_id": match.person_id,
        "person": match.person,
        "person_degree": match.person_degree,
    }


def comparison_document(comparison: "Comparison") -> Document:
    """Return a comparison of two pictures."""
    return {
        "engine": comparison.engine,
        "calibration": comparison.calibration,
        "prior": comparison.prior,
        "degree": comparison.degree,
        "degree_low": comparison.degree_low,
        "degree_high": comparison.degree_high,
        "fmr": comparison.fmr,
        "at_bound": comparison.at_bound,
        "log10_lr": None if comparison.log10_lr is None else round(comparison.log10_lr, 4),
        "cosine": round(comparison.cosine, 6),
        "a": {
            "path": comparison.path_a,
            "face": comparison.face_a,
            "faces": comparison.n_faces_a,
            "box": box_document(comparison.box_a),
        },
        "b": {
            "path": comparison.path_b,
            "face": comparison.face_b,
            "faces": comparison.n_faces_b,
            "box": box_document(comparison.box_b),
        },
        "note": comparison.note,
    }


def box_document(box: "Box") -> list[float]:
    """Return a box as x, y, width and height in tenths of a pixel."""
    return [round(value, 1) for value in (box.x, box.y, box.w, box.h)]


def status_document(status: "IndexStatus") -> Document:
    """Return what is in an index."""
    document = dataclasses.asdict(status)
    document["roots"] = [{"path": path, "last_ingest_at": when} for path, when in status.roots]
    return document


def error_document(failed: "FailedFile") -> Document:
    """Return a file that could not be used."""
    return {"path": failed.path, "code": failed.code.value, "message": failed.message}


def person_document(row: "PersonRow") -> Document:
    """Return a person as lists have it."""
    return {
        "person_id": row.person_id,
        "name": row.name,
        "faces": row.n_faces,
        "pictures": row.n_pictures,
        "confirmed": row.n_confirmed,
        "ignored": row.ignored,
    }


def person_face_document(known: "PersonFace") -> Document:
    """Return a face of a person."""
    return dict(zip(FACE_COLUMNS, person_face_row(known), strict=True))


def person_face_row(known: "PersonFace") -> tuple[int, bool, str, float, float, float, float]:
    """Return the cells of `FACE_COLUMNS`."""
    x, y, w, h = box_document(known.face.box)
    return known.face.face_id, known.confirmed, known.face.path, x, y, w, h


def review_document(found: "Review") -> Document:
    """Return what is most doubtful of the people."""
    rows = review_rows(found)
    questions = [dict(zip(REVIEW_COLUMNS, row, strict=True)) for row in rows]
    return {"prior": found.prior, "questions": questions}


def review_rows(found: "Review") -> list[tuple[str | int | float | None, ...]]:
    """Return the cells of `REVIEW_COLUMNS`, one row a question."""
    doubtful: list[tuple[str | int | float | None, ...]] = [
        ("face", item.degree, item.person_id, item.name, item.face_id, None, None, None)
        for item in found.doubtful
    ]
    return doubtful + [
        ("merge", item.degree, *_side_cells(item.a), *_side_cells(item.b)) for item in found.merges
    ]


def _side_cells(side: "Side") -> tuple[int | None, str | None, int | None]:
    return side.person_id, side.name, side.face_id


def grouping_document(summary: "PeopleSummary") -> Document:
    """Return what came of grouping faces into people."""
    return dataclasses.asdict(summary)


def check_document(check: "CalibrationCheck") -> Document:
    """Return whether a calibration fits the pictures of an index."""
    return dataclasses.asdict(check)
