"""Compare two pictures: return the probability that they show one person."""

import dataclasses
from pathlib import Path

import numpy as np

from facesim_index.calibration.judgement import judge, no_calibration
from facesim_index.calibration.record import Calibration
from facesim_index.calibration.scorer import scorer_without_gallery
from facesim_index.calibration.shipped import shipped_calibration
from facesim_index.degrees.cautions import pair_cautions, traits_of
from facesim_index.degrees.kept_calibrations import check_engine, read_calibration
from facesim_index.engine.base import EngineSource, Provider
from facesim_index.engine.loading import settings_for
from facesim_index.engine.local_reader import OnePictureReader
from facesim_index.records import AnyPath, Augment, EngineIdentity, Numerics, PictureReading
from facesim_index.search.answers import Comparison
from facesim_index.search.one_picture import check_face, read_faces, require_faces
from facesim_index.utils.threads import usable_cores


def compare_pictures(
    reader: OnePictureReader,
    path_a: Path,
    path_b: Path,
    calibration: Calibration | None,
    *,
    face_a: int | None = None,
    face_b: int | None = None,
    prior: float = 0.5,
) -> Comparison:
    """Return how similar a face of one picture is to a face of another.

    Parameters
    ----------
    reader : OnePictureReader
    path_a, path_b : Path
    calibration : Calibration or None
        For the reader's engine; None gives the cosine alone.
    face_a, face_b : int, optional
        Which face, left to right, from 0; by default the largest.
    prior : float, default=0.5
        Probability, in (0, 1), of one person before looking.

    Returns
    -------
    Comparison

    Raises
    ------
    PictureError
        A picture cannot be read.
    NoFaceError
        A picture has no face.
    UsageError
        A picture has no face of the number given.
    CalibrationError
        The prior is not in (0, 1).
    """
    return compare_readings(
        reader.identity,
        (read_faces(reader, path_a), read_faces(reader, path_b)),
        (str(path_a), str(path_b)),
        calibration,
        faces=(face_a, face_b),
        prior=prior,
    )


def compare_readings(
    identity: EngineIdentity,
    pictures: tuple[PictureReading, PictureReading],
    names: tuple[str, str],
    calibration: Calibration | None,
    *,
    faces: tuple[int | None, int | None] = (None, None),
    prior: float = 0.5,
) -> Comparison:
    """Return how similar two pictures are that were read already.

    Parameters
    ----------
    identity : EngineIdentity
        Of the engine that read them.
    pictures : tuple of PictureReading
        Two.
    names : tuple of str
        What they are called in the comparison and in messages.
    calibration : Calibration or None
        For this engine; None gives the cosine alone.
    faces : tuple of int or None
        Which face of each, left to right, from 0; None for the largest.
    prior : float, default=0.5
        Probability, in (0, 1), of one person before looking.

    Returns
    -------
    Comparison

    Raises
    ------
    PictureError
        A picture could not be read.
    NoFaceError
        A picture has no face.
    UsageError
        A picture has no face of the number given.
    CalibrationError
        The prior is not in (0, 1).
    """
    a, b = (require_faces(picture, name) for picture, name in zip(pictures, names, strict=True))
    number_a, number_b = (
        _largest(picture) if face is None else check_face(name, picture, face)
        for picture, name, face in zip(pictures, names, faces, strict=True)
    )
    chosen_a, chosen_b = a.faces[number_a], b.faces[number_b]
    product = chosen_a.embedding.astype(np.float64) @ chosen_b.embedding.astype(np.float64)
    cosine = np.clip([product], -1.0, 1.0)
    scores = None
    scorer = scorer_without_gallery(calibration)
    if not scorer.plain:
        left, right = (scorer.vectors(face.embedding[None]) for face in (chosen_a, chosen_b))
        scores = scorer.listed_scores(left, right)
    [judgement] = judge(cosine, calibration, prior=prior, scores=scores)
    traits = traits_of(
        [chosen_a, chosen_b], np.stack([chosen_a.embedding, chosen_b.embedding]), identity.key
    )
    [caution] = pair_cautions(traits.take([0]), traits.take([1]))
    return Comparison(
        path_a=names[0],
        path_b=names[1],
        face_a=number_a,
        face_b=number_b,
        n_faces_a=len(a.faces),
        n_faces_b=len(b.faces),
        box_a=chosen_a.box,
        box_b=chosen_b.box,
        cosine=judgement.cosine,
        degree=judgement.degree,
        log10_lr=judgement.log10_lr,
        prior=prior,
        engine=str(identity),
        calibration=calibration.name if calibration else None,
        note=None if calibration else no_calibration(identity),
        degree_low=judgement.degree_low,
        degree_high=judgement.degree_high,
        fmr=judgement.fmr,
        at_bound=judgement.at_bound,
        caution=caution,
        landmarks_a=chosen_a.landmarks,
        landmarks_b=chosen_b.landmarks,
    )


