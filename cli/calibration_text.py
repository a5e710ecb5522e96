"""How calibrations, fits and checks are written, for people and as JSON."""

from typing import TYPE_CHECKING

import click

from facesim_index.utils.text import score_name

from .output import printable, shown_path, write_table

if TYPE_CHECKING:
    from facesim_index.calibration.fitting.calibrating import CalibrationFit
    from facesim_index.calibration.fitting.labelled_data import LabelledData
    from facesim_index.calibration.record import Calibration
    from facesim_index.degrees.calibration_check import CalibrationCheck, Level
    from facesim_index.degrees.kept_calibrations import ListedCalibration


_HELD_OUT = "on people left out of the fit"

LIST_COLUMNS = ("", "name", "head", "people", "genuine", "impostor", "fitted", "data")
LIST_NUMERIC = ("people", "genuine", "impostor")


def list_document(entry: "ListedCalibration") -> dict[str, object]:
    """Return a line of the list as the JSON that scripts rely on."""
    calibration, evidence = entry.calibration, entry.calibration.evidence
    return {
        "name": calibration.name,
        "active": entry.active,
        "shipped": entry.shipped,
        "method": calibration.method,
        "head": calibration.score_kind,
        "data": evidence.data,
        "n_people": evidence.n_people,
        "n_genuine": evidence.n_genuine,
        "n_impostor": evidence.n_impostor,
        "fitted_on": evidence.fitted_on,
        "log10_lr_lowest": calibration.knots[0][1],
        "log10_lr_highest": calibration.knots[-1][1],
    }


def list_row(entry: "ListedCalibration") -> tuple[str, ...]:
    """Return the cells of a line of the list."""
    calibration, evidence = entry.calibration, entry.calibration.evidence
    return (
        "*" if entry.active else "",
        printable(calibration.name) + (" (default)" if entry.shipped else ""),
        calibration.score_kind,
        f"{evidence.n_people:,}",
        f"{evidence.n_genuine:,}",
        f"{evidence.n_impostor:,}",
        evidence.fitted_on,
        printable(evidence.data),
    )


def fit_document(
    fit: "CalibrationFit", labelled: "LabelledData", *, used: bool
) -> dict[str, object]:
    """Return a fit as the JSON that scripts rely on."""
    evidence = fit.calibration.evidence
    return {
        "name": fit.calibration.name,
        "used": used,
        "method": fit.method,
        "chosen": fit.chosen,
        "head": fit.calibration.score_kind,
        "heads": [
            {
                "head": trial.kind,
                "cllr": trial.cllr,
                "cosine_cllr": trial.cosine_cllr,
                "gain": trial.gain,
                "gain_error": trial.gain_error,
            }
            for trial in fit.trials
        ],
        "n_pictures": labelled.n_pictures,
        "n_without_face": labelled.n_without_face,
        "n_people": evidence.n_people,
        "n_genuine": evidence.n_genuine,
        "n_impostor": evidence.n_impostor,
        "cllr": fit.cllr,
        "cllr_min": fit.min_cllr,
        "in_force_before": fit.in_force,
        "in_force_before_cllr": fit.in_force_cllr,
        "notes": list(fit.notes),
    }


