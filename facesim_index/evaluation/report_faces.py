"""The worst errors of an evaluation, as pairs of face crops that a page can hold."""

import base64
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from facesim_index.calibration.degree import degree_from_log10_lr
from facesim_index.calibration.record import Calibration
from facesim_index.display.file_crops import crop_from_file
from facesim_index.evaluation.identification import Searches
from facesim_index.evaluation.verification import LabelledPictures, evidence_of
from facesim_index.labels.embeddings import EmbeddingIndex, central_face
from facesim_index.records import Float32Array, Int64Array, UInt8Array
from facesim_index.utils.text import score_name

Crop = Callable[[str, Float32Array, int], UInt8Array | None]

MOST_SHOWN = 12
SIDE_PX = 128
_JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True)
class FaceCard:
    """A face as a report shows it.

    Attributes
    ----------
    name : str
        Of the file.
    uri : str or None
        The crop of the face as a data URI; None where the picture cannot be read any more.
    """

    name: str
    uri: str | None


@dataclass(frozen=True, slots=True)
class ErrorCard:
    """Two faces on which the engine is wrong, or nearly so.

    Attributes
    ----------
    left, right : FaceCard
    figures : tuple of (str, str)
        Name and value of each figure of the pair.
    verdict : str, default=""
        "accepted" or "missed" when the pair is on the wrong side of the threshold.
    """

    left: FaceCard
    right: FaceCard
    figures: tuple[tuple[str, str], ...]
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """The worst errors of one kind.

    Attributes
    ----------
    title : str
    meaning : str
        How to read it.
    cards : tuple of ErrorCard
        The worst error first.
    """

    title: str
    meaning: str
    cards: tuple[ErrorCard, ...]


class FaceCards:
    """Makes cards of the faces that an evaluation looked at.

    Parameters
    ----------
    index : EmbeddingIndex
        Has the faces of the pictures.
    root : Path or None
        The folder of the pictures; names are shown relative to it.
    crop : callable, optional
        Takes a path, landmarks and a side in pixels, and returns the square RGB crop of the face,
        or None when the picture cannot be read.
    """

    def __init__(
        self, index: EmbeddingIndex, root: Path | None, crop: Crop = crop_from_file
    ) -> None:
        self._index = index
        self._root = root
        self._crop = crop

    def card(self, path: Path) -> FaceCard:
        """Return the card of the central face of a picture.

        Parameters
        ----------
        path : Path

        Returns
        -------
        FaceCard
        """
        (picture,) = self._index.picture_faces([path])
        uri = None
        if picture is not None and picture.faces:
            at = central_face(picture.faces, picture.width_px, picture.height_px)
            crop = self._crop(str(path), picture.faces[at].landmarks, SIDE_PX)
            uri = None if crop is None else _jpeg_uri(crop)
        return FaceCard(shown_name(path, self._root), uri)

    def pair(
        self, paths: tuple[Path, Path], figures: Iterable[tuple[str, str]], verdict: str = ""
    ) -> ErrorCard:
        """Return the card of two pictures.

        Parameters
        ----------
        paths : (Path, Path)
        figures : iterable of (str, str)
            Name and value of each figure of the pair.
        verdict : str, default=""
            As in `ErrorCard`.

        Returns
        -------
        ErrorCard
        """
        return ErrorCard(self.card(paths[0]), self.card(paths[1]), tuple(figures), verdict)


def shown_name(path: Path, root: Path | None) -> str:
    """Return the path of a picture relative to the folder of the pictures.

    Parameters
    ----------
    path : Path
        Absolute.
    root : Path or None
        The folder of the pictures.

    Returns
    -------
    str
        For a picture that is not below `root`, the names of its folder and of its file.

    Examples
    --------
    >>> shown_name(Path("/photos/lfw/Ann/Ann_0001.jpg"), Path("/photos"))
    'lfw/Ann/Ann_0001.jpg'
    >>> shown_name(Path("/photos/lfw/Ann/Ann_0001.jpg"), None)
    'Ann/Ann_0001.jpg'
    """
    if root is not None and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return "/".join(path.parts[-2:]) if len(path.parts) > 2 else path.name


