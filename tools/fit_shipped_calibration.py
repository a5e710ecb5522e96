"""Fit the calibration that comes with the package, and check it on people left out of the fit.

    python -m tools.fit_shipped_calibration DATA_FOLDER OUT.json --cache lfw_dev.npz
    python -m tools.fit_shipped_calibration DATA_FOLDER OUT.json --augment flip
    python -m tools.fit_shipped_calibration DATA_FOLDER OUT.json --numerics bf16
    python -m tools.fit_shipped_calibration DATA_FOLDER OUT.json --plain --model centerface-dlib

DATA_FOLDER is LFW's development set: ``images/NAME/NAME_0001.jpg`` and the pair lists
``pairsDevTrain.txt`` and ``pairsDevTest.txt``, whose people are different ones.  The curve in
OUT.json is fitted on every pair of all people.  The figures in it are those of a curve that is
fitted in the same way on the people of pairsDevTrain alone and measured on the people of
pairsDevTest.  Scores are normalised, each time with the pictures in question as the cohort; what is
expected of a face comes from a file (`tools.fit_normalisation`).  Labels that are known to be wrong
(`ONE_PERSON`, `LEFT_OUT`) are set right for the fit, and left as they are where it is judged.  The
script also prints how true degrees are in a gallery and in a search, and the
Cllr of every method on people left out.
"""

import argparse
import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from facesim_index.calibration.degree import calibrated_degree
from facesim_index.calibration.document import to_json
from facesim_index.calibration.fitting.fit import Method, choose_method, fit_scores
from facesim_index.calibration.fitting.held_out import check_curve
from facesim_index.calibration.fitting.resampling import LabelledScores
from facesim_index.calibration.head_json import normalisation_of_document
from facesim_index.calibration.normalisation import Normalisation
from facesim_index.calibration.record import Calibration, Evidence, HeldOutCheck
from facesim_index.calibration.scorer import scorer_among
from facesim_index.config import DEFAULT_PACK
from facesim_index.engine.loading import EngineSettings
from facesim_index.engine.reading import make_reader
from facesim_index.metrics.scoring import expected_calibration_error
from facesim_index.models.resolution import resolve
from facesim_index.records import Float32Array, Float64Array, Int64Array, PictureReading
from facesim_index.utils.files import atomic_output
from facesim_index.workers.pool import PoolSettings, WorkerPool
from tools.crowds import LEFT_OUT, ONE_PERSON, Crowd
from tools.fit_normalisation import cut_of, own_statistics

EXPECTED = Path(__file__).with_name("expected_statistics.json")
DATA = "LFW, development set (View 1), grey 250x250"
METHOD: Method = "isotonic"
METHOD_IN_WORDS = (
    "smooth non-decreasing curve by penalised maximum likelihood on every pair, classes weighted "
    "equally, knots 0.02 apart; bounded below by the outermost block of PAV with three pairs of "
    "each class, one pair of each class added; above, an exponential tail of the impostor pairs"
)
BLOCK_ROWS = 512
TOP = 10
N_BOOTSTRAP = 1000
N_DRAWS = 5


@dataclass(frozen=True)
class Labelled:
    """One face of each picture.

    Attributes
    ----------
    names : ndarray of shape (n,), str
        ``NAME/NAME_0001.jpg``, ascending.
    people : ndarray of shape (n,), str
        The name of the person on each picture.
    embeddings : ndarray of shape (n, dimension), float32
        Unit norm.
    """

    names: np.ndarray[tuple[int], np.dtype[np.str_]]
    people: np.ndarray[tuple[int], np.dtype[np.str_]]
    embeddings: Float32Array

    def mended(self) -> "Labelled":
        """Return the pictures with the labels that are known to be wrong set right."""
        kept = ~np.isin(self.names, sorted(LEFT_OUT))
        people = np.array([ONE_PERSON.get(str(name), str(name)) for name in self.people])
        return Labelled(self.names[kept], people[kept], self.embeddings[kept])

    def only(self, people: set[str]) -> "Labelled":
        """Return the pictures of some people.

        Parameters
        ----------
        people : set of str

        Returns
        -------
        Labelled
        """
        chosen = np.isin(self.people, sorted(people))
        return Labelled(self.names[chosen], self.people[chosen], self.embeddings[chosen])


