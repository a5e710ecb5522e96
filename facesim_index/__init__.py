"""Batch face-similarity indexing and search, with calibrated degrees of similarity.

Everything public is importable from here, and listed in ``__all__``; modules below may move.

Examples
--------
>>> from facesim_index import FaceIndex
>>> with FaceIndex.open("album.facesim", create=True) as index:
...     summary = index.ingest(["photos"])
...     answer = index.query("photos/anna_1.png", exclude_same_image=True)
>>> summary.faces_total
6
>>> match = answer.faces[0].matches[0]
>>> round(match.degree, 3), Path(match.path).name
(0.995, 'anna_and_ben.png')
"""

from typing import TYPE_CHECKING

from facesim_index.version import __version__

if TYPE_CHECKING:
    from facesim_index.calibration.curve import false_match_rate, log10_lr, log10_lr_interval
    from facesim_index.calibration.degree import (
        calibrated_degree,
        cosine_at_degree,
        degree_from_log10_lr,
        support_phrase,
    )
    from facesim_index.calibration.fitting.calibrating import CalibrationFit, fit_calibration
    from facesim_index.calibration.fitting.labelled_data import LabelledData, LabelledFaces
    from facesim_index.calibration.record import Calibration, Evidence, HeldOutCheck
    from facesim_index.calibration.shipped import shipped_calibration
    from facesim_index.degrees.calibration_check import CalibrationCheck, GroupCheck, LabelCheck
    from facesim_index.degrees.cautions import Caution
    from facesim_index.degrees.kept_calibrations import ListedCalibration, read_calibration
    from facesim_index.degrees.prior import ResolvedPrior
    from facesim_index.engine.base import EngineSource
    from facesim_index.engine.loading import EngineSettings
    from facesim_index.errors import (
        CalibrationError,
        DamagedSegmentError,
        EngineMismatchError,
        FacesimError,
        IndexDamagedError,
        IndexLockedError,
        IndexNotFoundError,
        IndexVersionError,
        ModelError,
        NoFaceError,
        PictureError,
        PipelineError,
        ProviderError,
        StorageError,
        UsageError,
    )
    from facesim_index.evaluation.verification import Evaluation, LabelledPictures, evaluate_pairs
    from facesim_index.export.matrix import MatrixBlock
    from facesim_index.export.matrix_options import MatrixOptions
    from facesim_index.index import FaceIndex
    from facesim_index.ingest.run import IngestSummary
    from facesim_index.ingest.scanning import Scan
    from facesim_index.ingest.targets import IngestOptions
    from facesim_index.labels.sources import people_data, picture_pairs_data
    from facesim_index.people.edits import PersonFace, PersonFaces
    from facesim_index.people.grouping import PeopleOptions, PeopleSummary
    from facesim_index.people.label_folders import FolderLabels
    from facesim_index.people.look_alikes import LookAlike
    from facesim_index.people.review import DoubtfulFace, LikelyMerge, Review
    from facesim_index.people.sidecars import Sidecars
    from facesim_index.records import (
        Box,
        EngineIdentity,
        FaceRecord,
        FailureCode,
        PictureFaces,
        Quality,
    )
    from facesim_index.search.answers import Comparison, FaceAnswer, Match, QueryAnswer
    from facesim_index.search.appearances import Appearances
    from facesim_index.search.comparison import compare
    from facesim_index.session.calibration_book import CalibrationBook
    from facesim_index.session.people_book import PeopleBook
    from facesim_index.store.catalog.audit_log import AuditLine
    from facesim_index.store.catalog.people_rows import PersonRow, PersonRows
    from facesim_index.store.records import FailedFile, Problem, Snapshot, Verdict
    from facesim_index.upkeep.forgetting import Forgotten
    from facesim_index.upkeep.repairs import Repair
    from facesim_index.upkeep.status import IndexStatus
    from facesim_index.utils.progress import Progress, ProgressUpdate

__all__ = [
    "Appearances",
    "AuditLine",
    "Box",
    "Calibration",
    "CalibrationBook",
    "CalibrationCheck",
    "CalibrationError",
    "CalibrationFit",
    "Caution",
    "Comparison",
    "DamagedSegmentError",
    "DoubtfulFace",
    "EngineIdentity",
    "EngineMismatchError",
    "EngineSettings",
    "EngineSource",
    "Evaluation",
    "Evidence",
    "FaceAnswer",
    "FaceIndex",
    "FaceRecord",
    "FacesimError",
    "FailedFile",
    "FailureCode",
    "FolderLabels",
    "Forgotten",
    "GroupCheck",
    "HeldOutCheck",
    "IndexDamagedError",
    "IndexLockedError",
    "IndexNotFoundError",
    "IndexStatus",
    "IndexVersionError",
    "IngestOptions",
    "IngestSummary",
    "LabelCheck",
    "LabelledData",
    "LabelledFaces",
    "LabelledPictures",
    "LikelyMerge",
    "ListedCalibration",
    "LookAlike",
    "Match",
    "MatrixBlock",
    "MatrixOptions",
    "ModelError",
    "NoFaceError",
    "PeopleBook",
    "PeopleOptions",
    "PeopleSummary",
    "PersonFace",
    "PersonFaces",
    "PersonRow",
    "PersonRows",
    "PictureError",
    "PictureFaces",
    "PipelineError",
    "Problem",
    "Progress",
    "ProgressUpdate",
    "ProviderError",
    "Quality",
    "QueryAnswer",
    "Repair",
    "ResolvedPrior",
    "Review",
    "Scan",
    "Sidecars",
    "Snapshot",
    "StorageError",
    "UsageError",
    "Verdict",
    "__version__",
    "calibrated_degree",
    "compare",
    "cosine_at_degree",
    "degree_from_log10_lr",
    "evaluate_pairs",
    "false_match_rate",
    "fit_calibration",
    "log10_lr",
    "log10_lr_interval",
    "people_data",
    "picture_pairs_data",
    "read_calibration",
    "shipped_calibration",
    "support_phrase",
]

