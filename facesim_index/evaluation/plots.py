"""Drawing the plots of an evaluation, as SVG.

This is the only module that uses matplotlib, and it uses only its classes: there is no global
figure and no window.  The same arrays give the same bytes.  No text from users or files is drawn.
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from facesim_index.metrics.curves import Band, BestCurve, OperatingPoint, Reliability, Tippett
from facesim_index.metrics.odds import LN_10, logistic
from facesim_index.metrics.verification import ErrorRates
from facesim_index.records import Float64Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# They differ in lightness as well as in hue, so that people with colour blindness can tell them.
GENUINE, IMPOSTOR = "#0068ab", "#d98200"
_INK, _FADED, _LINE, _LIGHT = "#1c2026", "#5b636e", "#dedfe3", "#b3d1e6"

_SIZE_INCHES = (5.6, 4.2)
_SQUARE_INCHES = (5.6, 5.4)
_STYLE = {
    "svg.hashsalt": "facesim",
    "svg.fonttype": "path",
    "font.family": ["DejaVu Sans"],
    "font.size": 10.0,
    "axes.edgecolor": _FADED,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.7,
    "text.color": _INK,
    "xtick.color": _FADED,
    "ytick.color": _FADED,
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": _LINE,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.8,
}
_BAND_LABEL = "95 % interval (people drawn anew)"
_MARK_STYLES = ("--", ":", "-.")
_DET_TICKS = (1e-5, 1e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99)


class Mark(NamedTuple):
    """A score that is marked in a plot.

    Attributes
    ----------
    cosine : float
        The cosine, or the score of a learned head.
    label : str
        What it is, in the legend.
    """

    cosine: float
    label: str


class EvidenceCurve(NamedTuple):
    """The fitted curve of a calibration.

    Attributes
    ----------
    cosine : ndarray of shape (n,), float64
        Scores, ascending.
    log10_lr : ndarray of shape (n,), float64
        Log10 likelihood ratio of each score.
    low, high : ndarray of shape (n,), float64
        Its 95 % interval; equal to `log10_lr` where there is none.
    """

    cosine: Float64Array
    log10_lr: Float64Array
    low: Float64Array
    high: Float64Array


class EmpiricalCrossEntropy(NamedTuple):
    """Empirical cross-entropy at each prior.

    Attributes
    ----------
    log10_odds : ndarray of shape (n_priors,), float64
        Odds of one person before looking.
    claimed : ndarray of shape (n_priors,), float64
        Of the calibration, in bits a pair.
    best : ndarray of shape (n_priors,), float64
        Of the best curve of these pairs.
    neutral : ndarray of shape (n_priors,), float64
        Without evidence.
    """

    log10_odds: Float64Array
    claimed: Float64Array
    best: Float64Array
    neutral: Float64Array


def draw_scores(
    edges: Float64Array,
    shares: Sequence[tuple[str, Float64Array]],
    marks: Sequence[Mark],
    score: str,
) -> bytes:
    """Draw bars of the scores of two classes, with thresholds.

    Parameters
    ----------
    edges : ndarray of shape (n_bins + 1,), float64
        Ascending.
    shares : sequence of two (str, ndarray of shape (n_bins,))
        Name of each class, and the share of it in each bin; pairs of one person first.
    marks : sequence of Mark
        At most three finite ones are drawn.
    score : str
        What a score is called, such as "cosine".

    Returns
    -------
    bytes
        SVG.
    """
    with _drawing(_SIZE_INCHES) as (figure, (axes,)):
        lowest = min(float(share[share > 0].min(initial=1.0)) for _, share in shares)
        axes.set_yscale("log")
        _bars(axes, edges, shares, lowest / 10)
        finite = [mark for mark in marks if np.isfinite(mark.cosine)]
        for mark, style in zip(finite, _MARK_STYLES, strict=False):
            label = f"{mark.label}: {mark.cosine:.3f}"
            axes.axvline(mark.cosine, color=_INK, linestyle=style, linewidth=1.3, label=label)
        axes.set_ylim(lowest / 2, 1.0)
        axes.set_xlabel(f"{score} of the two faces")
        axes.set_ylabel("share of the class")
        _legend_above(axes)
        return _svg(figure)


def draw_roc(rates: ErrorRates, equal: OperatingPoint, band: Band, smallest: float) -> bytes:
    """Draw the ROC curve over the logarithm of the false match rate.

    Parameters
    ----------
    rates : ErrorRates
    equal : OperatingPoint
        Where both error rates are equal.
    band : Band
        Interval of the curve; not drawn when it is empty.
    smallest : float
        The false match rate of a single pair; half of it is the left end.

    Returns
    -------
    bytes
        SVG.
    """
    with _drawing(_SIZE_INCHES) as (figure, (axes,)):
        if band.false_match.size:
            _fill(axes, band.false_match, 1.0 - band.high, 1.0 - band.low, _BAND_LABEL)
        left = smallest / 2.0
        x = np.maximum(rates.false_match, left)
        axes.plot(x, 1.0 - rates.false_non_match, color=GENUINE, drawstyle="steps-post")
        _mark_equal(axes, equal.false_match, 1.0 - equal.false_non_match, equal, left)
        axes.set_xscale("log")
        axes.set_xlim(left, 1.0)
        accepted = 1.0 - rates.false_non_match[rates.false_match > 0.0]
        lowest = float(accepted.min(initial=1.0))
        axes.set_ylim(max(0.0, lowest - max(0.15 * (1.0 - lowest), 0.005)), 1.002)
        axes.set_xlabel("false accept rate (FAR), logarithmic")
        axes.set_ylabel("true accept rate (TAR)")
        axes.legend(loc="lower right")
        return _svg(figure)


def draw_det(
    rates: ErrorRates,
    band: Band,
    equal: OperatingPoint | None,
    smallest: tuple[float, float],
    labels: tuple[str, str],
) -> bytes:
    """Draw both error rates against each other on probit axes (DET).

    Parameters
    ----------
    rates : ErrorRates
    band : Band
        Interval of the curve; not drawn when it is empty.
    equal : OperatingPoint or None
        Where both error rates are equal.
    smallest : (float, float)
        The false match and false non-match rate of a single pair; half of each is the end of its
        axis.
    labels : (str, str)
        Of the horizontal and the vertical axis.

    Returns
    -------
    bytes
        SVG.
    """
    from scipy.special import ndtri

    ends = [rate / 2.0 for rate in smallest]
    with _drawing(_SQUARE_INCHES) as (figure, (axes,)):
        if band.false_match.size:
            low, high = (ndtri(np.clip(part, ends[1], 0.999)) for part in (band.low, band.high))
            x = ndtri(np.clip(band.false_match, ends[0], 0.999))
            _fill(axes, x, low, high, _BAND_LABEL)
        x = ndtri(np.clip(rates.false_match, ends[0], 0.999))
        y = ndtri(np.clip(rates.false_non_match, ends[1], 0.999))
        axes.plot(x, y, color=GENUINE, drawstyle="steps-post")
        usual = max(ends) < 0.3 and (equal is None or equal.false_match < 0.3)
        top = 0.5 if usual else 0.995
        corner = ndtri((max(ends), top))
        axes.plot(corner, corner, color=_FADED, linestyle=":", linewidth=1.2)
        if equal is not None:
            place = ndtri(np.clip((equal.false_match, equal.false_non_match), min(ends), 0.999))
            _mark_equal(axes, place[0], place[1], equal, -np.inf)
        for end, set_limits, set_ticks in (
            (ends[0], axes.set_xlim, axes.set_xticks),
            (ends[1], axes.set_ylim, axes.set_yticks),
        ):
            ticks = [tick for tick in _spread(_DET_TICKS, end) if end <= tick <= top]
            set_ticks(ndtri(ticks), [f"{100 * tick:g}" for tick in ticks])
            set_limits(ndtri(end), ndtri(top))
        axes.set_xlabel(f"{labels[0]}, %, probit")
        axes.set_ylabel(f"{labels[1]}, %, probit")
        if axes.get_legend_handles_labels()[0]:
            _legend_above(axes, columns=1)
        return _svg(figure)


def draw_reliability(
    bins: Reliability,
    best: BestCurve,
    edges: Float64Array,
    shares: Sequence[tuple[str, Float64Array]],
) -> bytes:
    """Draw degrees against observed shares of genuine pairs, and their histogram below.

    Parameters
    ----------
    bins : Reliability
    best : BestCurve
        The best non-decreasing curve of the degrees.
    edges : ndarray of shape (n_bins + 1,), float64
        Of the bins of the histogram.
    shares : sequence of two (str, ndarray of shape (n_bins,))
        As for `draw_scores`.

    Returns
    -------
    bytes
        SVG.
    """
    with _drawing((5.6, 7.2), rows=(3.9, 1.0)) as (figure, (axes, below)):
        axes.plot((0, 1), (0, 1), color=_FADED, linestyle="--", linewidth=1.2, label="as claimed")
        x = np.stack((best.start, best.end), axis=1).ravel()
        y = np.repeat(logistic(LN_10 * best.log10_lr), 2)
        axes.plot(x, y, color=IMPOSTOR, linewidth=1.3, label="best non-decreasing curve (PAV)")
        axes.errorbar(
            bins.claimed,
            bins.observed,
            yerr=np.maximum(0.0, (bins.observed - bins.low, bins.high - bins.observed)),
            fmt="o",
            color=GENUINE,
            markersize=5,
            capsize=3,
            linewidth=1.3,
            clip_on=False,
            zorder=3,
            label="bins of equal mass, 95 % interval",
        )
        axes.set_aspect("equal")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("degree at prior 0.5: claimed")
        axes.set_ylabel("share of one person: observed")
        axes.legend(loc="upper left")
        below.set_yscale("symlog", linthresh=0.001, linscale=0.4)
        _bars(below, edges, shares)
        below.set_ylim(0.0, 1.0)
        below.set_yticks((0, 0.01, 0.1, 1), ("0", "0.01", "0.1", "1"))
        below.minorticks_off()
        below.set_xlim(-0.02, 1.02)
        below.set_xlabel("degree")
        below.set_ylabel("share of class")
        below.legend(loc="upper center", ncols=2)
        return _svg(figure)


def draw_tippett(curves: Tippett, names: tuple[str, str]) -> bytes:
    """Draw which share of each class has at least a given evidence (Tippett plot).

    Parameters
    ----------
    curves : Tippett
    names : (str, str)
        Of the classes; pairs of one person first.

    Returns
    -------
    bytes
        SVG.
    """
    with _drawing(_SIZE_INCHES) as (figure, (axes,)):
        x = curves.log10_lr
        ends = (min(-1.0, float(x[0]) - 0.3), max(1.0, float(x[-1]) + 0.3))
        wide = np.concatenate(((ends[0],), x, (ends[1],)))
        for shares, name, colour, style in (
            (curves.genuine, names[0], GENUINE, "-"),
            (curves.impostor, names[1], IMPOSTOR, "--"),
        ):
            y = np.concatenate(((1.0,), shares, (0.0,)))
            axes.plot(
                wide, 100.0 * y, color=colour, linestyle=style, drawstyle="steps-pre", label=name
            )
        axes.axvline(0.0, color=_INK, linewidth=1.0)
        axes.set_xlim(*ends)
        axes.set_ylim(-1.0, 101.0)
        axes.set_xlabel("log10 likelihood ratio at least")
        axes.set_ylabel("share of the class, %")
        _legend_above(axes)
        return _svg(figure)


def draw_evidence(fitted: EvidenceCurve, best: BestCurve, score: str) -> bytes:
    """Draw the curve of a calibration against the best curve of these pairs.

    Parameters
    ----------
    fitted : EvidenceCurve
    best : BestCurve
        The best non-decreasing curve of the scores.
    score : str
        As for `draw_scores`.

    Returns
    -------
    bytes
        SVG.
    """
    with _drawing(_SIZE_INCHES) as (figure, (axes,)):
        reach = 1.15 * max(1.0, float(np.abs((fitted.low, fitted.high)).max()))
        if not np.array_equal(fitted.low, fitted.high):
            _fill(axes, fitted.cosine, fitted.low, fitted.high, "its 95 % interval")
        axes.plot(fitted.cosine, fitted.log10_lr, color=GENUINE, label="the calibration")
        x = np.stack((best.start, best.end), axis=1).ravel()
        y = np.repeat(np.clip(best.log10_lr, -2 * reach, 2 * reach), 2)
        axes.plot(
            x, y, color=IMPOSTOR, linestyle="--", linewidth=1.5, label="best of these pairs (PAV)"
        )
        axes.axhline(0.0, color=_INK, linewidth=1.0)
        axes.set_xlim(float(fitted.cosine[0]), float(fitted.cosine[-1]))
        axes.set_ylim(-reach, reach)
        axes.set_xlabel(f"{score} of the two faces")
        axes.set_ylabel("log10 likelihood ratio")
        axes.legend(loc="upper left")
        return _svg(figure)


def draw_empirical_cross_entropy(curves: EmpiricalCrossEntropy) -> bytes:
    """Draw the empirical cross-entropy plot: what is left to be told, over the prior.

    Parameters
    ----------
    curves : EmpiricalCrossEntropy

    Returns
    -------
    bytes
        SVG.
    """
    with _drawing(_SIZE_INCHES) as (figure, (axes,)):
        for y, label, colour, style in (
            (curves.neutral, "no evidence (LR 1)", _FADED, ":"),
            (curves.claimed, "the calibration", GENUINE, "-"),
            (curves.best, "best of these pairs (PAV)", IMPOSTOR, "--"),
        ):
            axes.plot(curves.log10_odds, y, color=colour, linestyle=style, label=label)
        axes.axvline(0.0, color=_INK, linewidth=1.0)
        axes.set_xlim(float(curves.log10_odds[0]), float(curves.log10_odds[-1]))
        axes.set_ylim(0.0, min(1.05, 1.6 * max(0.02, float(curves.claimed.max()))))
        axes.set_xlabel("log10 odds of one person before looking")
        axes.set_ylabel("cross-entropy, bits a pair")
        _legend_above(axes)
        return _svg(figure)


def draw_match_characteristic(shares: Float64Array) -> bytes:
    """Draw how often the mate is among the first answers (CMC).

    Parameters
    ----------
    shares : ndarray of shape (n_ranks,), float64
        Share of the searches whose mate is at each rank or before.

    Returns
    -------
    bytes
        SVG.
    """
    from matplotlib.ticker import MaxNLocator

    with _drawing(_SIZE_INCHES) as (figure, (axes,)):
        ranks = np.arange(1, shares.size + 1)
        axes.plot(ranks, 100.0 * shares, color=GENUINE, marker="o", markersize=4)
        missing = 100.0 * (1.0 - float(shares[0]))
        axes.set_ylim(max(0.0, 100.0 - max(1.0, 1.6 * missing)), 100.2)
        axes.set_xlim(0.5, shares.size + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("rank")
        axes.set_ylabel("mate at this rank or before, %")
        return _svg(figure)


@contextlib.contextmanager
def _drawing(
    inches: tuple[float, float], rows: tuple[float, ...] = (1.0,)
) -> Iterator[tuple["Figure", list["Axes"]]]:
    """Provide a figure in our style, with axes one below the other in the heights of `rows`."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]):  # Settings of the user have no effect.
        figure = Figure(figsize=inches, layout="constrained")
        axes = figure.subplots(len(rows), 1, squeeze=False, height_ratios=rows)
        yield figure, list(axes[:, 0])


