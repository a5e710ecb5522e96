"""Generated embeddings for benchmarks: people with several faces each, as an index has them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesim_index.records import Float32Array, Int64Array
from facesim_index.store.folder.compaction import SEGMENT_CAP_ROWS
from facesim_index.store.records import SegmentId
from facesim_index.store.segments.coarse import coarse_path, wants_coarse, write_coarse
from facesim_index.store.segments.segment import Segment, file_sha256
from facesim_index.store.segments.writer import write_segment

DIMENSION = 512
FACES_PER_PERSON = 10
SEED = 20020701
_AT_ONCE = 1 << 16


def centres(n_people: int) -> Float32Array:
    """Return a direction for each person."""
    return _unit(np.random.default_rng(SEED).standard_normal((n_people, DIMENSION), np.float32))


def faces_of(people: Float32Array, who: Int64Array, rng: np.random.Generator) -> Float32Array:
    """Return a face of each of some people; two of one person have cosines from 0.5 to 0.8."""
    deviation = np.sqrt(1.0 / rng.uniform(0.5, 0.8, (len(who), 1)) - 1.0).astype(np.float32)
    noise = rng.standard_normal((len(who), DIMENSION), np.float32) / np.sqrt(np.float32(DIMENSION))
    return _unit(people[who] + deviation * noise)


def who_is_who(n_faces: int) -> Int64Array:
    """Return the person of each face of a generated index."""
    n_people = n_faces // FACES_PER_PERSON
    return np.random.default_rng([SEED, n_faces]).integers(0, n_people, n_faces)


def open_segments(folder: Path, n_faces: int) -> list[Segment]:
    """Return the segments of a generated index as `compact` leaves them; made once, then kept."""
    folder.mkdir(parents=True, exist_ok=True)
    people, who = centres(n_faces // FACES_PER_PERSON), who_is_who(n_faces)
    segments = []
    for number, start in enumerate(range(0, n_faces, SEGMENT_CAP_ROWS), start=1):
        path = folder / f"{number:06d}.faiss"
        ids = np.arange(start, min(start + SEGMENT_CAP_ROWS, n_faces))
        if not path.exists():
            rng = np.random.default_rng([SEED, n_faces, number])
            vectors = np.empty((len(ids), DIMENSION), dtype=np.float16)
            for row in range(0, len(ids), _AT_ONCE):
                part = slice(row, row + _AT_ONCE)
                vectors[part] = faces_of(people, who[ids[part]], rng)
            write_segment(folder, SegmentId(number), ids, [vectors], dimension=DIMENSION)
        sha256 = file_sha256(path)
        segment = Segment(path, sha256)
        if wants_coarse(len(ids), DIMENSION) and not coarse_path(path).exists():
            write_coarse(path, sha256, segment.face_ids, segment.vectors)
        segments.append(segment)
    return segments


def all_vectors(segments: list[Segment]) -> NDArray[np.float16]:
    """Return the embeddings of all segments in one array."""
    return np.concatenate([segment.vectors for segment in segments])


def query_faces(n_faces: int, n_queries: int) -> tuple[Float32Array, Int64Array]:
    """Return new faces of people of the index, and who they are; every third is a stranger's."""
    rng = np.random.default_rng([SEED, n_faces, n_queries])
    people = centres(n_faces // FACES_PER_PERSON)
    who = rng.integers(0, len(people), n_queries)
    faces = faces_of(people, who, rng)
    stranger = np.arange(n_queries) % 3 == 2
    faces[stranger] = _unit(rng.standard_normal((int(stranger.sum()), DIMENSION), np.float32))
    who[stranger] = -1
    return faces, who


def _unit(vectors: Float32Array) -> Float32Array:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