@dataclass(frozen=True)
class PairList:
    """One of LFW's lists of pairs.

    Attributes
    ----------
    genuine, impostor : tuple of (str, str)
        The names of the two pictures of each pair.
    """

    genuine: tuple[tuple[str, str], ...]
    impostor: tuple[tuple[str, str], ...]

    @property
    def people(self) -> set[str]:
        """Everyone who is in a pair."""
        both = (*self.genuine, *self.impostor)
        return {name.partition("/")[0] for pair in both for name in pair}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cache", type=Path, help="keep the embeddings in this .npz file")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", help="a pack; the default one without it")
    parser.add_argument("--augment", choices=("none", "flip"), default="none")
    parser.add_argument("--numerics", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--normalisation", type=Path, default=EXPECTED, help="what is expected")
    parser.add_argument("--plain", action="store_true", help="do not normalise the scores")
    options = parser.parse_args(arguments)

    settings = EngineSettings(
        model=resolve(options.model), augment=options.augment, numerics=options.numerics
    )
    labelled = load_or_embed(options.data_folder / "images", settings, options)
    train = read_pairs(options.data_folder / "pairsDevTrain.txt")
    test = read_pairs(options.data_folder / "pairsDevTest.txt")
    if train.people & test.people:
        raise SystemExit("the people of pairsDevTrain and pairsDevTest are not kept apart")

    normalisation = None
    if not options.plain:
        normalisation = read_normalisation(options.normalisation, labelled.only(train.people))
    calibration = fit(labelled.only(train.people), settings, normalisation)
    checks = check(calibration, labelled, test)
    scores = all_pairs(labelled.only(test.people), normalisation)
    tell_of_gallery(calibration, scores.genuine, scores.impostor)
    tell_of_search(calibration, labelled.only(test.people))
    calibration = fit(labelled, settings, normalisation)
    calibration = replace(calibration, evidence=replace(calibration.evidence, checks=checks))
    with atomic_output(options.out) as handle:
        handle.write(to_json(calibration).encode())
    print(to_json(calibration), end="")


def read_normalisation(file: Path, people: Labelled) -> Normalisation:
    """Return the normalisation with what is expected of a file, for the faces of an engine.

    Parameters
    ----------
    file : Path
        As `tools.fit_normalisation` writes it.
    people : Labelled
        The reference, embedded by that engine.

    Returns
    -------
    Normalisation
    """
    expected = normalisation_of_document(json.loads(file.read_text(encoding="utf-8")))
    if expected is None:
        raise SystemExit(f"{file} has no normalisation; make it with tools.fit_normalisation")
    _, person = np.unique(people.people, return_inverse=True)
    cut = cut_of(Crowd("reference", "reference", people.embeddings, person.astype(np.int64)))
    middle, top = own_statistics(people.embeddings, cut).mean(axis=0)
    return Normalisation(float(middle), float(top), cut, expected.weights)


def load_or_embed(images: Path, settings: EngineSettings, options: argparse.Namespace) -> Labelled:
    """Return the embeddings from the cache when it was made by this engine, or make them.

    Parameters
    ----------
    images : Path
        The folder of the pictures.
    settings : EngineSettings
    options : argparse.Namespace
        With `cache`, a Path or None, and `workers`, an int.

    Returns
    -------
    Labelled
    """
    key = settings.identity.key
    if options.cache and options.cache.exists():
        with np.load(options.cache) as cached:
            if str(cached["engine_key"]) == key:
                names = cached["names"]
                return Labelled(names, people_of(names), cached["embeddings"])
    labelled = embed(images, settings, options.workers)
    if options.cache:
        np.savez(
            options.cache,
            engine_key=np.array(key),
            names=labelled.names,
            embeddings=labelled.embeddings,
        )
    return labelled


def embed(images: Path, settings: EngineSettings, workers: int) -> Labelled:
    """Embed the face of every picture that is nearest its centre.

    Parameters
    ----------
    images : Path
        The folder of the pictures.
    settings : EngineSettings
    workers : int
        Number of processes.

    Returns
    -------
    Labelled

    Raises
    ------
    SystemExit
        A picture cannot be read.
    """
    names: list[str] = []
    embeddings: list[Float32Array] = []
    with WorkerPool(make_reader, settings, PoolSettings(workers)) as pool:
        for path, reading in pool.map_ordered(sorted(images.glob("*/*.jpg"))):
            if not isinstance(reading, PictureReading) or reading.failure:
                raise SystemExit(f"{path}: {reading}")
            embedding = embedding_of_central_face(reading)
            if embedding is None:
                print(f"no face in {path.name}")
                continue
            names.append(f"{path.parent.name}/{path.name}")
            embeddings.append(embedding)
    return Labelled(np.array(names), people_of(np.array(names)), np.stack(embeddings))


def embedding_of_central_face(reading: PictureReading) -> Float32Array | None:
    """Return the embedding of the face nearest the centre, which the labels of LFW mean.

    Parameters
    ----------
    reading : PictureReading

    Returns
    -------
    ndarray of shape (dimension,), float32, or None
        None without a face.
    """
    if reading.info is None or not reading.faces:
        return None
    centre_x, centre_y = reading.info.width_px / 2, reading.info.height_px / 2
    central = min(
        reading.faces,
        key=lambda face: np.hypot(
            face.box.x + face.box.w / 2 - centre_x, face.box.y + face.box.h / 2 - centre_y
        ),
    )
    return central.embedding


def people_of(
    names: np.ndarray[tuple[int], np.dtype[np.str_]],
) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """Return the person on each picture: the name of its folder.

    Parameters
    ----------
    names : ndarray of shape (n,), str

    Returns
    -------
    ndarray of shape (n,), str
    """
    return np.array([name.partition("/")[0] for name in names])


def read_pairs(path: Path) -> PairList:
    """Read one of LFW's lists: NAME i j for one person, NAME i OTHER j for two.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PairList
    """
    genuine, impostor = [], []
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        fields = line.split("\t")
        if len(fields) == 3:
            name, first, second = fields
            genuine.append((picture_name(name, first), picture_name(name, second)))
        else:
            name, first, other, second = fields
            impostor.append((picture_name(name, first), picture_name(other, second)))
    return PairList(tuple(genuine), tuple(impostor))


def picture_name(person: str, number: str) -> str:
    """Return the path of a picture below the folder of pictures.

    Parameters
    ----------
    person : str
    number : str
        Decimal digits.

    Returns
    -------
    str
    """
    return f"{person}/{person}_{int(number):04d}.jpg"


def all_pairs(labelled: Labelled, normalisation: Normalisation | None = None) -> LabelledScores:
    """Return the scores of all pairs of pictures.

    Parameters
    ----------
    labelled : Labelled
    normalisation : Normalisation, optional
        The pictures are the cohort; by default scores are plain cosines.

    Returns
    -------
    LabelledScores
    """
    _, person = np.unique(labelled.people, return_inverse=True)
    scorer = scorer_among(labelled.embeddings, normalisation)
    made = scorer.vectors(labelled.embeddings)
    numbers: Int64Array = np.arange(person.size)
    genuine, genuine_person, impostor, impostor_people = [], [], [], []
    for start in range(0, person.size, BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        cosine = scorer.pair_scores(made[rows], made)
        row, column = np.nonzero(numbers[rows, None] < numbers[None, :])
        of_pair = cosine[row, column].astype(np.float64)
        first, second = person[rows][row], person[column]
        same = first == second
        genuine.append(of_pair[same])
        genuine_person.append(first[same])
        impostor.append(of_pair[~same])
        impostor_people.append(np.stack((first[~same], second[~same]), axis=1))
    return LabelledScores(
        np.concatenate(genuine),
        np.concatenate(genuine_person),
        np.concatenate(impostor),
        np.concatenate(impostor_people),
    )


def listed_pairs(
    labelled: Labelled,
    pairs: tuple[tuple[str, str], ...],
    normalisation: Normalisation | None = None,
) -> Float64Array:
    """Return the scores of listed pairs.

    Parameters
    ----------
    labelled : Labelled
        Has all pictures of the pairs.
    pairs : tuple of (str, str)
        Names of the two pictures of each pair.
    normalisation : Normalisation, optional
        All the pictures are the cohort; by default scores are plain cosines.

    Returns
    -------
    ndarray of shape (n_pairs,), float64
    """
    row = {str(name): number for number, name in enumerate(labelled.names)}
    scorer = scorer_among(labelled.embeddings, normalisation)
    made = scorer.vectors(labelled.embeddings)
    first, second = (np.array([row[pair[side]] for pair in pairs]) for side in (0, 1))
    return scorer.listed_scores(made[first], made[second])


def fit(
    labelled: Labelled, settings: EngineSettings, normalisation: Normalisation | None
) -> Calibration:
    """Fit a curve on all pairs of pictures, and print how its method compares with the others.

    Parameters
    ----------
    labelled : Labelled
    settings : EngineSettings
        Of the engine that made the embeddings.
    normalisation : Normalisation or None
        None for plain cosines.

    Returns
    -------
    Calibration
    """
    labelled = labelled.mended()
    scores = all_pairs(labelled, normalisation)
    n_people = np.unique(labelled.people).size
    compared = ", ".join(f"{name} {cllr:.5f}" for name, cllr in choose_method(scores)[1].items())
    print(f"cross-validated Cllr of {n_people} people: {compared}")
    fitted = fit_scores(scores, METHOD, n_bootstrap=N_BOOTSTRAP)
    marks = (settings.model.name, settings.augment, settings.numerics)
    told = [mark for mark in marks if mark not in (DEFAULT_PACK, "none", "fp32")]
    return Calibration(
        name="-".join(("lfw-dev", *told)),
        engine_key=settings.identity.key,
        method=METHOD_IN_WORDS,
        knots=fitted.knots,
        evidence=Evidence(
            data=DATA,
            n_people=n_people,
            n_genuine=scores.genuine.size,
            n_impostor=scores.impostor.size,
            fitted_on=datetime.date.today().isoformat(),
        ),
        band=fitted.band,
        false_matches=fitted.false_matches,
        normalisation=normalisation,
    )


def check(calibration: Calibration, labelled: Labelled, test: PairList) -> tuple[HeldOutCheck, ...]:
    """Measure a curve on the people of a list: on all their pairs, and on the listed ones.

    Parameters
    ----------
    calibration : Calibration
        Fitted on other people.
    labelled : Labelled
    test : PairList

    Returns
    -------
    every, listed : HeldOutCheck
    """
    n_people = len(test.people)
    labelled = labelled.only(test.people)
    scores = all_pairs(labelled, calibration.normalisation)
    every = check_curve(
        calibration,
        scores.genuine,
        scores.impostor,
        data="every pair of the people of pairsDevTest",
        n_people=n_people,
    )
    genuine = listed_pairs(labelled, test.genuine, calibration.normalisation)
    impostor = listed_pairs(labelled, test.impostor, calibration.normalisation)
    listed = check_curve(
        calibration, genuine, impostor, data="the pairs listed in pairsDevTest", n_people=n_people
    )
    return every, listed


def tell_of_gallery(
    calibration: Calibration, genuine: Float64Array, impostor: Float64Array
) -> None:
    """Print how true degrees are among all pairs of people, where genuine pairs are rare.

    Parameters
    ----------
    calibration : Calibration
    genuine, impostor : ndarray of shape (n_pairs,), float64
        Cosines of the pairs.
    """
    share = genuine.size / (genuine.size + impostor.size)
    for prior in (0.5, share):
        of_genuine = calibrated_degree(genuine, calibration, prior=prior)
        of_impostor = calibrated_degree(impostor, calibration, prior=prior)
        # Here every pair counts once: the classes weigh as they occur.
        ece = expected_calibration_error(of_genuine, of_impostor, prior=share)
        sure = (of_genuine >= 0.9).sum(), (of_impostor >= 0.9).sum()
        print(
            f"every pair of the test people, prior {prior:.3g}: ECE {ece:.5f}; degree >= 0.9: "
            f"{sure[0]} of {genuine.size} genuine, {sure[1]} of {impostor.size} impostor pairs"
        )


def tell_of_search(calibration: Calibration, labelled: Labelled) -> None:
    """Print how true the degrees of search results are when half of the people are absent.

    Half of the people, drawn at random `N_DRAWS` times, are the gallery, and every picture is
    searched for among their other pictures.  The prior is the share of genuine pairs among the
    pairs of a query and a picture of the gallery.

    Parameters
    ----------
    calibration : Calibration
    labelled : Labelled
    """
    rng = np.random.default_rng(0)
    found = [_searched(calibration, labelled, rng) for _ in range(N_DRAWS)]
    n_queries = sum(draw[0] for draw in found)
    prior = sum(draw[1] for draw in found) / N_DRAWS
    for number, name in enumerate((f"the true prior (mean {prior:.3g})", "prior 0.5")):
        degrees = [draw[2][number] for draw in found]
        genuine = np.concatenate([degree[0] for degree in degrees])
        impostor = np.concatenate([degree[1] for degree in degrees])
        share = genuine.size / (genuine.size + impostor.size)
        ece = expected_calibration_error(genuine, impostor, prior=share)
        sure = (genuine >= 0.9).sum(), (impostor >= 0.9).sum()
        print(
            f"top {TOP} of {n_queries} queries, half of the people absent, {name}: "
            f"ECE {ece:.5f}; degree >= 0.9: {sure[0]} right, {sure[1]} wrong "
            f"({sure[0] / max(sum(sure), 1):.4f}); true mates with degree >= 0.5: "
            f"{(genuine >= 0.5).mean():.4f} of {genuine.size}"
        )


def _searched(
    calibration: Calibration, labelled: Labelled, rng: np.random.Generator
) -> tuple[int, float, list[tuple[Float64Array, Float64Array]]]:
    """Return the number of queries, the prior, and the degrees of mates and of impostor matches."""
    names = np.unique(labelled.people)
    there = np.isin(labelled.people, rng.permutation(names)[: names.size // 2])
    scorer = scorer_among(labelled.embeddings[there], calibration.normalisation)
    made = scorer.vectors(labelled.embeddings)
    cosine = scorer.pair_scores(made, made[there]).astype(np.float64)
    same = labelled.people[:, None] == labelled.people[there][None, :]
    itself = labelled.names[:, None] == labelled.names[there][None, :]
    prior = float(same[~itself].mean())
    cosine[itself] = -1.0  # Never among the first ten.
    best = np.argsort(-cosine, axis=1)[:, :TOP]
    cosine, same = np.take_along_axis(cosine, best, 1), np.take_along_axis(same, best, 1)
    return (
        labelled.names.size,
        prior,
        [
            (
                calibrated_degree(cosine[same], calibration, prior=of_prior),
                calibrated_degree(cosine[~same], calibration, prior=of_prior),
            )
            for of_prior in (prior, 0.5)
        ],
    )


if __name__ == "__main__":
    main()