def write_fit(fit: "CalibrationFit", labelled: "LabelledData", *, used: bool) -> None:
    """Write a fit, and how it does next to its rivals."""
    calibration, evidence = fit.calibration, fit.calibration.evidence
    without = labelled.n_without_face
    click.echo(
        f"labels  {printable(labelled.name)}: {labelled.n_pictures:,} pictures of "
        f"{evidence.n_people:,} people" + (f", no face found in {without:,}" if without else "")
    )
    click.echo(
        f"pairs   {evidence.n_genuine:,} of one person, {evidence.n_impostor:,} of two people"
    )
    how = "the best of the methods" if len(fit.cllr) > 1 else "given"
    if fit.chosen and len(fit.cllr) == 1:
        how = "the steadiest; there are too few people to try others"
    click.echo(f"method  {calibration.method}: {how}")
    if fit.trials:
        unseen = (
            ": each pair by one that has not seen its people" if calibration.head.learned else ""
        )
        click.echo(f"head    {calibration.score_kind}{unseen}")
    low, high = calibration.knots[0], calibration.knots[-1]
    click.echo(
        f"bounds  log10 LR {low[1]:.1f} at {score_name(calibration.score_kind)} {low[0]:.2f} and "
        f"below, {high[1]:.1f} at {high[0]:.2f} and above\n"
    )
    rows = [(str(name), f"{cllr:.4f}", _HELD_OUT) for name, cllr in fit.cllr.items()]
    if fit.in_force_cllr is not None:
        rows.append((printable(fit.in_force or ""), f"{fit.in_force_cllr:.4f}", "in force before"))
    rows.append(("any curve", f"{fit.min_cllr:.4f}", "the best that is possible on these pairs"))
    write_table(("", "Cllr", "0 is perfect, 1 is no information"), rows, numeric=("Cllr",))
    _write_trials(fit)
    click.echo(
        f"\n{printable(calibration.name)}: stored, "
        + ("and used from now on" if used else "not used")
    )


def _write_trials(fit: "CalibrationFit") -> None:
    if not fit.trials:
        return
    rows = [("cosine", f"{fit.trials[0].cosine_cllr:.4f}", "")]
    rows += [
        (trial.kind, f"{trial.cllr:.4f}", f"{-trial.gain:+.4f} ± {trial.gain_error:.4f}")
        for trial in fit.trials
    ]
    click.echo("\nHeads, on people left out of the learning and the fit")
    write_table(("", "Cllr", "against the cosine"), rows, numeric=("Cllr", "against the cosine"))


def head_notes(fit: "CalibrationFit") -> list[str]:
    """Return what is to be said of the head that was taken, or not."""
    kind = fit.calibration.head.kind
    for trial in fit.trials:
        if trial.kind != kind:
            continue
        if not trial.better:
            return [
                f"the {kind} head is no better than the plain cosine (Cllr {trial.cllr:.4f}, of "
                f"the cosine {trial.cosine_cllr:.4f}); it was taken because of --force"
            ]
        if not trial.surely_better:
            return [f"the {kind} head is better than the plain cosine by no more than chance"]
    if fit.trials and kind == "cosine":
        return ["no learned head is better than the plain cosine by more than chance"]
    return []


def write_curve(calibration: "Calibration") -> None:
    """Write a calibration with its evidence."""
    evidence = calibration.evidence
    for label, value in (
        ("name", printable(calibration.name)),
        ("engine", printable(calibration.engine_key)),
        ("method", printable(calibration.method)),
        ("head", _head_words(calibration)),
        ("data", printable(evidence.data)),
        ("people", f"{evidence.n_people:,}"),
        ("pairs", f"{evidence.n_genuine:,} genuine, {evidence.n_impostor:,} impostor"),
        ("fitted", evidence.fitted_on),
    ):
        click.echo(f"{label:<8} {value}")
    for found in evidence.checks:
        click.echo(
            f"{'checked':<8} {printable(found.data)}: Cllr {found.cllr:.4f} (best possible "
            f"{found.min_cllr:.4f}), ECE {found.ece:.4f}, EER {found.eer:.2%}"
        )
    click.echo()
    _write_knots(calibration)


def _head_words(calibration: "Calibration") -> str:
    head = calibration.head
    if not head.learned:
        return calibration.score_kind
    return f"{head.kind}, {' × '.join(map(str, head.weights.shape))} weights"


