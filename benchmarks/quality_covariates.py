"""Whether the quality of two faces says something about the evidence of their cosine.

    python -m benchmarks.quality_covariates DATA_FOLDER --cache FOLDER

DATA_FOLDER is LFW's development set.  Every picture of people with two or more is embedded as it
is and in five degraded copies (`benchmarks.degraded_faces`); FOLDER keeps the embeddings, so that
an interrupted run goes on.  Models are fitted on the people of pairsDevTrain and judged on those
of pairsDevTest, for each pair of conditions, with intervals from drawing people anew:

- ``clean``: the curve of the package, fitted in the same way on clean pairs of these people;
- ``mix``: such a curve fitted on the pairs of all conditions;
- ``strata``: three such curves, for pairs with no, one, and two poor faces (small or unsharp);
- ``covariates``: logistic regression on the value of ``mix``, the cosine, seven symmetric measures
  of the pair's quality, and their products with the cosine;
- ``clean+``: the same regression on clean pairs alone, and on the value of ``clean``.

Then the last three are fitted once more without each degradation, and judged on it: a user's
pictures are degraded in ways that were not foreseen.

A false match is counted at the value where the model, on the pairs it was fitted on, has a false
match rate of 0.001.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from benchmarks.degraded_faces import CONDITIONS, QUALITY, Faces, load_or_embed
from facesim_index.calibration.degree import degree_from_log10_lr
from facesim_index.calibration.fitting.fit import count_cosines, fit_counts
from facesim_index.metrics.bootstrap import people_drawn_anew, percentile_intervals
from facesim_index.metrics.odds import logistic
from facesim_index.metrics.scoring import expected_calibration_error, min_cllr
from facesim_index.records import Float32Array, Float64Array, Int64Array
from tools.fit_shipped_calibration import people_of, read_pairs

CLAIMED = (1e-2, 1e-3, 1e-4)
POOR_SHARE = 0.05
KEEP_ALL_ABOVE = 0.15
KEEP_EVERY = 20
RIDGE = 1e-6
N_DRAWS = 500
SIZE, SHARPNESS, YAW, ROLL, DETECTION = range(len(QUALITY))

Knots = tuple[Float64Array, Float64Array]
BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@dataclass(frozen=True)
class Pairs:
    """Pairs of faces of different pictures.

    Attributes
    ----------
    cosine : ndarray of shape (n,), float32
    genuine : ndarray of shape (n,), bool
    quality : ndarray of shape (n, 7), float32
        Least and sum of log size; least and sum of log sharpness; difference in yaw; larger roll;
        least detection score.
    people : ndarray of shape (n, 2), int64
    weight : ndarray of shape (n,), float64
        How many pairs each stands for.
    """

    cosine: Float32Array
    genuine: BoolArray
    quality: Float32Array
    people: Int64Array
    weight: Float64Array

    def only(self, chosen: BoolArray, weight: Float64Array) -> "Pairs":
        """Return some of the pairs, with other weights."""
        return Pairs(
            self.cosine[chosen],
            self.genuine[chosen],
            self.quality[chosen],
            self.people[chosen],
            weight[chosen],
        )

    def thinned(self) -> "Pairs":
        """Return all genuine pairs and high cosines, and every so-many other for as many."""
        every = np.arange(self.cosine.size) % KEEP_EVERY == 0
        all_of = self.genuine | (self.cosine >= KEEP_ALL_ABOVE)
        return self.only(all_of | every, np.where(all_of, 1.0, float(KEEP_EVERY)))


Model = Callable[[Pairs], Float64Array]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the embeddings")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    lists = [
        read_pairs(options.data_folder / f"pairsDev{which}.txt").people
        for which in ("Train", "Test")
    ]
    images = options.data_folder / "images"
    names = pictures_of_pairs(images, lists[0] | lists[1])
    faces = load_or_embed(images, names, options.cache, options.workers)
    tell_faces(faces)
    train, test = ({c: of_people(f, people) for c, f in faces.items()} for people in lists)
    tell_overclaim(train, test)
    tell_own_curves(train, test)
    tell_models(fit_models(train, list(conditions())), test, list(conditions()))
    for unseen in CONDITIONS:
        if unseen != "clean":
            print(f"\nFitted without {unseen}:")
            seen = [both for both in conditions() if unseen not in both]
            hidden = [both for both in conditions() if unseen in both]
            tell_models(fit_models(train, seen), test, hidden)


def pictures_of_pairs(images: Path, people: set[str]) -> list[str]:
    """Return every picture of the people who have two or more."""
    found = []
    for person in sorted(people):
        pictures = sorted((images / person).glob("*.jpg"))
        if len(pictures) > 1:
            found += [f"{person}/{path.name}" for path in pictures]
    return found


def of_people(faces: Faces, people: set[str]) -> Faces:
    """Return the faces of some people."""
    chosen = np.isin(people_of(faces.names), sorted(people))
    return Faces(
        faces.names[chosen], faces.embeddings[chosen], faces.quality[chosen], faces.n_pictures
    )


def tell_faces(faces: dict[str, Faces]) -> None:
    """Print how many faces are found, and the quartiles of their quality."""
    for condition, found in faces.items():
        quartiles = np.percentile(np.abs(found.quality), (25, 50, 75), axis=0).T
        told = "; ".join(
            f"{name} {low:.3g} {middle:.3g} {high:.3g}"
            for name, (low, middle, high) in zip(QUALITY, quartiles, strict=True)
        )
        print(f"{condition}: {found.names.size} of {found.n_pictures} with a face; {told}")


def conditions() -> Iterator[tuple[str, str]]:
    """Yield clean with itself, clean with each degradation, and each of these with itself."""
    degraded = [condition for condition in CONDITIONS if condition != "clean"]
    yield "clean", "clean"
    yield from (("clean", condition) for condition in degraded)
    yield from ((condition, condition) for condition in degraded)


def pairs_of(faces: dict[str, Faces], first: str, second: str) -> Pairs:
    """Return all pairs of different pictures, one in each condition."""
    a, b = faces[first], faces[second]
    every = np.unique(np.concatenate((a.names, b.names)))
    person = np.unique(people_of(every), return_inverse=True)[1]
    number_a, number_b = np.searchsorted(every, a.names), np.searchsorted(every, b.names)
    once = first == second
    row, column = np.nonzero(
        number_a[:, None] < number_b[None, :] if once else number_a[:, None] != number_b[None, :]
    )
    cosine = (a.embeddings @ b.embeddings.T)[row, column]
    two = np.stack((person[number_a[row]], person[number_b[column]]), axis=1)
    return Pairs(
        cosine,
        two[:, 0] == two[:, 1],
        pair_quality(a.quality, b.quality, row, column),
        two,
        np.ones(row.size),
    )


def pair_quality(
    a: Float64Array, b: Float64Array, row: Int64Array, column: Int64Array
) -> Float32Array:
    """Return measures of pairs that do not depend on which face is the first."""
    columns = []
    for measure, logged in ((SIZE, np.log), (SHARPNESS, np.log1p)):
        one, other = (
            logged(quality[:, measure]).astype(np.float32)[index]
            for quality, index in ((a, row), (b, column))
        )
        columns += [np.minimum(one, other), one + other]
    columns.append(np.abs(a[row, YAW] - b[column, YAW]))
    columns.append(np.maximum(np.abs(a[row, ROLL]), np.abs(b[column, ROLL])))
    columns.append(np.minimum(a[row, DETECTION], b[column, DETECTION]))
    return np.stack(columns, axis=1).astype(np.float32)


# The models


def fit_models(
    train: dict[str, Faces], fitted_on: Sequence[tuple[str, str]]
) -> dict[str, tuple[Model, float]]:
    """Return each model, and the value at which it has a false match rate of 0.001.

    The first pair of conditions is clean with itself.
    """
    poor = poor_below(train["clean"])
    counts = np.zeros((3, 2, count_cosines(np.zeros(0)).size), dtype=np.int64)
    of_conditions = []
    thinned = []
    for first, second in fitted_on:
        pairs = pairs_of(train, first, second)
        stratum = n_poor(pairs, poor)
        for number in range(3):
            for of_class in (0, 1):
                chosen = (stratum == number) & (pairs.genuine == bool(of_class))
                counts[number, of_class] += count_cosines(pairs.cosine[chosen])
        thinned.append(pairs.thinned())
        of_conditions.append(counts.sum(axis=0))
    mixed = Pairs(
        *(
            np.concatenate([getattr(pairs, name) for pairs in thinned])
            for name in ("cosine", "genuine", "quality", "people", "weight")
        )
    )
    clean, mix = curve_model(of_conditions[0]), curve_model(of_conditions[-1])
    strata = [curve_model(of_stratum) for of_stratum in counts]
    return {
        "clean": with_claim(clean, thinned[0]),
        "clean+": with_claim(covariate_model(clean, thinned[0]), thinned[0]),
        "mix": with_claim(mix, mixed),
        "strata": with_claim(
            lambda pairs: np.choose(n_poor(pairs, poor), [model(pairs) for model in strata]), mixed
        ),
        "covariates": with_claim(covariate_model(mix, mixed), mixed),
    }


def curve_model(counts: Int64Array) -> Model:
    """Fit a smooth non-decreasing curve to counts of impostor and of genuine pairs."""
    cosine, value = np.array(fit_counts(counts[1], counts[0])).T
    return lambda pairs: np.asarray(np.interp(pairs.cosine, cosine, value), dtype=np.float64)


def poor_below(clean: Faces) -> tuple[float, float]:
    """Return the log size and log sharpness below which few clean faces are."""
    size = np.quantile(np.log(clean.quality[:, SIZE]), POOR_SHARE)
    sharpness = np.quantile(np.log1p(clean.quality[:, SHARPNESS]), POOR_SHARE)
    return float(size), float(sharpness)


def n_poor(pairs: Pairs, poor: tuple[float, float]) -> Int64Array:
    """Return 0 where both faces are good, 2 where both are surely poor, else 1."""
    one: BoolArray = np.zeros(pairs.cosine.size, dtype=bool)
    two = one.copy()
    for column, limit in zip((0, 2), poor, strict=True):
        least, both = pairs.quality[:, column], pairs.quality[:, column + 1]
        one |= least < limit
        two |= both - least < limit
    return one.astype(np.int64) + two


def covariate_model(base: Model, fitted_on: Pairs) -> Model:
    """Fit a logistic regression, both classes weighing the same, on a curve and on quality.

    Its values stay within those of the curve: quality is no evidence beyond its bounds.
    """
    mean = np.average(fitted_on.quality, axis=0, weights=fitted_on.weight)
    spread = np.sqrt(np.average((fitted_on.quality - mean) ** 2, axis=0, weights=fitted_on.weight))

    def terms(pairs: Pairs) -> Float64Array:
        quality = (pairs.quality - mean) / spread
        cosine = pairs.cosine[:, None].astype(np.float64)
        one = np.ones_like(cosine)
        return np.hstack((one, base(pairs)[:, None], cosine, quality, quality * cosine))

    of_base = base(fitted_on)
    coefficients = _logistic_regression(terms(fitted_on), fitted_on.genuine, fitted_on.weight)
    bounds = of_base.min(), of_base.max()
    return lambda pairs: np.clip(terms(pairs) @ coefficients / np.log(10.0), *bounds)


def _logistic_regression(
    terms: Float64Array, genuine: BoolArray, weight: Float64Array
) -> Float64Array:
    """Return the coefficients that have the least Cllr, from those of the curve alone."""
    sign = np.where(genuine, 1.0, -1.0)
    share = np.where(genuine, weight / weight[genuine].sum(), weight / weight[~genuine].sum())
    start = np.zeros(terms.shape[1])
    start[1] = np.log(10.0)

    def cost(coefficients: Float64Array) -> tuple[float, Float64Array]:
        margin = sign * (terms @ coefficients)
        slope = -sign * share * logistic(-margin)
        away = coefficients - start
        total = share @ np.logaddexp(0.0, -margin) + RIDGE * away @ away
        return float(total), terms.T @ slope + 2.0 * RIDGE * away

    found = minimize(cost, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    if not found.success:
        raise SystemExit(f"the regression did not converge: {found.message}")
    return np.asarray(found.x, dtype=np.float64)


def with_claim(model: Model, fitted_on: Pairs) -> tuple[Model, float]:
    """Return a model with the value at which it has a false match rate of 0.001."""
    value = model(fitted_on)[~fitted_on.genuine]
    weight = fitted_on.weight[~fitted_on.genuine]
    return model, upper_quantile(value, weight, CLAIMED[1])


def upper_quantile(value: Float64Array, weight: Float64Array, share: float) -> float:
    """Return the least value that at most a share of the pairs reaches."""
    order = np.argsort(-value)
    reached = np.cumsum(weight[order]) / weight.sum()
    return float(value[order][max(0, int(np.searchsorted(reached, share)) - 1)])


# What is found


def tell_overclaim(train: dict[str, Faces], test: dict[str, Faces]) -> None:
    """Print how often strangers reach the cosines that clean ones reach at the claimed rates."""
    clean = pairs_of(train, "clean", "clean")
    strangers = clean.cosine[~clean.genuine].astype(np.float64)
    cosines = [float(np.quantile(strangers, 1.0 - fmr)) for fmr in CLAIMED]
    told = ", ".join(f"{c:.3f} for {fmr:g}" for c, fmr in zip(cosines, CLAIMED, strict=True))
    print(f"\nStrangers of pairsDevTest at the cosines of the clean ones of pairsDevTrain: {told}")
    print("| condition | " + " | ".join(f"{fmr:g}" for fmr in CLAIMED) + " | TMR at 0.001 |")
    print("|---" * (len(CLAIMED) + 2) + "|")
    for first, second in conditions():
        pairs = pairs_of(test, first, second)
        of_strangers, of_one = pairs.cosine[~pairs.genuine], pairs.cosine[pairs.genuine]
        rates = [float((of_strangers >= cosine).mean()) for cosine in cosines]
        cells = [
            f"{rate:.2g} (×{rate / fmr:.1f})" for rate, fmr in zip(rates, CLAIMED, strict=True)
        ]
        cells.append(f"{(of_one >= cosines[1]).mean():.4f}")
        print(f"| {first} × {second} | {' | '.join(cells)} |")


def tell_own_curves(train: dict[str, Faces], test: dict[str, Faces]) -> None:
    """Print what a curve does that is fitted on the very kind of pairs that it is judged on."""
    print("\nA curve fitted on such pairs:")
    print("| condition | Cllr | FMR where it claims 0.001 |\n|---|---|---|")
    for first, second in conditions():
        seen, pairs = (pairs_of(faces, first, second) for faces in (train, test))
        counts = [count_cosines(seen.cosine[seen.genuine == is_one]) for is_one in (False, True)]
        model, threshold = with_claim(curve_model(np.stack(counts)), seen.thinned())
        figures, ends = with_intervals(Judged.of(pairs, model(pairs), threshold), {})
        cells = (
            f"{figures[what]:{form}} ({ends[what][0]:{form}} to {ends[what][1]:{form}})"
            for what, form in (("cllr", ".4f"), ("fmr", ".2g"))
        )
        print(f"| {first} × {second} |", " | ".join(cells), "|", flush=True)


def tell_models(
    models: dict[str, tuple[Model, float]],
    test: dict[str, Faces],
    judged_on: Sequence[tuple[str, str]],
) -> None:
    """Print the figures of each model in each pair of conditions."""
    for first, second in judged_on:
        pairs = pairs_of(test, first, second)
        n_genuine = int(pairs.genuine.sum())
        least = min_cllr(pairs.cosine[pairs.genuine], pairs.cosine[~pairs.genuine])
        print(
            f"\n{first} × {second}: {n_genuine} genuine, {pairs.cosine.size - n_genuine} impostor "
            f"pairs; best possible Cllr of the cosine {least:.4f}"
        )
        print(
            "| model | Cllr | less that of clean | less that of mix | ECE "
            "| FMR where it claims 0.001 |"
        )
        print("|---|---|---|---|---|---|")
        values = {name: model(pairs) for name, (model, _) in models.items()}
        found = {name: Judged.of(pairs, value, models[name][1]) for name, value in values.items()}
        for name, judged in found.items():
            degree = degree_from_log10_lr(values[name])
            ece = expected_calibration_error(degree[pairs.genuine], degree[~pairs.genuine])
            figures, ends = with_intervals(judged, {of: found[of] for of in ("clean", "mix")})
            cells = [
                f"{figures[what]:{form}} ({ends[what][0]:{form}} to {ends[what][1]:{form}})"
                for what, form in (
                    ("cllr", ".4f"),
                    ("less clean", "+.4f"),
                    ("less mix", "+.4f"),
                    ("fmr", ".2g"),
                )
            ]
            print("|", " | ".join((name, *cells[:3], f"{ece:.4f}", cells[3])), "|", flush=True)


def sums(cell: Int64Array, weight: Float64Array, n_cells: int) -> Float64Array:
    """Return the sum of the weights in each cell."""
    return np.asarray(np.bincount(cell, weight, n_cells), dtype=np.float64)


@dataclass(frozen=True)
class Judged:
    """Costs of a model by person, so that people can be drawn anew.

    Attributes
    ----------
    genuine : tuple of ndarray of shape (n_people,)
        Sum of the costs in bits, and number of pairs.
    impostor : tuple of ndarray of shape (n_people, n_people)
    false_matches : ndarray of shape (n_people, n_people)
    """

    genuine: tuple[Float64Array, Float64Array]
    impostor: tuple[Float64Array, Float64Array]
    false_matches: Float64Array

    @classmethod
    def of(cls, pairs: Pairs, value: Float64Array, threshold: float) -> "Judged":
        """Judge the values of pairs."""
        n = int(pairs.people.max()) + 1
        same = pairs.genuine
        bits = np.logaddexp(0.0, np.where(same, -1.0, 1.0) * value * np.log(10.0)) / np.log(2.0)
        person, two = pairs.people[same, 0], pairs.people[~same] @ np.array([n, 1])

        def square(weight: Float64Array) -> Float64Array:
            return sums(two, weight, n * n).reshape(n, n)

        return cls(
            (sums(person, bits[same], n), sums(person, np.ones(person.size), n)),
            (square(bits[~same]), square(np.ones(two.size))),
            square((value[~same] >= threshold).astype(np.float64)),
        )

    def figures(self, times: Float64Array) -> dict[str, float]:
        """Return Cllr and false match rate when each person counts so many times."""
        of, n = self.genuine
        cost, n_impostor = (times @ matrix @ times for matrix in self.impostor)
        return {
            "cllr": float((times @ of) / (times @ n) + cost / n_impostor) / 2.0,
            "fmr": float(times @ self.false_matches @ times / n_impostor),
        }


def with_intervals(
    judged: Judged, others: dict[str, Judged]
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Return the figures of a model, its Cllr less that of others, and their intervals."""
    n_people = judged.genuine[0].size

    def figures(times: Float64Array) -> dict[str, float]:
        found = judged.figures(times)
        less = {
            f"less {of}": found["cllr"] - other.figures(times)["cllr"]
            for of, other in others.items()
        }
        return found | less

    draws = [
        figures(times.astype(np.float64)) for times in people_drawn_anew(n_people, N_DRAWS, seed=0)
    ]
    return figures(np.ones(n_people)), percentile_intervals(draws)


if __name__ == "__main__":
    main()
