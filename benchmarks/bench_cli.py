"""How long the command line takes from a cold process: its help, and a query.

Processes may keep compiled bytecode, as Python does unless it is told otherwise: an installed
package is compiled once.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.harness import Options, Row, interleaved, seconds
from benchmarks.vectors import FACES_PER_PERSON, centres, faces_of, who_is_who
from facesim_index.degrees.gallery import refresh_gallery_prior
from facesim_index.engine.loading import settings_for
from facesim_index.records import (
    Box,
    EmbeddedFace,
    EngineIdentity,
    FileStamp,
    Float32Array,
    PictureInfo,
    PictureReading,
    Quality,
)
from facesim_index.store.folder.store import FolderStore
from facesim_index.store.records import Batch, FileLink

N_FACES = 100_000
FACES_PER_PICTURE = 5  # five statements a picture are most of the time that the index takes
LANDMARKS = np.zeros((5, 2), dtype=np.float32)
AT_ONCE = 20_000
TARGET_HELP_MS, TARGET_QUERY_S = 150, 1.5
QUERY = "lfw_dev/images/Aaron_Peirsol/Aaron_Peirsol_0001.jpg"


def run(options: Options) -> list[Row]:
    """Return the times of whole processes, the medians of some rounds."""
    folder = generated_index(options)
    query = ("-m", "facesim_index", "--index", str(folder), "query", str(options.data / QUERY))
    _seconds(*query)  # so that bytecode is there
    times = interleaved(
        {
            "python": lambda: _seconds("-c", "pass"),
            "help": lambda: _seconds("-m", "facesim_index", "--help"),
            "query": lambda: _seconds(*query),
            "processor": lambda: _processor_seconds(*query),
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
            f"{query_s:.2f} (best {min(times['query']):.2f}; "
            f"{statistics.median(times['processor']):.2f} of processor time)",
            target=f"at most {TARGET_QUERY_S}",
            met=query_s <= TARGET_QUERY_S,
        ),
    ]


def generated_index(options: Options) -> Path:
    """Return an index of generated faces for the default engine, made when there is none."""
    settings, name = settings_for(None, "cpu")
    # An index of another engine could not be asked.
    folder = options.work / f"cli-{N_FACES}-{settings.identity.key[:8]}.facesim"
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        _make_index(unfinished, settings.identity, name)
        unfinished.rename(folder)
    return folder


def _seconds(*words: str) -> float:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return seconds(
        lambda: subprocess.run(
            [sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env=kept
        )
    )


def _processor_seconds(*words: str) -> float:
    """Return the processor time of a process and of all its threads."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _seconds(*words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _make_index(folder: Path, identity: EngineIdentity, model: str) -> None:
    """Make an index of generated faces, some a picture, for the default engine."""
    people, who = centres(N_FACES // FACES_PER_PERSON), who_is_who(N_FACES)
    rng = np.random.default_rng(1)
    with FolderStore.open_or_create(folder, identity, model) as store:
        for start in range(0, N_FACES, AT_ONCE):
            embeddings = faces_of(people, who[start : start + AT_ONCE], rng)
            readings, links = [], []
            for row in range(0, len(embeddings), FACES_PER_PICTURE):
                picture = _picture(start + row, embeddings[row : row + FACES_PER_PICTURE])
                readings.append(picture)
                name = f"{start + row}.jpg"
                links.append(FileLink("/generated", name, picture.stamp, picture.content_hash))
            store.commit(Batch(readings, links))
        store.compact()
        refresh_gallery_prior(store)


def _picture(number: int, embeddings: Float32Array) -> PictureReading:
    faces = tuple(
        EmbeddedFace(
            Box(10.0 + 100 * n, 10.0, 90.0, 90.0), LANDMARKS, 0.9, Quality(90, 100, 0, 0), embedding
        )
        for n, embedding in enumerate(embeddings)
    )
    info = PictureInfo(100 * FACES_PER_PICTURE, 200, "JPEG", None)
    return PictureReading(number.to_bytes(32), FileStamp(1000, 1), info, faces, None)
