"""What recognition in bfloat16 (``--numerics bf16``) changes and gains, and if it passes the gate.

    python -m benchmarks.numerics DATA_FOLDER --cache FOLDER

DATA_FOLDER is LFW's development set, as for tools/fit_shipped_calibration.py.  The gate: accuracy
on the listed pairs moves by at most 0.05 points, and the embeddings' mean cosine to those of single
precision is at least 0.999.  Curves, figures and intervals as in `benchmarks.flip`.  The times are
processor time of one thread, all engines taking turns: of one face, and of whole pictures from
the file on, LFW's and those of the folder photos beside DATA_FOLDER.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.flip import best_threshold, judge, tell, tell_difference
from benchmarks.ingest_pictures import ordinary_photos
from facesim_index.engine.base import Provider
from facesim_index.engine.face_engine import Recogniser
from facesim_index.engine.loading import EngineSettings, load_networks
from facesim_index.engine.reading import read_picture
from facesim_index.models.resolution import resolve
from facesim_index.pictures.decoding import use_one_thread
from facesim_index.records import Numerics
from tools.fit_shipped_calibration import (
    Labelled,
    PairList,
    listed_pairs,
    load_or_embed,
    read_pairs,
)

NUMERICS: tuple[Numerics, Numerics] = ("fp32", "bf16")
ENGINES: tuple[tuple[Provider, Numerics], ...] = (
    ("cpu", "fp32"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
)
MOST_POINTS, LEAST_MEAN_COSINE = 0.05, 0.999
N_TIMED = 200
N_PICTURES = 80


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the embeddings")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    train, test = (
        read_pairs(options.data_folder / f"pairsDev{which}.txt") for which in ("Train", "Test")
    )
    labelled, judged, accuracies = [], [], []
    for numerics in NUMERICS:
        settings = EngineSettings(resolve(None), numerics=numerics)
        kept = argparse.Namespace(cache=options.cache / f"{numerics}.npz", workers=options.workers)
        labelled.append(load_or_embed(options.data_folder / "images", settings, kept))
        judged.append(judge(labelled[-1], train, test, settings))
        accuracies.append(accuracy_percent(labelled[-1], train, test))
        print(f"\n{settings.identity}")
        print(f"listed pairs of pairsDevTest: {accuracies[-1]:.2f} % right")
        tell(judged[-1])
    tell_difference("bf16 less fp32", *judged)
    tell_gate(abs(accuracies[1] - accuracies[0]), *labelled)
    tell_face_times()
    pictures = sorted((options.data_folder / "images").glob("*/*.jpg"))
    tell_picture_times("LFW", pictures[:: max(1, len(pictures) // N_PICTURES)])
    tell_picture_times("photos", ordinary_photos(options.data_folder.parent))


def accuracy_percent(labelled: Labelled, train: PairList, test: PairList) -> float:
    """Return the accuracy on one list's pairs, at the best threshold of the other's."""
    fitted_on, genuine, impostor = (
        listed_pairs(labelled, pairs)
        for pairs in (train.genuine + train.impostor, test.genuine, test.impostor)
    )
    threshold = best_threshold(*np.split(fitted_on, [len(train.genuine)]))
    right = int((genuine >= threshold).sum() + (impostor < threshold).sum())
    return 100.0 * right / (genuine.size + impostor.size)


def tell_gate(points: float, fp32: Labelled, bf16: Labelled) -> None:
    """Print whether bfloat16 may be offered."""
    assert np.array_equal(fp32.names, bf16.names), "other faces were found"
    cosine = np.einsum("ij,ij->i", fp32.embeddings, bf16.embeddings, dtype=np.float64)
    passed = points <= MOST_POINTS and cosine.mean() >= LEAST_MEAN_COSINE
    print(
        f"\ncosine to fp32, {cosine.size} faces: mean {cosine.mean():.5f}, least "
        f"{cosine.min():.5f}; accuracy moves by {points:.2f} points: the gate is "
        f"{'passed' if passed else 'NOT PASSED'}"
    )


def tell_face_times() -> None:
    """Print what recognising one face takes."""
    crop = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    engines: dict[str, Recogniser] = {}
    for provider, numerics in ENGINES:
        settings = EngineSettings(resolve(None), provider=provider, numerics=numerics)
        engines[f"{provider}, {numerics}"] = load_networks(settings)[1]
    spent: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(N_TIMED):
        for name, recogniser in engines.items():
            started = time.process_time()
            recogniser.embed([crop])
            spent[name].append(1e3 * (time.process_time() - started))
    print("\nrecognise a face, processor time of one thread, median")
    for name, times in spent.items():
        print(f"{name}: {statistics.median(times):.1f} ms")


def tell_picture_times(kind: str, paths: Sequence[Path]) -> None:
    """Print what reading, decoding, detecting and recognising a picture takes."""
    use_one_thread()
    engines = {
        f"{provider}, {numerics}": EngineSettings(
            resolve(None), provider=provider, numerics=numerics
        ).load()
        for provider, numerics in ENGINES
    }
    spent_ms = dict.fromkeys(engines, 0.0)
    for path in paths:
        for name, engine in engines.items():
            started = time.process_time()
            read_picture(path, engine)
            spent_ms[name] += 1e3 * (time.process_time() - started)
    print(f"\n{kind}, {len(paths)} pictures, processor time of one thread a picture")
    for name, total_ms in spent_ms.items():
        print(f"{name}: {total_ms / len(paths):.1f} ms")


if __name__ == "__main__":
    main()
