"""Compare learned similarity heads with the plain cosine, on people they were not learned from.

    python tools/compare_heads.py DATA_FOLDER INDEX

DATA_FOLDER is LFW's development set: ``images/NAME/NAME_0001.jpg`` and the pair lists
``pairsDevTrain.txt`` and ``pairsDevTest.txt``, whose people are different ones.  INDEX keeps the
embeddings; pictures that it does not have are ingested into it.

Each head is learned on the people of pairsDevTrain, every pair of them; its curve is fitted, as
`facesim calibrate` does, on pairs of them scored by heads that have not seen these people.  It is
judged by cross-validation among those people, and on the people of pairsDevTest: on every pair of
them, and on the listed ones.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facesim_index.calibration.fitting.fit import Method, fit_scores
from facesim_index.calibration.fitting.head_trials import HeadTrial, try_heads
from facesim_index.calibration.fitting.held_out import check_curve
from facesim_index.calibration.fitting.labelled_data import LabelledData, LabelledFaces
from facesim_index.calibration.fitting.learned_heads import fit_head
from facesim_index.calibration.fitting.resampling import LabelledScores
from facesim_index.calibration.heads import COSINE, LEARNED, Head, LearnedKind
from facesim_index.calibration.record import Calibration, Evidence, HeldOutCheck
from facesim_index.evaluation.verification import score_pairs
from facesim_index.index import FaceIndex
from facesim_index.labels.pair_lists import read_pairs
from facesim_index.labels.sources import picture_pairs_data

METHOD: Method = "isotonic"


@dataclass(frozen=True)
class Row:
    """A head on people it was not learned from, and the seconds that learning took."""

    head: Head
    trial: HeadTrial | None
    every: HeldOutCheck
    listed: HeldOutCheck
    seconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_folder", type=Path)
    parser.add_argument("index", type=Path)
    options = parser.parse_args(arguments)
    with FaceIndex.open(options.index, create=True) as index:
        images = options.data_folder / "images"
        train = picture_pairs_data(index, options.data_folder / "pairsDevTrain.txt", images)
        test = picture_pairs_data(index, options.data_folder / "pairsDevTest.txt", images)
        start = time.perf_counter()
        trials = try_heads(faces_of(train), LEARNED, METHOD)
        print(f"cross-validation of all heads: {time.perf_counter() - start:.0f} s")
        heads: list[tuple[HeadTrial | None, Head, float]] = [(None, COSINE, 0.0)]
        heads += [(trial, *learned(trial.kind, train)) for trial in trials]
        write_table(
            [
                Row(
                    head,
                    trial,
                    *judged(
                        head,
                        trial.scores if trial else train.scores,
                        test,
                        index,
                        options.data_folder,
                    ),
                    seconds,
                )
                for trial, head, seconds in heads
            ],
            trials[0].cosine_cllr,
        )


def faces_of(data: LabelledData) -> LabelledFaces:
    """Return the faces of labelled pictures."""
    if data.faces is None:
        raise SystemExit(f"{data.name}: no embeddings")
    return data.faces


def learned(kind: LearnedKind, train: LabelledData) -> tuple[Head, float]:
    """Return a head learned on all people, and how many seconds that took."""
    faces = faces_of(train)
    start = time.perf_counter()
    head = fit_head(kind, faces.embeddings, faces.person, faces.pairs)
    return head, time.perf_counter() - start


def judged(
    head: Head, scores: LabelledScores, test: LabelledData, index: FaceIndex, data_folder: Path
) -> tuple[HeldOutCheck, HeldOutCheck]:
    """Return the figures on every pair of the test people, and on the listed pairs."""
    n_people = int(scores.people.size)
    calibration = Calibration(
        name=head.kind,
        engine_key="-",
        method=METHOD,
        knots=fit_scores(scores, METHOD, n_bootstrap=0).knots,
        evidence=Evidence(
            "pairsDevTrain", n_people, scores.genuine.size, scores.impostor.size, "2026-01-01"
        ),
        head=head,
    )
    every = test.scores_by(head)
    listed = read_pairs(data_folder / test.name, data_folder / "images")
    pairs = score_pairs(index, listed, test.name, head).pairs
    n_people = int(every.people.size)
    return (
        check_curve(
            calibration, every.genuine, every.impostor, data="every pair", n_people=n_people
        ),
        check_curve(
            calibration,
            pairs.cosine[pairs.same],
            pairs.cosine[~pairs.same],
            data="the listed pairs",
            n_people=n_people,
        ),
    )


def write_table(rows: list[Row], cosine_cllr: float) -> None:
    """Print a table in Markdown."""
    print(
        "| head | Cllr, cross-validated | against the cosine | Cllr, every pair of other people "
        "| EER | TMR at FMR 10⁻³ | Cllr, their listed pairs | EER | seconds to learn |"
    )
    print("|---" * 9 + "|")
    for row in rows:
        trial, every, listed = row.trial, row.every, row.listed
        cells = (
            row.head.kind,
            f"{trial.cllr if trial else cosine_cllr:.4f}",
            f"{-trial.gain:+.4f} ± {trial.gain_error:.4f}" if trial else "",
            f"{every.cllr:.4f}",
            f"{every.eer:.2%}",
            f"{dict(every.true_match_rates)[1e-3]:.1%}",
            f"{listed.cllr:.4f}",
            f"{listed.eer:.2%}",
            f"{row.seconds:.1f}" if trial else "",
        )
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