def pair_galleries(
    labelled: LabelledPictures, threshold: float, calibration: Calibration | None, cards: FaceCards
) -> list[Gallery]:
    """Return the genuine pairs with the lowest scores, and the impostor pairs with the highest.

    Parameters
    ----------
    labelled : LabelledPictures
        Pairs in which a picture has no face are not shown.
    threshold : float
        Score from which on pairs count as one person.
    calibration : Calibration or None
        With one, log10 likelihood ratios and degrees are shown too.
    cards : FaceCards

    Returns
    -------
    list of Gallery
    """
    pairs = labelled.pairs
    order = np.argsort(pairs.scores, kind="stable")
    order = order[~np.isnan(pairs.cosine[order])]
    least, most = order[pairs.same[order]], order[~pairs.same[order]][::-1]
    evidence = None if calibration is None else evidence_of(pairs, calibration)
    score = score_name("cosine" if calibration is None else calibration.score_kind)

    def shown(rows: Int64Array) -> tuple[ErrorCard, ...]:
        return tuple(card(int(row)) for row in rows[:MOST_SHOWN])

    def card(row: int) -> ErrorCard:
        figures = [(score, f"{pairs.cosine[row]:.3f}")]
        if evidence is not None:
            degree = float(degree_from_log10_lr(evidence[row : row + 1])[0])
            figures += [("log10 LR", f"{evidence[row]:.2f}"), ("degree", _degree_text(degree))]
        a, b = (labelled.paths[at] for at in labelled.rows[row])
        accepted = bool(pairs.cosine[row] >= threshold)
        verdict = "" if accepted == pairs.same[row] else "accepted" if accepted else "missed"
        return cards.pair((a, b), figures, verdict)

    by = score if calibration is None else "degree"
    return [
        Gallery(
            f"One person, lowest {by}",
            f"Labelled as one person. Those below the threshold, {score} {threshold:.3f}, are "
            "missed: old and young, turned away, covered, or under a wrong name.",
            shown(least),
        ),
        Gallery(
            f"Two people, highest {by}",
            f"Labelled as two people. Those above the threshold, {score} {threshold:.3f}, are "
            "accepted as one: look-alikes, relatives, or one person under two names.",
            shown(most),
        ),
    ]


def people_galleries(searches: Searches, cards: FaceCards) -> list[Gallery]:
    """Return the mated searches with the lowest scores, and the non-mated ones with the highest.

    Parameters
    ----------
    searches : Searches
        Searches in which a picture has no face are not shown.
    cards : FaceCards

    Returns
    -------
    list of Gallery
    """
    misses = [int(row) for row in np.argsort(searches.mate, kind="stable")]
    misses = [row for row in misses if searches.mate[row] >= -1.5][:MOST_SHOWN]
    non_mated = searches.non_mated
    answers = searches.unenrolled_paths + searches.best_other_paths
    false = np.argsort(-non_mated, kind="stable")[:MOST_SHOWN]
    score = score_name(searches.score_kind)
    return [
        Gallery(
            "Worst misses",
            f"The searched picture and the enrolled one of the same person, lowest {score} first.",
            tuple(
                cards.pair(
                    searches.paths[row],
                    (
                        (score, f"{searches.mate[row]:.3f}"),
                        ("rank", f"{searches.rank[row]:,}"),
                        ("best other", f"{searches.best_other[row]:.3f}"),
                    ),
                )
                for row in misses
            ),
        ),
        Gallery(
            "Worst false positives",
            "The searched picture, whose person is not enrolled or was taken out, and the "
            f"enrolled one of someone else that is most like it, highest {score} first.",
            tuple(
                cards.pair(answers[row], ((score, f"{non_mated[row]:.3f}"),))
                for row in false
                if non_mated[row] >= -1.5
            ),
        ),
    ]


def _jpeg_uri(rgb: UInt8Array) -> str:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _degree_text(degree: float) -> str:
    """Return the text of a degree; it is never rounded to 0 or 1."""
    if degree >= 0.99995:
        return ">0.9999"
    return "<0.0001" if degree < 0.00005 else f"{degree:.4f}"
