"""Test whether a calibration fits the pictures of an index: observed against expected rates.

How many pairs of two people reach a score is compared with how many should, by the calibration.
Every index holds such pairs, taken by the user's own cameras of the people that matter to the
user: see `degrees.impostors`.  Labels, where there are any, add to that.  Whether two faces are one
person is never decided by the calibration that is tested.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from facesim_index.calibration.curve import log10_lr
from facesim_index.calibration.fitting.held_out import check_curve
from facesim_index.calibration.fitting.labelled_data import LabelledData
from facesim_index.calibration.record import Calibration, HeldOutCheck
from facesim_index.degrees.gallery_scores import scorer_of
from facesim_index.degrees.impostors import (
    AcrossPairs,
    PairGroup,
    SameImagePair,
    SameImagePairs,
    across_pairs,
    same_image_pairs,
)
from facesim_index.errors import CalibrationError
from facesim_index.metrics.grouped_rates import Groups, interval
from facesim_index.records import BoolArray, Float64Array, Int64Array
from facesim_index.store.protocols import IndexView
from facesim_index.utils.text import score_name

FALSE_MATCH_RATES = (1e-1, 1e-2, 1e-3, 1e-4)
TOLERANCE = 3.0
"""A rate fits when it is within this factor of the expected one, 0.5 in log10 units."""

MIN_EXPECTED = 5
"""Finding few pairs at a level means something only where at least this many are expected."""

MIN_FOUND = 5
MIN_GROUPS = 3
"""Finding many pairs means something only from this many pairs, of so many photos or people."""

LEAST_TESTED = 0.01
"""A calibration is said to fit only when it was tested at this false match rate or a lower one."""

MIN_GROUP_FACES = 50
"""The pairs within a group of faces are looked at where it has so many."""

LIKE_ONE_PERSON = 5.0
LEAST_OF_MATES = 0.2
"""Of the pairs of one person at least so many have this log10 likelihood ratio, even where pictures
are poor; strangers hardly ever do, even where the curve is wrong.  So each pair that has it stands
for five that may be one person's."""

LevelVerdict = Literal["fits", "too many", "fewer", "unclear", "too few pairs"]
Verdict = Literal["fits", "claims_too_much", "too_few_pairs"]


@dataclass(frozen=True, slots=True)
class Level:
    """How many pairs reach a level of evidence, against how many should.

    Attributes
    ----------
    rate : float
        The false match rate that the level is named after, in (0, 1).
    expected : float
        The share of pairs that should reach it.
    score : float
        Where the calibration has that rate.  Impostor pairs count from this score up, genuine
        pairs from this score down.
    n_pairs, n_found : int
        How many pairs there are, and how many of them reach the level.
    observed, low, high : float
        The share that reaches it, and its 95 % interval.  Where pairs of one person may be among
        those of two, the low end is the one without them.
    says : {"fits", "too many", "fewer", "unclear", "too few pairs"}
        What follows for the calibration at this level.
    """

    rate: float
    expected: float
    score: float
    n_pairs: int
    n_found: int
    observed: float
    low: float
    high: float
    says: LevelVerdict


