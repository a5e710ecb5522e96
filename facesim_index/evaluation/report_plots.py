"""The plots of an evaluation report, with the texts that say how to read them."""

from dataclasses import dataclass

import numpy as np

from facesim_index.calibration.curve import log10_lr, log10_lr_interval
from facesim_index.calibration.degree import degree_from_log10_lr
from facesim_index.calibration.record import Calibration
from facesim_index.evaluation import plots
from facesim_index.evaluation.identification import Identification, Searches
from facesim_index.evaluation.verification import Evaluation, LabelledPictures, evidence_of
from facesim_index.metrics import curves
from facesim_index.metrics.curves import Band, OperatingPoint
from facesim_index.metrics.identification import identification_errors, match_characteristic
from facesim_index.metrics.verification import ScoredPairs, error_rates
from facesim_index.records import Float64Array
from facesim_index.utils.text import score_name

PAIR_NAMES = ("one person (genuine)", "two people (impostor)")
SEARCH_NAMES = ("the mate", "best of all others")
#: Every plot that a report may have; which ones it has depends on the evaluation.
PLOT_NAMES = (
    *("scores", "roc", "det", "reliability", "tippett", "evidence", "cross_entropy"),
    *("cmc", "fnir_fpir"),
)

_MOST_RANKS = 20
_NO_ANSWER = -2.0  # As in `identification.Searches`.
_DEGREE_EDGES = np.linspace(0.0, 1.0, 26)
_LOG10_ODDS = np.linspace(-4.0, 4.0, 161)


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with its texts.

    Attributes
    ----------
    name : str
        One of `PLOT_NAMES`; also the name of its file, without suffix.
    title : str
    alt : str
        Describes the plot to people who cannot see it.
    caption : str
        How to read it.
    svg : bytes
        The plot as SVG.
    """

    name: str
    title: str
    alt: str
    caption: str
    svg: bytes


def pair_plots(
    labelled: LabelledPictures, result: Evaluation, calibration: Calibration | None
) -> list[Plot]:
    """Draw the plots of labelled pairs.

    Parameters
    ----------
    labelled : LabelledPictures
    result : Evaluation
        The figures of these pairs.
    calibration : Calibration or None
        Without one the plots of degrees and evidence are left out.

    Returns
    -------
    list of Plot
    """
    pairs = labelled.pairs
    rates = error_rates(pairs)
    equal = curves.equal_error_point(rates)
    band = curves.error_band(pairs)
    drawn = [
        _score_plot(pairs, result, equal),
        _roc_plot(pairs, result, equal, band),
        _det_plot(pairs, result, equal, band),
    ]
    if calibration is not None:
        evidence = evidence_of(pairs, calibration)
        drawn += [
            _reliability_plot(pairs, result, evidence),
            _tippett_plot(pairs, evidence),
            *_evidence_plot(pairs, calibration, score_name(result.head)),
            _empirical_cross_entropy_plot(pairs, result, evidence),
        ]
    return drawn


def people_plots(searches: Searches, result: Identification) -> list[Plot]:
    """Draw the plots of a 1:N identification.

    Parameters
    ----------
    searches : Searches
    result : Identification
        The figures of these searches.

    Returns
    -------
    list of Plot
    """
    return [
        _search_score_plot(searches, result),
        _match_plot(searches, result),
        _identification_plot(searches, result),
    ]


def _score_plot(pairs: ScoredPairs, result: Evaluation, equal: OperatingPoint) -> Plot:
    score = score_name(result.head)
    edges = curves.cosine_edges(pairs.cosine)
    shares = [
        (name, curves.histogram(pairs.cosine[chosen], edges))
        for name, chosen in zip(PAIR_NAMES, (pairs.same, ~pairs.same), strict=True)
    ]
    label = "degree 0.5" if result.accuracy_by == "degree" else "threshold, mean of folds"
    marks = [plots.Mark(result.threshold, label), plots.Mark(equal.threshold, "EER")]
    # Pairs without a face are below all others here, too.
    middle = [float(np.median(pairs.scores[part])) for part in (pairs.same, ~pairs.same)]
    return Plot(
        "scores",
        f"{score.capitalize()}s of both kinds of pairs",
        f"Histogram of {score}s. The median is {middle[0]:.3f} for pairs of one person and "
        f"{middle[1]:.3f} for pairs of two; the threshold is at {result.threshold:.3f}.",
        f"Bars show which share of each class has a {score} in each step of "
        f"{curves.COSINE_STEP:g}; the vertical axis is logarithmic, so that the few pairs "
        "where the classes overlap can be seen. Errors are the blue bars left of a threshold "
        "and the orange, hatched ones right of it.",
        plots.draw_scores(edges, shares, marks, score),
    )


def _roc_plot(pairs: ScoredPairs, result: Evaluation, equal: OperatingPoint, band: Band) -> Plot:
    told = ", ".join(f"{tar:.4f} at FAR {far}" for far, tar in result.tar_at_far.items())
    return Plot(
        "roc",
        "ROC: true accepts against false accepts",
        f"ROC curve. Area under the curve {result.auc:.5f}; true accept rate "
        f"{told or 'not told: too few impostor pairs'}; EER {result.eer:.4f}.",
        f"Each point is a threshold on the {score_name(result.head)}: how many pairs of one person "
        "it accepts, against how many of two. Higher is better. The horizontal axis is "
        f"logarithmic and ends at half of one impostor pair ({1 / result.impostor:.2g} is one); "
        "points without any false accept stand at that end.",
        plots.draw_roc(error_rates(pairs), equal, band, 1.0 / result.impostor),
    )


def _det_plot(pairs: ScoredPairs, result: Evaluation, equal: OperatingPoint, band: Band) -> Plot:
    smallest = (1.0 / result.impostor, 1.0 / result.genuine)
    return Plot(
        "det",
        "DET: both errors against each other",
        f"DET curve on probit axes. The equal error rate is {result.eer:.4f}, at "
        f"{score_name(result.head)} {equal.threshold:.3f}.",
        "Each point is a threshold: its false matches and its false non-matches. Lower and "
        "further left is better. Axes are probit, so that two normal distributions of scores "
        "would give a straight line. The dotted diagonal is where both errors are as frequent. "
        "The last steps at either end rest on single pairs.",
        plots.draw_det(
            error_rates(pairs),
            band,
            equal,
            smallest,
            ("false match rate (FMR)", "false non-match rate (FNMR)"),
        ),
    )


def _reliability_plot(pairs: ScoredPairs, result: Evaluation, evidence: Float64Array) -> Plot:
    degree = degree_from_log10_lr(evidence)
    bins = curves.reliability(degree, pairs.same)
    best = curves.best_curve(degree, pairs.same)
    shares = [
        (name, curves.histogram(degree[chosen], _DEGREE_EDGES))
        for name, chosen in zip(PAIR_NAMES, (pairs.same, ~pairs.same), strict=True)
    ]
    off = np.flatnonzero((bins.claimed < bins.low) | (bins.claimed > bins.high)).size
    return Plot(
        "reliability",
        "Reliability: what degrees claim, and what is observed",
        f"Reliability diagram with {bins.claimed.size} bins of equal mass; in {off} of them the "
        f"claimed degree is outside the 95 % interval of the observed share. Expected "
        f"calibration error {result.ece:.4f}.",
        f"On the dashed diagonal, pairs with degree 0.8 show one person in 80 of 100 cases. Dots "
        "below it claim too much, dots above it too little. Intervals are exact binomial ones of "
        "each bin; pairs share people, so that they are somewhat too narrow. The line is the "
        "best that any non-decreasing change of the degrees could do on these very pairs. Below: "
        f"how many pairs have such degrees. In {off} of {bins.claimed.size} bins the claim is "
        "outside the interval. Honest only for people whom the calibration was not fitted on.",
        plots.draw_reliability(bins, best, _DEGREE_EDGES, shares),
    )


def _tippett_plot(pairs: ScoredPairs, evidence: Float64Array) -> Plot:
    found = curves.tippett(evidence, pairs.same)
    told = (
        f"{found.misleading_genuine:.2%} of the pairs of one person have evidence against it "
        f"(below 0), {found.misleading_impostor:.2%} of the pairs of two people have evidence "
        "for one (above 0)"
    )
    return Plot(
        "tippett",
        "Tippett plot: how strong the evidence is",
        f"Tippett plot of log10 likelihood ratios from {found.log10_lr[0]:.1f} to "
        f"{found.log10_lr[-1]:.1f}. Misleading evidence: {told}.",
        "Each curve says which share of its class has at least so much evidence for one person. "
        "The further apart the curves, the better; evidence is misleading where the solid curve "
        f"has left 100 % before 0, and where the dashed one is above 0 % after it: {told}.",
        plots.draw_tippett(found, PAIR_NAMES),
    )


def _evidence_plot(pairs: ScoredPairs, calibration: Calibration, score: str) -> list[Plot]:
    """Draw the curve, unless only pairs of one class have scores to compare it with."""
    decided = ~np.isnan(pairs.cosine)
    if np.unique(pairs.same[decided]).size < 2:
        return []
    edges = curves.cosine_edges(pairs.cosine)
    cosine = np.linspace(max(edges[0], -1.0), min(edges[-1], 1.0), 400)
    claimed = log10_lr(cosine, calibration)
    low, high = log10_lr_interval(cosine, calibration) if calibration.band else (claimed, claimed)
    best = curves.best_curve(pairs.cosine[decided], pairs.same[decided])
    plot = Plot(
        "evidence",
        "The calibration's curve, and the best one of these pairs",
        f"Log10 likelihood ratio over the {score}, from {claimed[0]:.1f} to {claimed[-1]:.1f} "
        "for the calibration, with the staircase of the best non-decreasing curve.",
        f"What the calibration makes of a {score}, against the staircase (PAV) that fits these "
        "pairs best. Only where both kinds of pairs occur, in the middle, can these pairs say "
        "anything: outside, the staircase leaves the plot, as no pair of the other kind is there.",
        plots.draw_evidence(plots.EvidenceCurve(cosine, claimed, low, high), best, score),
    )
    return [plot]


def _empirical_cross_entropy_plot(
    pairs: ScoredPairs, result: Evaluation, evidence: Float64Array
) -> Plot:
    found = plots.EmpiricalCrossEntropy(
        _LOG10_ODDS,
        *(
            curves.empirical_cross_entropy(each, pairs.same, _LOG10_ODDS)
            for each in (evidence, curves.best_evidence(pairs), np.zeros(len(pairs)))
        ),
    )
    return Plot(
        "cross_entropy",
        "Empirical cross-entropy plot: what is left to be told, at each prior",
        f"Empirical cross-entropy over the prior log odds. At even odds {result.cllr:.4f} bits "
        f"(Cllr); {result.cllr_min:.4f} for the best curve (Cllr min); 1 without evidence.",
        "How many bits a pair are missing for certainty after the evidence, for whoever held "
        "these odds before. At 0, even odds, the curves are at Cllr and Cllr min; a search in a "
        "large gallery is far to the left. The gap between the curves is what the calibration "
        "costs. Where the solid curve is above the dotted one, it would be better not to look.",
        plots.draw_empirical_cross_entropy(found),
    )


def _search_score_plot(searches: Searches, result: Identification) -> Plot:
    mate, other = (
        np.where(part <= _NO_ANSWER, np.nan, part) for part in (searches.mate, searches.non_mated)
    )
    score = score_name(result.head)
    edges = curves.cosine_edges(np.concatenate((mate, other)))
    shares = [
        (name, curves.histogram(part, edges))
        for name, part in zip(SEARCH_NAMES, (mate, other), strict=True)
    ]
    marks = [
        plots.Mark(threshold, f"FPIR {rate}")
        for rate, threshold in result.threshold_at_fpir.items()
    ]
    return Plot(
        "scores",
        f"{score.capitalize()}s of the mate, and of the best of all others",
        f"Histogram of the {score}s of searches with their mate, and of the highest {score} with "
        "anyone else.",
        f"Bars show which share of the searches has a {score} in each step of "
        f"{curves.COSINE_STEP:g}; the vertical axis is logarithmic. The highest of "
        f"{result.enrolled:,} strangers is well above a stranger's usual {score}: that is why a "
        "search needs a higher threshold than a comparison of two pictures.",
        plots.draw_scores(edges, shares, marks, score),
    )


def _match_plot(searches: Searches, result: Identification) -> Plot:
    most = max(1, min(_MOST_RANKS, result.enrolled))
    shares = match_characteristic(searches.rank, most)
    return Plot(
        "cmc",
        "CMC: at which rank the person is found",
        f"Cumulative match characteristic: {shares[0]:.4f} at rank 1, {shares[-1]:.4f} at rank "
        f"{most}.",
        "Which share of the searches for someone who is enrolled has the right person at this "
        f"rank or before, among {result.enrolled:,}. A curve that stays level below 100 % says "
        "that the others are not found at all, whatever the length of the list.",
        plots.draw_match_characteristic(shares),
    )


def _identification_plot(searches: Searches, result: Identification) -> Plot:
    rates = identification_errors(searches.mate, searches.non_mated)
    told = ", ".join(f"{fnir:.4f} at FPIR {fpir}" for fpir, fnir in result.fnir_at_fpir.items())
    none = Band(*(np.empty(0) for _ in range(3)))
    smallest = (1.0 / result.non_mated_searches, 1.0 / result.mated_searches)
    return Plot(
        "fnir_fpir",
        "Open set: who is missed, against who is taken for someone else",
        f"FNIR over FPIR on probit axes: {told or 'too few searches to tell single rates'}.",
        "Each point is a threshold. FPIR is the share of searches for someone who is not "
        "enrolled that are answered all the same; FNIR the share of searches for someone who is "
        "enrolled whose mate stays below the threshold. Lower and further left is better. The "
        "last steps at either end rest on single searches, often on pictures under a wrong name.",
        plots.draw_det(rates, none, None, smallest, ("FPIR", "FNIR")),
    )