# Where each public name lives, so that importing us imports nothing heavy.
_HOMES = {
    "false_match_rate": "facesim_index.calibration.curve",
    "log10_lr": "facesim_index.calibration.curve",
    "log10_lr_interval": "facesim_index.calibration.curve",
    "calibrated_degree": "facesim_index.calibration.degree",
    "cosine_at_degree": "facesim_index.calibration.degree",
    "degree_from_log10_lr": "facesim_index.calibration.degree",
    "support_phrase": "facesim_index.calibration.degree",
    "CalibrationFit": "facesim_index.calibration.fitting.calibrating",
    "fit_calibration": "facesim_index.calibration.fitting.calibrating",
    "LabelledData": "facesim_index.calibration.fitting.labelled_data",
    "LabelledFaces": "facesim_index.calibration.fitting.labelled_data",
    "Calibration": "facesim_index.calibration.record",
    "Evidence": "facesim_index.calibration.record",
    "HeldOutCheck": "facesim_index.calibration.record",
    "shipped_calibration": "facesim_index.calibration.shipped",
    "CalibrationCheck": "facesim_index.degrees.calibration_check",
    "GroupCheck": "facesim_index.degrees.calibration_check",
    "LabelCheck": "facesim_index.degrees.calibration_check",
    "Caution": "facesim_index.degrees.cautions",
    "ListedCalibration": "facesim_index.degrees.kept_calibrations",
    "read_calibration": "facesim_index.degrees.kept_calibrations",
    "ResolvedPrior": "facesim_index.degrees.prior",
    "EngineSource": "facesim_index.engine.base",
    "EngineSettings": "facesim_index.engine.loading",
    "CalibrationError": "facesim_index.errors",
    "DamagedSegmentError": "facesim_index.errors",
    "EngineMismatchError": "facesim_index.errors",
    "FacesimError": "facesim_index.errors",
    "IndexDamagedError": "facesim_index.errors",
    "IndexLockedError": "facesim_index.errors",
    "IndexNotFoundError": "facesim_index.errors",
    "IndexVersionError": "facesim_index.errors",
    "ModelError": "facesim_index.errors",
    "NoFaceError": "facesim_index.errors",
    "PictureError": "facesim_index.errors",
    "PipelineError": "facesim_index.errors",
    "ProviderError": "facesim_index.errors",
    "StorageError": "facesim_index.errors",
    "UsageError": "facesim_index.errors",
    "Evaluation": "facesim_index.evaluation.verification",
    "LabelledPictures": "facesim_index.evaluation.verification",
    "evaluate_pairs": "facesim_index.evaluation.verification",
    "MatrixBlock": "facesim_index.export.matrix",
    "MatrixOptions": "facesim_index.export.matrix_options",
    "FaceIndex": "facesim_index.index",
    "IngestSummary": "facesim_index.ingest.run",
    "Scan": "facesim_index.ingest.scanning",
    "IngestOptions": "facesim_index.ingest.targets",
    "people_data": "facesim_index.labels.sources",
    "picture_pairs_data": "facesim_index.labels.sources",
    "PersonFace": "facesim_index.people.edits",
    "PersonFaces": "facesim_index.people.edits",
    "PeopleOptions": "facesim_index.people.grouping",
    "PeopleSummary": "facesim_index.people.grouping",
    "FolderLabels": "facesim_index.people.label_folders",
    "LookAlike": "facesim_index.people.look_alikes",
    "DoubtfulFace": "facesim_index.people.review",
    "LikelyMerge": "facesim_index.people.review",
    "Review": "facesim_index.people.review",
    "Sidecars": "facesim_index.people.sidecars",
    "Box": "facesim_index.records",
    "EngineIdentity": "facesim_index.records",
    "FaceRecord": "facesim_index.records",
    "FailureCode": "facesim_index.records",
    "PictureFaces": "facesim_index.records",
    "Quality": "facesim_index.records",
    "Comparison": "facesim_index.search.answers",
    "FaceAnswer": "facesim_index.search.answers",
    "Match": "facesim_index.search.answers",
    "QueryAnswer": "facesim_index.search.answers",
    "Appearances": "facesim_index.search.appearances",
    "compare": "facesim_index.search.comparison",
    "CalibrationBook": "facesim_index.session.calibration_book",
    "PeopleBook": "facesim_index.session.people_book",
    "AuditLine": "facesim_index.store.catalog.audit_log",
    "PersonRow": "facesim_index.store.catalog.people_rows",
    "PersonRows": "facesim_index.store.catalog.people_rows",
    "FailedFile": "facesim_index.store.records",
    "Problem": "facesim_index.store.records",
    "Snapshot": "facesim_index.store.records",
    "Verdict": "facesim_index.store.records",
    "Forgotten": "facesim_index.upkeep.forgetting",
    "Repair": "facesim_index.upkeep.repairs",
    "IndexStatus": "facesim_index.upkeep.status",
    "Progress": "facesim_index.utils.progress",
    "ProgressUpdate": "facesim_index.utils.progress",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted({*globals(), *__all__})