@dataclass(frozen=True, slots=True)
class LabelCheck:
    """What labelled pairs say about a calibration.

    Attributes
    ----------
    figures : HeldOutCheck
        Cllr and other figures of the calibration on these pairs.
    strangers : tuple of Level
        Impostor pairs, by the false match rates of the calibration.
    mates : tuple of Level
        Genuine pairs with evidence against them.  At most one in ten should have a log10
        likelihood ratio of -1 or less, and one in a hundred of -2 or less.

    Examples
    --------
    >>> labelled = index.calibrations.labelled_faces(Path("face_pairs.csv"))
    >>> labels = index.calibrations.check(labelled).labels
    >>> labels.figures.n_genuine, labels.figures.n_impostor, round(labels.figures.cllr, 3)
    (2, 1, 0.013)
    """

    figures: HeldOutCheck
    strangers: tuple[Level, ...]
    mates: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class GroupCheck:
    """Whether a calibration fits two faces of one group.

    Attributes
    ----------
    name : str
        What the faces are, in plain words.
    n_faces : int
        How many of those that were drawn.
    levels : tuple of Level
        Of pairs of two of them, of different pictures.

    Examples
    --------
    >>> index.calibrations.check().groups  # six faces make no group
    ()
    """

    name: str
    n_faces: int
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class CalibrationCheck:
    """Whether a calibration fits the pictures of an index.

    Attributes
    ----------
    calibration : str
        Its name.
    head : str
        What its scores are: "cosine", or the kind of its learned head.
    n_images, n_pairs, n_doubtful : int
        Pictures with two faces or more, their pairs, and the pairs that were left out because they
        may show one face twice.
    same_photo : tuple of Level
        Of the pairs of faces of one picture.
    n_across, n_left_out : int
        Pairs of faces of different pictures, and those that were left out because they seem to
        show one person, or may.
    across : tuple of Level
        Of the pairs of faces of different pictures.
    groups : tuple of GroupCheck
        The same within groups of faces that are large enough.
    highest : tuple of SameImagePair
        The most similar pairs of faces of one picture, worth a look.
    labels : LabelCheck or None
        What labelled pairs say; None without any.
    verdict : {"fits", "claims_too_much", "too_few_pairs"}
    sentence : str
        The verdict for people.

    Examples
    --------
    >>> check = index.calibrations.check()
    >>> check.verdict, check.n_pairs, check.n_across
    ('too_few_pairs', 1, 14)
    >>> print(check.sentence)
    There are too few different people to tell whether calibration 'example' fits ...
    """

    calibration: str
    head: str
    n_images: int
    n_pairs: int
    n_doubtful: int
    same_photo: tuple[Level, ...]
    n_across: int
    n_left_out: int
    across: tuple[Level, ...]
    groups: tuple[GroupCheck, ...]
    highest: tuple[SameImagePair, ...]
    labels: LabelCheck | None
    verdict: Verdict
    sentence: str


def check_index(
    view: IndexView, calibration: Calibration, labelled: LabelledData | None = None
) -> CalibrationCheck:
    """Compare a calibration with the impostor pairs of an index, and with labels.

    Parameters
    ----------
    view : IndexView
    calibration : Calibration
        Fitted for the engine of the index.
    labelled : LabelledData, optional
        Labelled pairs of faces, embedded by the engine of the index.

    Returns
    -------
    CalibrationCheck
    """
    scorer = scorer_of(view, calibration)
    found = same_image_pairs(view, scorer)
    across = across_pairs(view, scorer)
    return check_pairs(calibration, found, across, labelled=labelled)


def check_pairs(
    calibration: Calibration,
    found: SameImagePairs,
    across: AcrossPairs,
    *,
    labelled: LabelledData | None = None,
) -> CalibrationCheck:
    """Compare a calibration with impostor pairs, and with labels.

    Parameters
    ----------
    calibration : Calibration
    found : SameImagePairs
        Pairs of faces of one picture.
    across : AcrossPairs
        Pairs of faces of different pictures.
    labelled : LabelledData, optional
        Labelled pairs of faces, embedded by the engine of the index.

    Returns
    -------
    CalibrationCheck
    """
    same_photo = _impostor_levels(calibration, found.score, found.image[:, None])
    levels = _stranger_levels(calibration, across.score, across.people, across.n_missed)
    groups = tuple(
        _group_check(calibration, across, group)
        for group in across.groups
        if group.n_faces >= MIN_GROUP_FACES
    )
    labels = None if labelled is None else _label_check(calibration, labelled)
    verdict, sentence = _verdict(calibration, same_photo, levels, groups, labels)
    return CalibrationCheck(
        calibration=calibration.name,
        head=calibration.score_kind,
        n_images=int(np.unique(found.image).size),
        n_pairs=int(found.score.size),
        n_doubtful=found.n_doubtful,
        same_photo=same_photo,
        n_across=int(across.score.size),
        n_left_out=across.n_left_out,
        across=levels,
        groups=groups,
        highest=found.highest,
        labels=labels,
        verdict=verdict,
        sentence=sentence,
    )