def _write_knots(calibration: "Calibration") -> None:
    import numpy as np

    from facesim_index.calibration.curve import false_match_rate
    from facesim_index.calibration.degree import degree_from_log10_lr

    every = max(1, len(calibration.knots) // 16)
    shown = sorted({*range(0, len(calibration.knots), every), len(calibration.knots) - 1})
    score = np.array([calibration.knots[place][0] for place in shown])
    rates = (
        [f"{rate:.2g}" for rate in false_match_rate(score, calibration)]
        if calibration.false_matches
        else ["-"] * len(shown)
    )
    rows = []
    for place, rate in zip(shown, rates, strict=True):
        at, value = calibration.knots[place]
        degree = float(degree_from_log10_lr(np.array([value]))[0])
        low, high = calibration.band[place] if calibration.band else (None, None)
        between = "-" if low is None or high is None else f"{low:.2f} to {high:.2f}"
        rows.append((f"{at:.3f}", f"{value:.2f}", between, f"{degree:.6f}", rate))
    columns = (
        score_name(calibration.score_kind),
        "log10 LR",
        "95 % interval",
        "degree at 0.5",
        "FMR",
    )
    write_table(columns, rows, numeric=columns)


def write_check(result: "CalibrationCheck") -> None:
    """Write the outcome of a check."""
    from facesim_index.calibration.record import NORMALISED

    of_scores = {"cosine": "", NORMALISED: f", of the {NORMALISED}"}
    kind = of_scores.get(result.head, f", {result.head} head")
    click.echo(f"calibration  {printable(result.calibration)}{kind}\n")
    level_from = f"from {score_name(result.head)}"
    left_out = f"; {result.n_doubtful:,} left out, perhaps one face twice"
    click.echo(
        f"Two people in one photo: {result.n_pairs:,} pairs in {result.n_images:,} photos"
        + left_out * (result.n_doubtful > 0)
    )
    _write_levels("FMR", level_from, result.same_photo)
    left_out = f"; {result.n_left_out:,} left out, one person or perhaps"
    click.echo(
        f"\nFaces of different photos: {result.n_across:,} pairs"
        + left_out * (result.n_left_out > 0)
    )
    _write_levels("FMR", level_from, result.across)
    _write_groups(result)
    if result.highest:
        click.echo("\nThe most alike in one photo; is one of them one person twice?")
        write_table(
            ("cosine", "faces", "photo"),
            [
                (f"{pair.cosine:.3f}", f"{pair.face_a}, {pair.face_b}", shown_path(pair.path))
                for pair in result.highest
            ],
            numeric=("cosine",),
        )
    if result.labels is not None:
        figures = result.labels.figures
        click.echo(
            f"\nlabels       {printable(figures.data)}: {figures.n_genuine:,} pairs of one person, "
            f"{figures.n_impostor:,} of two people, {figures.n_people:,} people"
        )
        click.echo(
            f"Cllr         {figures.cllr:.4f}, best possible {figures.min_cllr:.4f}; "
            f"ECE {figures.ece:.4f}; EER {figures.eer:.2%}\n"
        )
        _write_levels("FMR", level_from, result.labels.strangers)
        click.echo("\nPairs of one person with evidence against it:")
        _write_levels("rate", "down from", result.labels.mates, should_be="at most")
    click.echo(f"\n{printable(result.sentence)}")


def _write_groups(result: "CalibrationCheck") -> None:
    """Write how many times more often than it should each rate is observed, within each group."""
    if not result.groups:
        return
    rates = [level.rate for level in result.across]
    click.echo("\nTwo faces of one group: times as many strangers as expected")
    columns = ("faces", *(f"FMR {rate:g}" for rate in rates))
    rows = [
        (
            f"{group.n_faces:,}",
            *(_times(level) for level in group.levels),
            *("" for _ in rates[len(group.levels) :]),
            group.name,
        )
        for group in result.groups
    ]
    write_table((*columns, "group"), rows, numeric=columns)


def _times(level: "Level") -> str:
    """Return observed / expected, with a mark where it is too much; a dash where pairs are few."""
    if level.says == "too few pairs":
        return "-"
    times = level.observed / level.expected
    return (f"{times:.2g}" if times < 100.0 else f"{times:,.0f}") + " !" * (
        level.says == "too many"
    )


def _write_levels(
    rate: str, score: str, levels: "tuple[Level, ...]", *, should_be: str = "expected"
) -> None:
    if not levels:
        return
    columns = (rate, score, should_be, "found", "observed", "95 % interval")
    write_table(
        (*columns, "says"),
        [
            (
                f"{level.rate:g}",
                f"{level.score:.3f}",
                f"{level.expected * level.n_pairs:,.1f}",
                f"{level.n_found:,}",
                f"{level.observed:.2g}",
                f"{level.low:.2g} to {level.high:.2g}",
                level.says,
            )
            for level in levels
        ],
        numeric=columns,
    )