def _svg(figure: "Figure") -> bytes:
    stream = io.BytesIO()
    metadata = {"Date": None, "Creator": "facesim_index"}
    figure.savefig(stream, format="svg", metadata=metadata)
    return stream.getvalue()


def _mark_equal(axes: "Axes", x: float, y: float, equal: OperatingPoint, left: float) -> None:
    rate = 50.0 * (equal.false_match + equal.false_non_match)
    label = f"EER {rate:.2f} % at {equal.threshold:.3f}"
    axes.plot(
        [max(x, left)], [y], "D", color=IMPOSTOR, markeredgecolor=_INK, markersize=7, label=label
    )


def _fill(axes: "Axes", x: Float64Array, low: Float64Array, high: Float64Array, label: str) -> None:
    axes.fill_between(x, low, high, color=GENUINE, alpha=0.18, linewidth=0, label=label)


def _bars(
    axes: "Axes",
    edges: Float64Array,
    shares: Sequence[tuple[str, Float64Array]],
    baseline: float = 0.0,
) -> None:
    """Draw the bars of two classes over each other: the first filled, the second hatched."""
    (first, filled), (second, hatched) = (
        (name, np.maximum(share, baseline)) for name, share in shares
    )
    for bars, name, edge, face, hatch in (
        (filled, first, GENUINE, _LIGHT, ""),
        (hatched, second, IMPOSTOR, "none", "////"),
    ):
        axes.stairs(
            bars,
            edges,
            baseline=baseline,
            fill=True,
            facecolor=face,
            edgecolor=edge,
            hatch=hatch,
            linewidth=1.3,
            label=name,
        )


def _legend_above(axes: "Axes", columns: int = 2) -> None:
    """Put the legend above the plot, where it hides nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.01), ncols=columns, borderaxespad=0.0)


def _spread(ticks: Sequence[float], end: float) -> list[float]:
    """Return the ticks for which there is room: on long axes fewer of the small rates."""
    if end > 5e-5:
        return list(ticks)
    return [tick for tick in ticks if tick not in (2e-3, 5e-3, 0.02, 0.2, 0.6)]