def _group_check(calibration: Calibration, across: AcrossPairs, group: PairGroup) -> GroupCheck:
    score, people = across.score[group.chosen], across.people[group.chosen]
    levels = _stranger_levels(calibration, score, people, group.n_missed)
    return GroupCheck(group.name, group.n_faces, levels)


def _stranger_levels(
    calibration: Calibration, score: Float64Array, people: Int64Array, n_missed: int
) -> tuple[Level, ...]:
    """Count the pairs at each rate, of which some are of one person that were not recognised."""
    evidence = min(LIKE_ONE_PERSON, calibration.knots[-1][1])
    alike = int((score >= _first_at(calibration.knots, evidence)).sum())
    n_missed = max(n_missed, round(alike / LEAST_OF_MATES))
    return _impostor_levels(calibration, score, people, n_missed=n_missed)


def _impostor_levels(
    calibration: Calibration, score: Float64Array, names: Int64Array, *, n_missed: int = 0
) -> tuple[Level, ...]:
    """Count the pairs at each rate; of those found, `n_missed` may be pairs of one person."""
    if not score.size:
        return ()
    groups = Groups.of(names)
    return tuple(
        _level(rate, at, score >= at, groups, n_missed=n_missed)
        for rate, at in _impostor_scores(calibration)
    )


def _impostor_scores(calibration: Calibration) -> list[tuple[float, float]]:
    """Return the rates to look at, and the scores at which the curve has them.

    Without false match rates the likelihood ratio itself stands for one: of impostor pairs at most
    one in ten has a ratio of 10 or more, and so on.
    """
    if not calibration.false_matches:
        knots = calibration.knots
    else:
        knots = tuple((score, -rate) for score, rate in calibration.false_matches)
    wanted = [(rate, -float(np.log10(rate))) for rate in FALSE_MATCH_RATES]
    return [(rate, _first_at(knots, value)) for rate, value in wanted if value < knots[-1][1]]


def _first_at(knots: tuple[tuple[float, float], ...], value: float) -> float:
    """Return the least score at which a non-decreasing curve has a value that it reaches."""
    score, height = np.array(knots).T
    after = int(np.searchsorted(height, value, side="left"))
    if after == 0:
        return float(score[0])
    return float(np.interp(value, height[after - 1 : after + 1], score[after - 1 : after + 1]))


def _mate_levels(
    calibration: Calibration, score: Float64Array, people: Int64Array
) -> tuple[Level, ...]:
    evidence, groups = log10_lr(score, calibration), Groups.of(people[:, None])
    levels = []
    for power in (1, 2):
        if -power <= calibration.knots[0][1]:
            continue
        at = _first_at(calibration.knots, -float(power))
        levels.append(_level(10.0**-power, at, evidence <= -power, groups))
    return tuple(levels)


def _level(
    expected: float,
    score: float,
    found: BoolArray,
    groups: Groups,
    *,
    n_missed: int = 0,
) -> Level:
    low, high = interval(found, groups)
    low = max(0.0, low - n_missed / found.size)
    observed = float(found.mean())
    n_found = int(found.sum())
    says: LevelVerdict = "fits"
    if low > TOLERANCE * expected:
        few = n_found < MIN_FOUND or np.unique(groups.place[found]).size < MIN_GROUPS
        says = "too few pairs" if few else "too many"
    elif groups.n_independent * expected < MIN_EXPECTED:
        says = "too few pairs"
    elif high < expected / TOLERANCE:
        says = "fewer"
    elif observed > TOLERANCE * expected:
        says = "unclear"  # More than it should be, but that may be chance.
    return Level(expected, expected, score, found.size, n_found, observed, low, high, says)


