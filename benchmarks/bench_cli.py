"""How long the command line takes from a cold process: its help, and a query."""

import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.harness import Options, Row, interleaved, seconds
from benchmarks.vectors import FACES_PER_PERSON, centres, faces_of, who_is_who
from facesim_index.engine import engine_identity
from facesim_index.gallery import refresh_gallery_prior
from facesim_index.readers import settings_for
from facesim_index.records import (
    Box,
    EmbeddedFace,
    FileLink,
    FileStamp,
    PictureInfo,
    PictureReading,
    Quality,
)
from facesim_index.store import Batch, Store

N_FACES = 100_000
AT_ONCE = 10_000
TARGET_HELP_MS, TARGET_QUERY_S = 150, 1.5
QUERY = "lfw_dev/images/Aaron_Peirsol/Aaron_Peirsol_0001.jpg"


def run(options: Options) -> list[Row]:
    """Return the times of whole processes, the medians of some rounds."""
    folder = options.work / f"cli-{N_FACES}.facesim"
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        _make_index(unfinished)
        unfinished.rename(folder)
    picture = options.data / QUERY
    times = interleaved(
        {
            "python": lambda: _seconds("-c", "pass"),
            "help": lambda: _seconds("-m", "facesim_index", "--help"),
            "query": lambda: _seconds(
                "-m", "facesim_index", "--index", str(folder), "query", str(picture)
            ),
        },
        rounds=max(options.rounds, 5),
    )
    help_ms = 1e3 * statistics.median(times["help"])
    query_s = statistics.median(times["query"])
    return [
        Row(
            "facesim --help, ms",
            f"{help_ms:.0f} (best {1e3 * min(times['help']):.0f})",
            f"{1e3 * statistics.median(times['python']):.0f} (python -c pass)",
            target=f"at most {TARGET_HELP_MS}",
            met=help_ms <= TARGET_HELP_MS,
        ),
        Row(
            f"facesim query, {N_FACES:,} faces, cold process, s",
            f"{query_s:.2f} (best {min(times['query']):.2f})",
            target=f"at most {TARGET_QUERY_S}",
            met=query_s <= TARGET_QUERY_S,
        ),
    ]


def _seconds(*words: str) -> float:
    return seconds(
        lambda: subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    )


def _make_index(folder: Path) -> None:
    """Make an index of generated faces, one a picture, for the default engine."""
    settings, name = settings_for(None, "cpu")
    people, who = centres(N_FACES // FACES_PER_PERSON), who_is_who(N_FACES)
    rng = np.random.default_rng(1)
    landmarks = np.zeros((5, 2), dtype=np.float32)
    with Store.open_or_create(folder, engine_identity(settings), name) as store:
        for start in range(0, N_FACES, AT_ONCE):
            pictures, links = [], []
            for n, embedding in enumerate(faces_of(people, who[start:][:AT_ONCE], rng), start):
                face = EmbeddedFace(
                    Box(10.0, 10.0, 90.0, 90.0), landmarks, 0.9, Quality(90, 100, 0, 0), embedding
                )
                content, stamp = n.to_bytes(32), FileStamp(1000, 1)
                info = PictureInfo(200, 200, "JPEG", None)
                pictures.append(PictureReading(content, stamp, info, (face,), None))
                links.append(FileLink(f"/generated/{n % 100}", f"{n}.jpg", stamp, content))
            store.commit(Batch(pictures, links))
        store.compact()
        refresh_gallery_prior(store)
