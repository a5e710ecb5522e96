"""Records as the JSON that scripts rely on: what ``--format json`` writes and the API answers.

`schemas` says what the documents look like.  It is not imported when a command runs, which
keeps the start of the command line quick.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facesim_index.degrees import calibration_check
    from facesim_index.export import schemas
    from facesim_index.people import edits, look_alikes, review
    from facesim_index.people.grouping import PeopleSummary
    from facesim_index.records import Box
    from facesim_index.search import answers
    from facesim_index.store.catalog.people_rows import PersonRow
    from facesim_index.store.records import FailedFile
    from facesim_index.upkeep.status import IndexStatus


def answer_document(answer: "answers.QueryAnswer") -> "schemas.Answer":
    """Return the answer to a query.

    Parameters
    ----------
    answer : QueryAnswer

    Returns
    -------
    schemas.Answer
        Boxes in tenths of a pixel, cosines to 6 and log10 likelihood ratios to 4 decimals.
    """
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


def _face_document(face: "answers.FaceAnswer") -> "schemas.FaceAnswer":
    return {
        "face": face.face,
        "box": box_document(face.box),
        "detection": round(face.detection, 4),
        "matches": [_match_document(match) for match in face.matches],
    }


def _match_document(match: "answers.Match") -> "schemas.Match":
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
        "caution": [code.value for code in match.caution],
    }


def comparison_document(comparison: "answers.Comparison") -> "schemas.Comparison":
    """Return a comparison of two pictures.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    schemas.Comparison
        Boxes in tenths of a pixel, the cosine to 6 and the log10 likelihood ratio to 4 decimals.
    """
    return {
        "engine": comparison.engine,
        "calibration": comparison.calibration,
        "prior": comparison.prior,
        "degree": comparison.degree,
        "degree_low": comparison.degree_low,
        "degree_high": comparison.degree_high,
        "fmr": comparison.fmr,
        "at_bound": comparison.at_bound,
        "caution": [code.value for code in comparison.caution],
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


def box_document(box: "Box") -> "schemas.Box":
    """Return a box as its left and top edge, its width and its height.

    Parameters
    ----------
    box : Box
        In pixels.

    Returns
    -------
    tuple of four float
        In pixels, to one decimal.

    Examples
    --------
    >>> from facesim_index.records import Box
    >>> box_document(Box(10.04, 20.0, 30.06, 41.0))
    (10.0, 20.0, 30.1, 41.0)
    """
    return round(box.x, 1), round(box.y, 1), round(box.w, 1), round(box.h, 1)


def status_document(status: "IndexStatus") -> "schemas.Status":
    """Return what is in an index.

    Parameters
    ----------
    status : IndexStatus

    Returns
    -------
    schemas.Status
    """
    return {
        "path": status.path,
        "generation": status.generation,
        "created_at": status.created_at,
        "engine": status.engine,
        "model": status.model,
        "calibration": status.calibration,
        "roots": [{"path": path, "last_ingest_at": when} for path, when in status.roots],
        "counts": status.counts,
        "segments": status.segments,
        "bytes_segments": status.bytes_segments,
        "bytes_catalog": status.bytes_catalog,
        "interrupted": status.interrupted,
        "traces_left": status.traces_left,
        "damage": list(status.damage),
        "calibration_verdict": status.calibration_verdict,
        "calibration_sentence": status.calibration_sentence,
    }


def error_document(failed: "FailedFile") -> "schemas.FailedFile":
    """Return a file that could not be used.

    Parameters
    ----------
    failed : FailedFile

    Returns
    -------
    schemas.FailedFile
    """
    return {"path": failed.path, "code": failed.code.value, "message": failed.message}


def person_document(row: "PersonRow") -> "schemas.Person":
    """Return a person as lists of people have it.

    Parameters
    ----------
    row : PersonRow

    Returns
    -------
    schemas.Person
    """
    return {
        "person_id": row.person_id,
        "name": row.name,
        "faces": row.n_faces,
        "pictures": row.n_pictures,
        "confirmed": row.n_confirmed,
        "ignored": row.ignored,
    }


def person_face_document(known: "edits.PersonFace") -> "schemas.PersonFace":
    """Return a face of a person.

    Parameters
    ----------
    known : PersonFace

    Returns
    -------
    schemas.PersonFace
        The box in tenths of a pixel.
    """
    x, y, w, h = box_document(known.face.box)
    return {
        "face_id": known.face.face_id,
        "confirmed": known.confirmed,
        "path": known.face.path,
        "x": x,
        "y": y,
        "w": w,
        "h": h,
    }


def look_alike_document(found: "look_alikes.LookAlike") -> "schemas.LookAlike":
    """Return somebody whom faces of a person look like, too.

    Parameters
    ----------
    found : LookAlike

    Returns
    -------
    schemas.LookAlike
    """
    return {
        "person_id": found.person_id,
        "name": found.name,
        "faces_alike": found.n_alike,
        "faces": found.n_faces,
        "apart": found.apart,
    }


def review_document(found: "review.Review") -> "schemas.Review":
    """Return the most doubtful faces and the most likely merges.

    Parameters
    ----------
    found : Review

    Returns
    -------
    schemas.Review
        The doubtful faces come first.
    """
    doubtful = [_doubtful_document(item) for item in found.doubtful]
    return {
        "prior": found.prior,
        "questions": doubtful + [_merge_document(item) for item in found.merges],
    }


def _doubtful_document(item: "review.DoubtfulFace") -> "schemas.Question":
    return {
        "question": "face",
        "degree": item.degree,
        "person": item.person_id,
        "name": item.name,
        "face_id": item.face_id,
        "other_person": None,
        "other_name": None,
        "other_face_id": None,
    }


def _merge_document(item: "review.LikelyMerge") -> "schemas.Question":
    return {
        "question": "merge",
        "degree": item.degree,
        "person": item.a.person_id,
        "name": item.a.name,
        "face_id": item.a.face_id,
        "other_person": item.b.person_id,
        "other_name": item.b.name,
        "other_face_id": item.b.face_id,
    }


def grouping_document(summary: "PeopleSummary") -> dict[str, object]:
    """Return what a grouping of faces into people changed.

    Parameters
    ----------
    summary : PeopleSummary

    Returns
    -------
    dict of str to object
        The fields of the record.
    """
    return dataclasses.asdict(summary)


def check_document(check: "calibration_check.CalibrationCheck") -> "schemas.CalibrationCheck":
    """Return whether a calibration fits the pictures of an index.

    Parameters
    ----------
    check : CalibrationCheck

    Returns
    -------
    schemas.CalibrationCheck
        Numbers may be infinite or NaN where there are too few pairs.
    """
    return {
        "calibration": check.calibration,
        "head": check.head,
        "n_images": check.n_images,
        "n_pairs": check.n_pairs,
        "n_doubtful": check.n_doubtful,
        "same_photo": _level_documents(check.same_photo),
        "n_across": check.n_across,
        "n_left_out": check.n_left_out,
        "across": _level_documents(check.across),
        "groups": [
            {
                "name": group.name,
                "n_faces": group.n_faces,
                "levels": _level_documents(group.levels),
            }
            for group in check.groups
        ],
        "highest": [dataclasses.asdict(pair) for pair in check.highest],
        "labels": None if check.labels is None else _labels_document(check.labels),
        "verdict": check.verdict,
        "sentence": check.sentence,
    }


def _labels_document(labels: "calibration_check.LabelCheck") -> dict[str, object]:
    return {
        "figures": dataclasses.asdict(labels.figures),
        "strangers": _level_documents(labels.strangers),
        "mates": _level_documents(labels.mates),
    }


def _level_documents(levels: "Sequence[calibration_check.Level]") -> "list[schemas.Level]":
    return [
        {
            "rate": level.rate,
            "expected": level.expected,
            "score": level.score,
            "n_pairs": level.n_pairs,
            "n_found": level.n_found,
            "observed": level.observed,
            "low": level.low,
            "high": level.high,
            "says": level.says,
        }
        for level in levels
    ]