def _label_check(calibration: Calibration, labelled: LabelledData) -> LabelCheck:
    scores = labelled.scores_by(calibration.head, calibration.normalisation)
    if not (scores.genuine.size and scores.impostor.size):
        raise CalibrationError(
            f"{labelled.name}: {scores.genuine.size} pairs of one person and "
            f"{scores.impostor.size} of two people, but a check needs some of both"
            f"{labelled.missing_faces}"
        )
    return LabelCheck(
        figures=check_curve(
            calibration,
            scores.genuine,
            scores.impostor,
            data=labelled.name,
            n_people=int(scores.people.size),
        ),
        strangers=_impostor_levels(calibration, scores.impostor, scores.impostor_people),
        mates=_mate_levels(calibration, scores.genuine, scores.genuine_person),
    )


def _verdict(
    calibration: Calibration,
    same_photo: tuple[Level, ...],
    across: tuple[Level, ...],
    groups: tuple[GroupCheck, ...],
    labels: LabelCheck | None,
) -> tuple[Verdict, str]:
    """Judge by impostor pairs of different photos, and by labels.

    The people of one photo are more alike than others, and may be the same few in all photos, so
    their pairs alone do not decide.
    """
    name = repr(calibration.name)
    general = (*across, *(labels.strangers if labels else ()))
    worst = _worst(general)
    if worst:
        return "claims_too_much", (
            f"Calibration {name} claims too much for these pictures: of the strangers, "
            f"{worst.observed:.2g} reach {_named(calibration)} {worst.score:.2f}, where it says "
            f"{worst.rate:g}.  Fit one on your own labels with `facesim calibrate`."
        )
    if labels and _worst(labels.mates):
        return "claims_too_much", (
            f"Calibration {name} claims too much for these pictures: too many pairs of one person "
            "are said to be two.  Look at the labels, or fit a calibration on them with "
            "`facesim calibrate`."
        )
    alike = _worst(same_photo)
    tested = [level.rate for level in general if level.says in ("fits", "fewer")]
    more = (
        f"  People who are together in one photo are more alike than strangers: "
        f"{alike.observed:.2g} of such pairs reach {_named(calibration)} {alike.score:.2f}, where "
        f"it says {alike.rate:g}."
        if alike
        else ""
    )
    more += _worst_group(calibration, groups)
    if not tested or min(tested) > LEAST_TESTED:
        return "too_few_pairs", f"{_cannot_tell(calibration, general)}{more}"
    return "fits", (
        f"Calibration {name} fits these pictures: strangers score as high as it says, down to "
        f"false match rate {min(tested):g}.{more}"
    )


def _cannot_tell(calibration: Calibration, levels: tuple[Level, ...]) -> str:
    """Return a sentence that says why there is no verdict."""
    name = repr(calibration.name)
    unclear = [level for level in levels if level.says == "unclear"]
    if not unclear:
        return (
            f"There are too few different people to tell whether calibration {name} fits these "
            "pictures; label some (--people, --pairs), or index more photos of several people."
        )
    most = max(unclear, key=lambda level: level.low / level.expected)
    return (
        f"It is not clear whether calibration {name} fits these pictures: of the pairs that seem "
        f"to be strangers, {most.observed:.2g} reach {_named(calibration)} {most.score:.2f}, where "
        f"it says {most.rate:g}, but some may be of one person, or it may be chance; label some "
        "(--people, --pairs) to tell."
    )


def _worst_group(calibration: Calibration, groups: tuple[GroupCheck, ...]) -> str:
    """Return a sentence about the group of faces that the calibration fits least, if it does not.

    The degrees between two of its faces are wrong, while those of most other pairs are right.
    """
    found = [(worst, group.name) for group in groups if (worst := _worst(group.levels))]
    if not found:
        return ""
    worst, name = max(found, key=lambda pair: pair[0].low / pair[0].expected)
    return (
        f"  Between {name} it claims too much: {worst.observed:.2g} of the strangers reach "
        f"{_named(calibration)} {worst.score:.2f}, where it says {worst.rate:g}."
    )


def _named(calibration: Calibration) -> str:
    return score_name(calibration.score_kind)


def _worst(levels: tuple[Level, ...]) -> Level | None:
    too_many = [level for level in levels if level.says == "too many"]
    return max(too_many, key=lambda level: level.low / level.expected, default=None)