def _largest(picture: PictureReading) -> int:
    return max(
        range(len(picture.faces)),
        key=lambda number: picture.faces[number].box.w * picture.faces[number].box.h,
    )


def compare(
    picture_a: AnyPath,
    picture_b: AnyPath,
    *,
    face_a: int | None = None,
    face_b: int | None = None,
    prior: float = 0.5,
    model: str | Path | None = None,
    provider: Provider = "auto",
    augment: Augment | None = None,
    numerics: Numerics | None = None,
    calibration: Calibration | AnyPath | None = None,
    engine: EngineSource | None = None,
) -> Comparison:
    """Compare two pictures by one face of each.

    The degree of the answer is the probability that both faces show one person.  The largest face
    of each picture is compared unless `face_a` or `face_b` picks another.

    Parameters
    ----------
    picture_a, picture_b : path-like
        The two pictures.
    face_a, face_b : int, optional
        Number of the face in its picture, left to right, from 0.
    prior : float, default=0.5
        Probability, in (0, 1), of one person before looking.
    model : str or Path, optional
        Pack name or folder of ONNX files; by default ``$FACESIM_MODEL``, else the default pack.
    provider : {"auto", "cpu", "cuda", "openvino"}, default="auto"
        What the networks run on.  ``auto`` takes the CPU, which has done two pictures before a card
        is ready; ``openvino`` runs the recogniser only.
    augment : {"none", "flip"}, optional
        ``flip`` embeds each face together with its mirror image; by default ``none``.
    numerics : {"fp32", "bf16"}, optional
        ``bf16`` lets the recogniser compute in bfloat16, on the provider ``openvino``; by
        default ``fp32``.
    calibration : Calibration or path-like, optional
        One of your own, or a file that ``facesim calibrate export`` wrote; by default the one
        that comes with the package.
    engine : EngineSource, optional
        Everything about the engine at once, instead of `model` and `provider`.  Where `augment` and
        `numerics` are given too, they replace the engine's.

    Returns
    -------
    Comparison

    Raises
    ------
    EngineMismatchError
        The calibration is for another engine.
    PictureError
        A picture cannot be read.
    NoFaceError
        A picture has no face.
    UsageError
        A picture has no face of the number given.
    CalibrationError
        The calibration's file cannot be read, or the prior is not in (0, 1).
    ModelError
        The engine's weights are missing or damaged.
    ProviderError
        The provider that was asked for does not run here.

    Examples
    --------
    >>> from facesim_index import compare
    >>> round(compare(photos / "anna_1.png", photos / "anna_2.png").degree, 3)
    0.998
    >>> round(compare(photos / "anna_1.png", photos / "ben.png").degree, 3)
    0.01
    """
    own = calibration
    if own is not None and not isinstance(own, Calibration):
        own = read_calibration(Path(own).expanduser())
    settings = engine or settings_for(model, provider)[0]
    source = dataclasses.replace(
        settings,
        threads=usable_cores(),
        augment=augment or settings.augment,
        numerics=numerics or settings.numerics,
    )
    if own is not None:
        check_engine(own, source.identity)
    with OnePictureReader(source) as reader:
        return compare_pictures(
            reader,
            Path(picture_a).expanduser(),
            Path(picture_b).expanduser(),
            own or shipped_calibration(source.identity.key),
            face_a=face_a,
            face_b=face_b,
            prior=prior,
        )
